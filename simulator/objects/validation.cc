#include "simulator/objects/validation.h"

#include <algorithm>
#include <map>

#include "base/core/bytes.h"
#include "simulator/objects/cron.h"
#include "simulator/objects/names.h"
#include "simulator/objects/rules.h"
#include "simulator/objects/selectors.h"
#include "simulator/schema/crd.h"
#include "simulator/schema/custom.h"
#include "simulator/schema/quantity.h"

namespace thinsnap::objects {
namespace {

constexpr std::size_t kMaxDataBytes = std::size_t{1024} * 1024;

// ---- metadata

std::string CheckName(const schema::Kind& kind, std::string_view name) {
  if (kind.group == "rbac.authorization.k8s.io") return CheckPathSegment(name);
  if (kind.group.empty() && (kind.resource == "namespaces" || kind.resource == "services"))
    return CheckDnsLabel(name);
  return CheckDnsSubdomain(name);
}

bool IsStandardFinalizer(std::string_view name) {
  return name == "kubernetes" || name == "orphan" || name == "foregroundDeletion";
}

void ValidateMetadata(const schema::Kind& kind, const Json& object, schema::FieldErrors& errors) {
  const std::string name = StringAt(object, "metadata.name");
  if (const std::string base = StringAt(object, "metadata.generateName"); !base.empty()) {
    // What is added to it at the end makes a trailing dash good.
    if (const std::string why = CheckName(kind, base + "x"); !why.empty())
      errors.push_back(schema::FieldError::Invalid("metadata.generateName", Json(base), why));
  }
  if (name.empty()) {
    errors.push_back(
        schema::FieldError::Required("metadata.name", "name or generateName is required"));
  } else if (const std::string why = CheckName(kind, name); !why.empty()) {
    errors.push_back(schema::FieldError::Invalid("metadata.name", Json(name), why));
  }
  CheckLabels(object, "metadata.labels", errors);
  std::size_t annotation_bytes = 0;
  if (const JsonObject* annotations = FindObject(object, "metadata.annotations")) {
    for (const auto& [key, value] : *annotations) {
      std::string lower(key);
      std::transform(lower.begin(), lower.end(), lower.begin(),
                     [](char c) { return static_cast<char>(std::tolower(c)); });
      if (const std::string why = CheckQualifiedName(lower); !why.empty()) {
        errors.push_back(schema::FieldError::Invalid("metadata.annotations", Json(key), why));
      }
      annotation_bytes += key.size() + (value.is_string() ? value.get_string().size() : 0);
    }
  }
  if (annotation_bytes > 262144)
    errors.push_back(schema::FieldError::TooLong("metadata.annotations", 262144));
  const JsonArray& finalizers = ArrayAt(object, "metadata.finalizers");
  for (std::size_t i = 0; i < finalizers.size(); ++i) {
    if (!finalizers[i].is_string()) continue;
    const std::string at = "metadata.finalizers[" + std::to_string(i) + "]";
    const std::string_view text(finalizers[i].get_string());
    if (const std::string why = CheckQualifiedName(text); !why.empty()) {
      errors.push_back(schema::FieldError::Invalid("metadata.finalizers", finalizers[i], why));
    } else if (text.find('/') == std::string_view::npos && !IsStandardFinalizer(text)) {
      errors.push_back(schema::FieldError::Invalid(
          at, finalizers[i],
          "name is neither a standard finalizer name nor is it fully qualified"));
    }
  }
  const JsonArray& owners = ArrayAt(object, "metadata.ownerReferences");
  int controllers = 0;
  for (std::size_t i = 0; i < owners.size(); ++i) {
    for (const char* member : {"apiVersion", "kind", "name", "uid"}) {
      if (StringAt(owners[i], member).empty()) {
        errors.push_back(schema::FieldError::Invalid(
            "metadata.ownerReferences." + std::string(member), Json(""), "must not be empty"));
      }
    }
    if (StringAt(owners[i], "kind") == "Event" && StringAt(owners[i], "apiVersion") == "v1") {
      errors.push_back(
          schema::FieldError::Invalid("metadata.ownerReferences", owners[i],
                                      "/v1, Kind=Event is disallowed from being an owner"));
    }
    if (BoolAt(owners[i], "controller")) ++controllers;
  }
  if (controllers > 1) {
    errors.push_back(
        schema::FieldError::Invalid("metadata.ownerReferences", Json(owners),
                                    "Only one reference can have Controller set to true"));
  }
}

void ValidateMetadataUpdate(const Json& old, const Json& object, schema::FieldErrors& errors) {
  if (Find(old, "metadata.deletionTimestamp") == nullptr) return;
  std::string added;
  const JsonArray& before = ArrayAt(old, "metadata.finalizers");
  for (const Json& each : ArrayAt(object, "metadata.finalizers")) {
    if (std::find(before.begin(), before.end(), each) != before.end()) continue;
    added += (added.empty() ? "" : ", ") + ToJson(each);
  }
  if (added.empty()) return;
  errors.push_back(
      schema::FieldError::Forbidden("metadata.finalizers",
                                    "no new finalizers can be added if the object is being "
                                    "deleted, found new finalizers []string{" +
                                        added + "}"));
}

// ---- kinds

std::size_t ValidateKeys(const Json& object, const std::string& path, schema::FieldErrors& errors) {
  const JsonObject* data = FindObject(object, path);
  std::size_t bytes = 0;
  if (data == nullptr) return bytes;
  for (const auto& [key, value] : *data) {
    if (const std::string why = CheckConfigKey(key); !why.empty()) {
      errors.push_back(
          schema::FieldError::Invalid(path + "[" + std::string(key) + "]", Json(key), why));
    }
    if (value.is_string()) bytes += value.get_string().size();
  }
  return bytes;
}

void ValidateConfigMap(const Json& object, schema::FieldErrors& errors) {
  std::size_t bytes = ValidateKeys(object, "data", errors);
  bytes += ValidateKeys(object, "binaryData", errors) / 4 * 3;  // of base64
  const JsonObject* data = FindObject(object, "data");
  if (const JsonObject* binary = FindObject(object, "binaryData"); binary != nullptr && data) {
    for (const auto& [key, value] : *binary) {
      if (!data->contains(key)) continue;
      errors.push_back(schema::FieldError::Invalid("data[" + std::string(key) + "]", Json(key),
                                                   "duplicate of key present in binaryData"));
    }
  }
  if (bytes > kMaxDataBytes) errors.push_back(schema::FieldError::TooLong("", kMaxDataBytes));
}

// What each type of Secret must carry.
void ValidateSecret(const Json& object, schema::FieldErrors& errors) {
  static const std::map<std::string_view, std::vector<std::string>> kKeys = {
      {"kubernetes.io/tls", {"tls.crt", "tls.key"}},
      {"kubernetes.io/dockerconfigjson", {".dockerconfigjson"}},
      {"kubernetes.io/dockercfg", {".dockercfg"}},
      {"kubernetes.io/ssh-auth", {"ssh-privatekey"}},
      {"kubernetes.io/basic-auth", {"username", "password"}}};
  const std::size_t bytes = ValidateKeys(object, "data", errors) / 4 * 3;  // of base64
  if (bytes > kMaxDataBytes) errors.push_back(schema::FieldError::TooLong("data", kMaxDataBytes));
  const std::string type = StringAt(object, "type");
  if (type == "kubernetes.io/service-account-token" &&
      StringIn(object, "metadata.annotations", "kubernetes.io/service-account.name").empty()) {
    errors.push_back(
        schema::FieldError::Required("metadata.annotations[kubernetes.io/service-account.name]"));
  }
  const auto found = kKeys.find(type);
  if (found == kKeys.end()) return;
  const JsonObject* data = FindObject(object, "data");
  schema::FieldErrors missing;
  for (const std::string& key : found->second) {
    if (data == nullptr || !data->contains(key))
      missing.push_back(schema::FieldError::Required("data[" + key + "]"));
  }
  // One of a name and a password will do.
  if (type == "kubernetes.io/basic-auth" && missing.size() == 1) missing.clear();
  errors.insert(errors.end(), missing.begin(), missing.end());
  if (!missing.empty() || found->second[0].front() != '.') return;
  const auto text = Base64Decode(StringIn(object, "data", found->second[0]));
  if (!text.ok() || !ParseJson(AsText(*text)).ok()) {
    // What is in a Secret is not repeated.
    errors.push_back(schema::FieldError::Invalid(
        "data[" + found->second[0] + "]", Json("<secret contents redacted>"), "it is no JSON"));
  }
}

void ValidateStorageClass(const Json& object, schema::FieldErrors& errors) {
  RequireText(object, "provisioner", errors);
  RequireOneOf(object, "reclaimPolicy", {"Delete", "Retain"}, errors);
  RequireOneOf(object, "volumeBindingMode", {"Immediate", "WaitForFirstConsumer"}, errors);
}

void ValidateVolumeObject(const Json& object, schema::FieldErrors& errors) {
  if (StringAt(object, "spec.capacity.storage").empty())
    errors.push_back(schema::FieldError::Required("spec.capacity"));
  if (ArrayAt(object, "spec.accessModes").empty())
    errors.push_back(schema::FieldError::Required("spec.accessModes"));
  RequireOneOf(object, "spec.persistentVolumeReclaimPolicy", {"Delete", "Recycle", "Retain"},
               errors);
}

void ValidateLease(const Json& object, schema::FieldErrors& errors) {
  if (const Json* seconds = Find(object, "spec.leaseDurationSeconds");
      seconds != nullptr && IntAt(object, "spec.leaseDurationSeconds") <= 0) {
    errors.push_back(schema::FieldError::Invalid("spec.leaseDurationSeconds", *seconds,
                                                 "must be greater than 0"));
  }
  if (const Json* transitions = Find(object, "spec.leaseTransitions");
      transitions != nullptr && IntAt(object, "spec.leaseTransitions") < 0) {
    errors.push_back(schema::FieldError::Invalid("spec.leaseTransitions", *transitions,
                                                 "must be greater than or equal to 0"));
  }
}

void ValidateRoleBinding(const Json& object, schema::FieldErrors& errors) {
  RequireText(object, "roleRef.name", errors);
  RequireOneOf(object, "roleRef.kind", {"ClusterRole", "Role"}, errors);
}

// ---- updates

void ValidateClaimUpdate(const Json& old, const Json& object, schema::FieldErrors& errors) {
  Json before = *Find(old, "spec");
  Json after = *Find(object, "spec");
  const bool bound = StringAt(old, "status.phase") == "Bound";
  // The binder fills in the volume, once; a class may be filled in later.
  if (StringAt(before, "volumeName").empty())
    Remove(after, "volumeName"), Remove(before, "volumeName");
  if (Find(before, "storageClassName") == nullptr) Remove(after, "storageClassName");
  if (bound)
    Remove(before, "volumeAttributesClassName"), Remove(after, "volumeAttributesClassName");
  const auto old_size = schema::Quantity::Parse(StringAt(before, "resources.requests.storage"));
  const auto new_size = schema::Quantity::Parse(StringAt(after, "resources.requests.storage"));
  const bool sized = old_size.ok() && new_size.ok();
  if (bound && sized) {
    if (*new_size < *old_size && StringAt(old, "status.capacity.storage").empty()) {
      errors.push_back(schema::FieldError::Forbidden("spec.resources.requests.storage",
                                                     "field can not be less than previous value"));
    }
    Remove(before, "resources.requests"), Remove(after, "resources.requests");
  }
  if (before == after) {
    if (bound && sized) {
      const auto capacity = schema::Quantity::Parse(StringAt(old, "status.capacity.storage", "0"));
      if (capacity.ok() && *new_size < *old_size && *new_size <= *capacity) {
        errors.push_back(schema::FieldError::Forbidden(
            "spec.resources.requests.storage", "field can not be less than status.capacity"));
      }
    }
    return;
  }
  errors.push_back(schema::FieldError::Forbidden(
      "spec",
      "spec is immutable after creation except resources.requests and "
      "volumeAttributesClassName for bound claims"));
}

void ValidateImmutable(const Json& old, const Json& object,
                       std::initializer_list<const char*> paths, schema::FieldErrors& errors) {
  for (const char* path : paths) Immutable(old, object, path, errors);
}

void ValidateConfigUpdate(const Json& old, const Json& object, schema::FieldErrors& errors) {
  if (!BoolAt(old, "immutable")) return;
  for (const char* path : {"immutable", "data", "binaryData"}) {
    if (!Same(old, object, path))
      errors.push_back(
          schema::FieldError::Forbidden(path, "field is immutable when `immutable` is set"));
  }
}

using Check = void (*)(const Json&, schema::FieldErrors&);
using UpdateCheck = void (*)(const Json&, const Json&, schema::FieldErrors&);

}  // namespace

bool Same(const Json& old, const Json& object, std::string_view path) {
  const Json* a = Find(old, path);
  const Json* b = Find(object, path);
  return a == nullptr || b == nullptr ? a == b : *a == *b;
}

void Immutable(const Json& old, const Json& object, const std::string& path,
               schema::FieldErrors& errors) {
  if (Same(old, object, path)) return;
  const Json* value = Find(object, path);
  errors.push_back(schema::FieldError::Invalid(path, value == nullptr ? Json(nullptr) : *value,
                                               "field is immutable"));
}

void ValidateClaimSpec(const Json& object, const std::string& at, schema::FieldErrors& errors) {
  const JsonArray& modes = ArrayAt(object, at + ".accessModes");
  if (modes.empty())
    errors.push_back(
        schema::FieldError::Required(at + ".accessModes", "at least 1 access mode is required"));
  static const std::vector<std::string> kModes = {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce",
                                                  "ReadWriteOncePod"};
  for (const Json& mode : modes) {
    const std::string text = mode.is_string() ? std::string(mode.get_string()) : "";
    if (std::find(kModes.begin(), kModes.end(), text) == kModes.end()) {
      errors.push_back(schema::FieldError::Unsupported(at + ".accessModes", mode, kModes));
    }
  }
  const std::string size = StringAt(object, at + ".resources.requests.storage");
  if (size.empty()) {
    errors.push_back(schema::FieldError::Required(at + ".resources[storage]"));
  } else if (const auto quantity = schema::Quantity::Parse(size);
             quantity.ok() && quantity->Sign() <= 0) {
    errors.push_back(schema::FieldError::Invalid(at + ".resources[storage]", Json(size),
                                                 "must be greater than zero"));
  }
  RequireOneOf(object, at + ".volumeMode", {"Block", "Filesystem"}, errors);
}

bool RequireText(const Json& object, const std::string& path, schema::FieldErrors& errors) {
  if (!StringAt(object, path).empty()) return true;
  errors.push_back(schema::FieldError::Required(path));
  return false;
}

void RequireOneOf(const Json& object, const std::string& path,
                  const std::vector<std::string>& allowed, schema::FieldErrors& errors,
                  const std::string& at) {
  const Json* value = Find(object, path);
  if (value == nullptr) return;
  const std::string text = value->is_string() ? std::string(value->get_string()) : "";
  if (std::find(allowed.begin(), allowed.end(), text) == allowed.end()) {
    errors.push_back(
        schema::FieldError::Unsupported(at.empty() ? path : at + "." + path, *value, allowed));
  }
}

void RequireNotNegative(const Json& object, const std::string& path, schema::FieldErrors& errors) {
  if (IntAt(object, path) < 0) {
    errors.push_back(schema::FieldError::Invalid(path, Json(IntAt(object, path)),
                                                 "must be greater than or equal to 0"));
  }
}

void ValidateKind(const schema::Kind& kind, const Json& object, schema::FieldErrors& errors) {
  static const std::map<std::string_view, Check> kChecks = {
      {"configmaps", ValidateConfigMap},
      {"secrets", ValidateSecret},
      {"persistentvolumeclaims",
       [](const Json& o, schema::FieldErrors& e) { ValidateClaimSpec(o, "spec", e); }},
      {"persistentvolumes", ValidateVolumeObject},
      {"pods", [](const Json& o, schema::FieldErrors& e) { ValidatePodSpec(o, "spec", e); }},
      {"services", ValidateService},
      {"deployments.apps", ValidateDeployment},
      {"replicasets.apps", ValidateWorkload},
      {"daemonsets.apps", ValidateWorkload},
      {"statefulsets.apps", ValidateStatefulSet},
      {"jobs.batch", [](const Json& o, schema::FieldErrors& e) { ValidateJobSpec(o, "spec", e); }},
      {"cronjobs.batch", ValidateCronJob},
      {"storageclasses.storage.k8s.io", ValidateStorageClass},
      {"leases.coordination.k8s.io", ValidateLease},
      {"rolebindings.rbac.authorization.k8s.io", ValidateRoleBinding},
      {"clusterrolebindings.rbac.authorization.k8s.io", ValidateRoleBinding},
  };
  const auto found = kChecks.find(kind.group_resource());
  if (found != kChecks.end()) found->second(object, errors);
}

void ValidateKindUpdate(const schema::Kind& kind, const Json& old, const Json& object,
                        schema::FieldErrors& errors) {
  static const std::map<std::string_view, UpdateCheck> kChecks = {
      {"configmaps", ValidateConfigUpdate},
      {"secrets",
       [](const Json& o, const Json& n, schema::FieldErrors& e) {
         Immutable(o, n, "type", e), ValidateConfigUpdate(o, n, e);
       }},
      {"persistentvolumeclaims", ValidateClaimUpdate},
      {"persistentvolumes",
       [](const Json& o, const Json& n, schema::FieldErrors& e) {
         if (!Same(o, n, "spec.csi"))
           e.push_back(schema::FieldError::Forbidden(
               "spec.persistentvolumesource",
               "spec.persistentvolumesource is immutable after creation"));
         ValidateImmutable(o, n, {"spec.volumeMode"}, e);
       }},
      {"pods", ValidatePodUpdate},
      {"services", ValidateServiceUpdate},
      {"deployments.apps", [](const Json& o, const Json& n,
                              schema::FieldErrors& e) { Immutable(o, n, "spec.selector", e); }},
      {"replicasets.apps", [](const Json& o, const Json& n,
                              schema::FieldErrors& e) { Immutable(o, n, "spec.selector", e); }},
      {"daemonsets.apps", [](const Json& o, const Json& n,
                             schema::FieldErrors& e) { Immutable(o, n, "spec.selector", e); }},
      {"statefulsets.apps", ValidateStatefulSetUpdate},
      {"jobs.batch", ValidateJobUpdate},
      {"storageclasses.storage.k8s.io",
       [](const Json& o, const Json& n, schema::FieldErrors& e) {
         ValidateImmutable(o, n,
                           {"provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"}, e);
       }},
      {"rolebindings.rbac.authorization.k8s.io",
       [](const Json& o, const Json& n, schema::FieldErrors& e) { Immutable(o, n, "roleRef", e); }},
      {"clusterrolebindings.rbac.authorization.k8s.io",
       [](const Json& o, const Json& n, schema::FieldErrors& e) { Immutable(o, n, "roleRef", e); }},
  };
  const auto found = kChecks.find(kind.group_resource());
  if (found != kChecks.end()) found->second(old, object, errors);
}

namespace {

bool IsCrd(const schema::Kind& kind) {
  return kind.group == "apiextensions.k8s.io" && kind.resource == "customresourcedefinitions";
}

}  // namespace

schema::FieldErrors ValidateCreate(const schema::Kind& kind, const schema::KindVersion& version,
                                   const Json& object) {
  schema::FieldErrors errors;
  ValidateMetadata(kind, object, errors);
  schema::FieldErrors more;
  if (kind.custom) {
    more = schema::ValidateBySchema(*version.schema, object, nullptr);
  } else if (IsCrd(kind)) {
    more = schema::ValidateCrd(object);
  } else {
    ValidateKind(kind, object, more);
  }
  errors.insert(errors.end(), more.begin(), more.end());
  return errors;
}

schema::FieldErrors ValidateUpdate(const schema::Kind& kind, const schema::KindVersion& version,
                                   std::string_view subresource, const Json& old,
                                   const Json& object) {
  schema::FieldErrors errors;
  ValidateMetadata(kind, object, errors);
  ValidateMetadataUpdate(old, object, errors);
  schema::FieldErrors more;
  if (kind.custom) {
    more = schema::ValidateBySchema(*version.schema, object, &old);
  } else if (IsCrd(kind)) {
    if (subresource.empty()) more = schema::ValidateCrdUpdate(object, old);
  } else if (subresource.empty()) {
    ValidateKindUpdate(kind, old, object, more);
    // What was accepted once and did not change is not judged again.
    if (more.empty() && !Same(old, object, "spec")) ValidateKind(kind, object, more);
    if (more.empty() && Find(object, "spec") == nullptr) ValidateKind(kind, object, more);
  }
  errors.insert(errors.end(), more.begin(), more.end());
  return errors;
}

}  // namespace thinsnap::objects
