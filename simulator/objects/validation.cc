#include "simulator/objects/validation.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/core/bytes.h"
#include "simulator/objects/cron.h"
#include "simulator/objects/kind_fields.h"
#include "simulator/objects/kind_rules.h"
#include "simulator/objects/names.h"
#include "simulator/objects/rules.h"
#include "simulator/objects/selectors.h"
#include "simulator/schema/crd.h"
#include "simulator/schema/custom.h"
#include "simulator/schema/quantity.h"

namespace thinsnap::objects {
namespace {

constexpr std::size_t kMaxDataBytes = std::size_t{1024} * 1024;

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

void ValidateVolumeObject(const Json& object, schema::FieldErrors& errors) {
  if (StringAt(object, "spec.capacity.storage").empty())
    errors.push_back(schema::FieldError::Required("spec.capacity"));
  // What is in none of these is the volume's source.
  static const std::set<std::string_view> kCommon = {
      "accessModes",      "capacity",
      "claimRef",         "mountOptions",
      "nodeAffinity",     "persistentVolumeReclaimPolicy",
      "storageClassName", "volumeAttributesClassName",
      "volumeMode"};
  std::vector<std::string> sources;
  if (const JsonObject* spec = FindObject(object, "spec")) {
    for (const auto& [key, value] : *spec) {
      if (value.is_object() && !kCommon.contains(std::string_view(key))) sources.emplace_back(key);
    }
  }
  if (sources.empty())
    errors.push_back(schema::FieldError::Required("spec", "must specify a volume type"));
  for (std::size_t i = 1; i < sources.size(); ++i) {
    errors.push_back(schema::FieldError::Forbidden("spec." + sources[i],
                                                   "may not specify more than 1 volume type"));
  }
  if (Find(object, "spec.local") != nullptr && Find(object, "spec.nodeAffinity") == nullptr) {
    errors.push_back(
        schema::FieldError::Required("spec.nodeAffinity", "Local volume requires node affinity"));
  }
}

void ValidatePriorityClass(const Json& object, schema::FieldErrors& errors) {
  constexpr std::int64_t kHighest = 1000000000;  // of those that users make
  const std::string name = StringAt(object, "metadata.name");
  if (name == "system-node-critical" || name == "system-cluster-critical") return;
  if (name.starts_with("system-")) {
    errors.push_back(schema::FieldError::Forbidden(
        "metadata.name",
        "priority class names with 'system-' prefix are reserved for system use only. error: " +
            name + " is not a known system priority class"));
  }
  if (IntAt(object, "value") > kHighest) {
    errors.push_back(schema::FieldError::Forbidden(
        "value", "maximum allowed value of a user defined priority is 1000000000"));
  }
}

// Rules are of resources or of other paths, not of both.
void ValidateRole(const Json& object, schema::FieldErrors& errors) {
  const JsonArray& rules = ArrayAt(object, "rules");
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const std::string at = "rules[" + std::to_string(i) + "]";
    const bool paths = !ArrayAt(rules[i], "nonResourceURLs").empty();
    const bool groups = !ArrayAt(rules[i], "apiGroups").empty();
    const bool resources = !ArrayAt(rules[i], "resources").empty();
    if (paths && (groups || resources)) {
      errors.push_back(schema::FieldError::Invalid(
          at + ".nonResourceURLs", ValueAt(rules[i], "nonResourceURLs"),
          "rules cannot apply to both regular resources and non-resource URLs"));
    } else if (!paths) {
      if (!groups)
        errors.push_back(schema::FieldError::Required(
            at + ".apiGroups", "resource rules must supply at least one api group"));
      if (!resources)
        errors.push_back(schema::FieldError::Required(
            at + ".resources", "resource rules must supply at least one resource"));
    }
  }
}

void ValidateEvent(const Json& object, schema::FieldErrors& errors) {
  const std::string ns = StringAt(object, "involvedObject.namespace");
  const std::string own = StringAt(object, "metadata.namespace");
  // What has no namespace tells its events in the default one.
  if (ns.empty() ? own == "default" || own == "kube-system" : ns == own) return;
  errors.push_back(schema::FieldError::Invalid("involvedObject.namespace", Json(ns),
                                               "does not match event.namespace"));
}

// ---- updates

void ValidateClaimUpdate(const Json& old, const Json& object, schema::FieldErrors& errors) {
  Json before = ValueAt(old, "spec");
  Json after = ValueAt(object, "spec");
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

void ValidateConfigUpdate(const Json& old, const Json& object, schema::FieldErrors& errors) {
  if (!BoolAt(old, "immutable")) return;
  for (const char* path : {"immutable", "data", "binaryData"}) {
    if (!Same(old, object, path))
      errors.push_back(
          schema::FieldError::Forbidden(path, "field is immutable when `immutable` is set"));
  }
}

void ValidateVolumeUpdate(const Json& old, const Json& object, schema::FieldErrors& errors) {
  if (!Same(old, object, "spec.csi")) {
    errors.push_back(schema::FieldError::Forbidden(
        "spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation"));
  }
  if (const Json* affinity = Find(old, "spec.nodeAffinity");
      affinity != nullptr && !Same(old, object, "spec.nodeAffinity")) {
    const Json* wanted = Find(object, "spec.nodeAffinity");
    errors.push_back(schema::FieldError::Invalid(
        "nodeAffinity", wanted == nullptr ? Json() : *wanted,
        "field is immutable, except for updating from beta label to GA"));
  }
}

void ValidateNodeUpdate(const Json& old, const Json& object, schema::FieldErrors& errors) {
  for (const auto& [path, name] : {std::pair<const char*, const char*>{"spec.podCIDRs", "podCIDR"},
                                   {"spec.providerID", "providerID"}}) {
    if (Find(old, path) == nullptr || Same(old, object, path)) continue;
    errors.push_back(schema::FieldError::Forbidden(
        path, "node updates may not change " + std::string(name) + " except from \"\" to valid"));
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
  if (modes.size() > 1 && std::count(modes.begin(), modes.end(), Json("ReadWriteOncePod")) > 0) {
    errors.push_back(schema::FieldError::Forbidden(
        at + ".accessModes", "may not use ReadWriteOncePod with other access modes"));
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

void ValidateClaimSpec(const Json& claim, const std::string& spec, const std::string& at,
                       schema::FieldErrors& errors) {
  schema::FieldErrors inner;
  ValidateClaimSpec(claim, spec, inner);
  for (schema::FieldError& error : inner) {
    error.field = at + "." + error.field;
    errors.push_back(std::move(error));
  }
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
      {"daemonsets.apps", ValidateDaemonSet},
      {"statefulsets.apps", ValidateStatefulSet},
      {"jobs.batch", [](const Json& o, schema::FieldErrors& e) { ValidateJobSpec(o, "spec", e); }},
      {"cronjobs.batch", ValidateCronJob},
      {"events", ValidateEvent},
      {"priorityclasses.scheduling.k8s.io", ValidatePriorityClass},
      {"roles.rbac.authorization.k8s.io", ValidateRole},
      {"clusterroles.rbac.authorization.k8s.io", ValidateRole},
  };
  const std::string resource = kind.group_resource();
  CheckKindFields(resource, object, errors);
  const auto found = kChecks.find(resource);
  if (found != kChecks.end()) found->second(object, errors);
}

void ValidateKindUpdate(const schema::Kind& kind, const Json& old, const Json& object,
                        schema::FieldErrors& errors) {
  static const std::map<std::string_view, UpdateCheck> kChecks = {
      {"configmaps", ValidateConfigUpdate},
      {"secrets", ValidateConfigUpdate},
      {"persistentvolumeclaims", ValidateClaimUpdate},
      {"persistentvolumes", ValidateVolumeUpdate},
      {"pods", ValidatePodUpdate},
      {"services", ValidateServiceUpdate},
      {"statefulsets.apps", ValidateStatefulSetUpdate},
      {"jobs.batch", ValidateJobUpdate},
      {"nodes", ValidateNodeUpdate},
  };
  const std::string resource = kind.group_resource();
  for (const ImmutableField& field : ImmutableFields()) {
    if (field.resource != resource || Same(old, object, field.path)) continue;
    const Json* value = Find(object, field.path);
    errors.push_back(field.forbidden
                         ? schema::FieldError::Forbidden(std::string(field.told), field.why)
                         : schema::FieldError::Invalid(std::string(field.told),
                                                       value == nullptr ? Json() : *value,
                                                       field.why));
  }
  const auto found = kChecks.find(resource);
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
    if (const Json* added = Find(object, "spec.ephemeralContainers");
        added != nullptr && kind.group_resource() == "pods") {
      field::Absent(added, "spec.ephemeralContainers", "cannot be set on create", more);
    }
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
  } else if (subresource == "ephemeralcontainers") {
    ValidateEphemeralContainers(old, object, more);
  } else if (subresource == "resize") {
    if (const std::string quality = QualityOfService(old); quality != QualityOfService(object)) {
      more.push_back(
          schema::FieldError::Invalid("spec", Json(QualityOfService(object)),
                                      "Pod QOS Class may not change as a result of resizing"));
    }
    ValidateKind(kind, object, more);
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
