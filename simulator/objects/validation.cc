#include "simulator/objects/validation.h"

#include <algorithm>
#include <map>

#include "simulator/objects/crd.h"
#include "simulator/objects/cron.h"
#include "simulator/objects/custom.h"
#include "simulator/objects/names.h"
#include "simulator/objects/quantity.h"
#include "simulator/objects/rules.h"
#include "simulator/objects/selectors.h"

namespace thinsnap::objects {
namespace {

bool Same(const Json& old, const Json& object, std::string_view path) {
  const Json* a = Find(old, path);
  const Json* b = Find(object, path);
  return a == nullptr || b == nullptr ? a == b : *a == *b;
}

void Immutable(const Json& old, const Json& object, const std::string& path, FieldErrors& errors) {
  if (Same(old, object, path)) return;
  const Json* value = Find(object, path);
  errors.push_back(
      FieldError::Invalid(path, value == nullptr ? Json(nullptr) : *value, "field is immutable"));
}

// ---- metadata

std::string CheckName(const Kind& kind, std::string_view name) {
  if (kind.group == "rbac.authorization.k8s.io") return CheckPathSegment(name);
  if (kind.group.empty() && (kind.resource == "namespaces" || kind.resource == "services"))
    return CheckDnsLabel(name);
  return CheckDnsSubdomain(name);
}

bool IsStandardFinalizer(std::string_view name) {
  return name == "kubernetes" || name == "orphan" || name == "foregroundDeletion";
}

void ValidateMetadata(const Kind& kind, const Json& object, FieldErrors& errors) {
  const std::string name = StringAt(object, "metadata.name");
  if (name.empty()) {
    errors.push_back(FieldError::Required("metadata.name", "name or generateName is required"));
  } else if (const std::string why = CheckName(kind, name); !why.empty()) {
    errors.push_back(FieldError::Invalid("metadata.name", Json(name), why));
  }
  CheckLabels(object, "metadata.labels", errors);
  std::size_t annotation_bytes = 0;
  if (const JsonObject* annotations = FindObject(object, "metadata.annotations")) {
    for (const auto& [key, value] : *annotations) {
      std::string lower(key);
      std::transform(lower.begin(), lower.end(), lower.begin(),
                     [](char c) { return static_cast<char>(std::tolower(c)); });
      if (const std::string why = CheckQualifiedName(lower); !why.empty()) {
        errors.push_back(FieldError::Invalid("metadata.annotations", Json(key), why));
      }
      annotation_bytes += key.size() + (value.is_string() ? value.get_string().size() : 0);
    }
  }
  if (annotation_bytes > 262144)
    errors.push_back(FieldError::TooLong("metadata.annotations", 262144));
  const JsonArray& finalizers = ArrayAt(object, "metadata.finalizers");
  for (std::size_t i = 0; i < finalizers.size(); ++i) {
    if (!finalizers[i].is_string()) continue;
    const std::string at = "metadata.finalizers[" + std::to_string(i) + "]";
    const std::string_view text(finalizers[i].get_string());
    if (const std::string why = CheckQualifiedName(text); !why.empty()) {
      errors.push_back(FieldError::Invalid(at, finalizers[i], why));
    } else if (text.find('/') == std::string_view::npos && !IsStandardFinalizer(text)) {
      errors.push_back(FieldError::Invalid(
          at, finalizers[i],
          "name is neither a standard finalizer name nor is it fully qualified"));
    }
  }
  const JsonArray& owners = ArrayAt(object, "metadata.ownerReferences");
  int controllers = 0;
  for (std::size_t i = 0; i < owners.size(); ++i) {
    for (const char* member : {"apiVersion", "kind", "name", "uid"}) {
      if (StringAt(owners[i], member).empty()) {
        errors.push_back(FieldError::Invalid("metadata.ownerReferences." + std::string(member),
                                             Json(""), "must not be empty"));
      }
    }
    if (BoolAt(owners[i], "controller")) ++controllers;
  }
  if (controllers > 1) {
    errors.push_back(FieldError::Invalid("metadata.ownerReferences", Json(owners),
                                         "Only one reference can have Controller set to true"));
  }
}

void ValidateMetadataUpdate(const Json& old, const Json& object, FieldErrors& errors) {
  if (Find(old, "metadata.deletionTimestamp") == nullptr) return;
  std::string added;
  const JsonArray& before = ArrayAt(old, "metadata.finalizers");
  for (const Json& each : ArrayAt(object, "metadata.finalizers")) {
    if (std::find(before.begin(), before.end(), each) != before.end()) continue;
    added += (added.empty() ? "" : ", ") + ToJson(each);
  }
  if (added.empty()) return;
  errors.push_back(FieldError::Forbidden("metadata.finalizers",
                                         "no new finalizers can be added if the object is being "
                                         "deleted, found new finalizers []string{" +
                                             added + "}"));
}

// ---- kinds

void ValidateKeys(const Json& object, const std::string& path, FieldErrors& errors) {
  const JsonObject* data = FindObject(object, path);
  if (data == nullptr) return;
  for (const auto& [key, value] : *data) {
    if (const std::string why = CheckConfigKey(key); !why.empty()) {
      errors.push_back(FieldError::Invalid(path + "[" + std::string(key) + "]", Json(key), why));
    }
  }
}

void ValidateClaimSpec(const Json& object, const std::string& at, FieldErrors& errors) {
  const JsonArray& modes = ArrayAt(object, at + ".accessModes");
  if (modes.empty())
    errors.push_back(
        FieldError::Required(at + ".accessModes", "at least 1 access mode is required"));
  static const std::vector<std::string> kModes = {"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce",
                                                  "ReadWriteOncePod"};
  for (const Json& mode : modes) {
    const std::string text = mode.is_string() ? std::string(mode.get_string()) : "";
    if (std::find(kModes.begin(), kModes.end(), text) == kModes.end()) {
      errors.push_back(FieldError::Unsupported(at + ".accessModes", mode, kModes));
    }
  }
  const std::string size = StringAt(object, at + ".resources.requests.storage");
  if (size.empty()) {
    errors.push_back(FieldError::Required(at + ".resources[storage]"));
  } else if (const auto quantity = Quantity::Parse(size); quantity.ok() && quantity->Sign() <= 0) {
    errors.push_back(
        FieldError::Invalid(at + ".resources[storage]", Json(size), "must be greater than zero"));
  }
  RequireOneOf(object, at + ".volumeMode", {"Block", "Filesystem"}, errors);
}

void ValidateSelector(const Json& object, const std::string& template_at, FieldErrors& errors) {
  const Json* selector = Find(object, "spec.selector");
  if (selector == nullptr || !selector->is_object() || selector->get_object().empty()) {
    errors.push_back(FieldError::Required("spec.selector"));
    return;
  }
  const auto parsed = LabelSelector::FromObject(*selector);
  if (!parsed.ok()) {
    errors.push_back(FieldError::Invalid("spec.selector", *selector, parsed.error().message));
    return;
  }
  const JsonObject* labels = FindObject(object, template_at + ".metadata.labels");
  const JsonObject none;
  if (!parsed->MatchesLabels(labels == nullptr ? none : *labels)) {
    errors.push_back(FieldError::Invalid(template_at + ".metadata.labels",
                                         labels == nullptr ? Json(nullptr) : Json(*labels),
                                         "`selector` does not match template `labels`"));
  }
}

void ValidateNotNegative(const Json& object, const std::string& path, FieldErrors& errors) {
  if (IntAt(object, path) < 0) {
    errors.push_back(
        FieldError::Invalid(path, Json(IntAt(object, path)), "must be greater than or equal to 0"));
  }
}

void ValidateTemplate(const Json& object, const std::string& at, FieldErrors& errors) {
  CheckLabels(object, at + ".metadata.labels", errors);
  ValidatePodSpec(object, at + ".spec", errors);
}

void ValidateWorkload(const Json& object, FieldErrors& errors) {
  ValidateNotNegative(object, "spec.replicas", errors);
  ValidateSelector(object, "spec.template", errors);
  ValidateTemplate(object, "spec.template", errors);
  if (errors.empty()) RequireOneOf(object, "spec.template.spec.restartPolicy", {"Always"}, errors);
}

void ValidateStatefulSet(const Json& object, FieldErrors& errors) {
  ValidateWorkload(object, errors);
  const JsonArray& claims = ArrayAt(object, "spec.volumeClaimTemplates");
  for (std::size_t i = 0; i < claims.size(); ++i) {
    FieldErrors inner;
    ValidateClaimSpec(claims[i], "spec", inner);
    for (FieldError& error : inner) {
      error.field = "spec.volumeClaimTemplates[" + std::to_string(i) + "]." + error.field;
      errors.push_back(std::move(error));
    }
  }
}

void ValidateJobSpec(const Json& object, const std::string& at, FieldErrors& errors) {
  for (const char* member : {".parallelism", ".completions", ".backoffLimit",
                             ".activeDeadlineSeconds", ".ttlSecondsAfterFinished"}) {
    ValidateNotNegative(object, at + member, errors);
  }
  ValidateTemplate(object, at + ".template", errors);
  const std::string policy = StringAt(object, at + ".template.spec.restartPolicy");
  if (policy == "Always") {
    errors.push_back(FieldError::Required(at + ".template.spec.restartPolicy",
                                          "valid values: \"OnFailure\", \"Never\""));
  }
  if (StringAt(object, at + ".completionMode") == "Indexed" &&
      Find(object, at + ".completions") == nullptr) {
    errors.push_back(FieldError::Required(at + ".completions", "when completion mode is Indexed"));
  }
}

void ValidateCronJob(const Json& object, FieldErrors& errors) {
  const std::string schedule = StringAt(object, "spec.schedule");
  if (schedule.empty()) {
    errors.push_back(FieldError::Required("spec.schedule"));
  } else if (const std::string why = CheckCronSchedule(schedule); !why.empty()) {
    errors.push_back(FieldError::Invalid("spec.schedule", Json(schedule), why));
  }
  if (const std::string zone = StringAt(object, "spec.timeZone"); !zone.empty()) {
    if (const std::string why = CheckTimeZone(zone); !why.empty()) {
      errors.push_back(FieldError::Invalid("spec.timeZone", Json(zone), why));
    }
  }
  RequireOneOf(object, "spec.concurrencyPolicy", {"Allow", "Forbid", "Replace"}, errors);
  if (StringAt(object, "metadata.name").size() > 52) {
    errors.push_back(FieldError::Invalid("metadata.name", Json(StringAt(object, "metadata.name")),
                                         "must be no more than 52 characters"));
  }
  ValidateJobSpec(object, "spec.jobTemplate.spec", errors);
}

void ValidateStorageClass(const Json& object, FieldErrors& errors) {
  RequireText(object, "provisioner", errors);
  RequireOneOf(object, "reclaimPolicy", {"Delete", "Retain"}, errors);
  RequireOneOf(object, "volumeBindingMode", {"Immediate", "WaitForFirstConsumer"}, errors);
}

void ValidateVolumeObject(const Json& object, FieldErrors& errors) {
  if (StringAt(object, "spec.capacity.storage").empty())
    errors.push_back(FieldError::Required("spec.capacity"));
  if (ArrayAt(object, "spec.accessModes").empty())
    errors.push_back(FieldError::Required("spec.accessModes"));
  RequireOneOf(object, "spec.persistentVolumeReclaimPolicy", {"Delete", "Recycle", "Retain"},
               errors);
}

void ValidateLease(const Json& object, FieldErrors& errors) {
  if (const Json* seconds = Find(object, "spec.leaseDurationSeconds");
      seconds != nullptr && IntAt(object, "spec.leaseDurationSeconds") <= 0) {
    errors.push_back(
        FieldError::Invalid("spec.leaseDurationSeconds", *seconds, "must be greater than 0"));
  }
  if (const Json* transitions = Find(object, "spec.leaseTransitions");
      transitions != nullptr && IntAt(object, "spec.leaseTransitions") < 0) {
    errors.push_back(FieldError::Invalid("spec.leaseTransitions", *transitions,
                                         "must be greater than or equal to 0"));
  }
}

void ValidateRoleBinding(const Json& object, FieldErrors& errors) {
  RequireText(object, "roleRef.name", errors);
  RequireOneOf(object, "roleRef.kind", {"ClusterRole", "Role"}, errors);
}

void ValidateService(const Json& object, FieldErrors& errors) {
  if (ArrayAt(object, "spec.ports").empty() && StringAt(object, "spec.clusterIP") != "None" &&
      StringAt(object, "spec.type") != "ExternalName") {
    errors.push_back(FieldError::Required("spec.ports"));
  }
}

// ---- updates

void ValidateClaimUpdate(const Json& old, const Json& object, FieldErrors& errors) {
  Json before = *Find(old, "spec");
  Json after = *Find(object, "spec");
  const bool bound = StringAt(old, "status.phase") == "Bound";
  // The binder fills in the volume, once; a class may be filled in later.
  if (StringAt(before, "volumeName").empty())
    Remove(after, "volumeName"), Remove(before, "volumeName");
  if (Find(before, "storageClassName") == nullptr) Remove(after, "storageClassName");
  if (bound)
    Remove(before, "volumeAttributesClassName"), Remove(after, "volumeAttributesClassName");
  const auto old_size = Quantity::Parse(StringAt(before, "resources.requests.storage"));
  const auto new_size = Quantity::Parse(StringAt(after, "resources.requests.storage"));
  const bool sized = old_size.ok() && new_size.ok();
  if (bound && sized) {
    if (*new_size < *old_size && StringAt(old, "status.capacity.storage").empty()) {
      errors.push_back(FieldError::Forbidden("spec.resources.requests.storage",
                                             "field can not be less than previous value"));
    }
    Remove(before, "resources.requests"), Remove(after, "resources.requests");
  }
  if (before == after) {
    if (bound && sized) {
      const auto capacity = Quantity::Parse(StringAt(old, "status.capacity.storage", "0"));
      if (capacity.ok() && *new_size < *old_size && *new_size <= *capacity) {
        errors.push_back(FieldError::Forbidden("spec.resources.requests.storage",
                                               "field can not be less than status.capacity"));
      }
    }
    return;
  }
  errors.push_back(
      FieldError::Forbidden("spec",
                            "spec is immutable after creation except resources.requests and "
                            "volumeAttributesClassName for bound claims"));
}

void ValidateImmutable(const Json& old, const Json& object,
                       std::initializer_list<const char*> paths, FieldErrors& errors) {
  for (const char* path : paths) Immutable(old, object, path, errors);
}

void ValidateConfigUpdate(const Json& old, const Json& object, FieldErrors& errors) {
  if (!BoolAt(old, "immutable")) return;
  for (const char* path : {"immutable", "data", "binaryData"}) {
    if (!Same(old, object, path))
      errors.push_back(FieldError::Forbidden(path, "field is immutable when `immutable` is set"));
  }
}

void ValidateJobUpdate(const Json& old, const Json& object, FieldErrors& errors) {
  ValidateImmutable(old, object, {"spec.completions", "spec.selector", "spec.completionMode"},
                    errors);
  const bool suspended = BoolAt(old, "spec.suspend") && StringAt(old, "status.startTime").empty();
  if (!suspended) Immutable(old, object, "spec.template", errors);
}

void ValidateStatefulSetUpdate(const Json& old, const Json& object, FieldErrors& errors) {
  const auto strip = [](const Json& set) {
    Json spec = *Find(set, "spec");
    for (const char* member :
         {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
          "persistentVolumeClaimRetentionPolicy", "minReadySeconds"}) {
      Remove(spec, member);
    }
    return spec;
  };
  if (strip(old) != strip(object)) {
    errors.push_back(
        FieldError::Forbidden("spec",
                              "updates to statefulset spec for fields other than 'replicas', "
                              "'ordinals', 'template', 'updateStrategy', "
                              "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                              "'minReadySeconds' are forbidden"));
  }
}

using Check = void (*)(const Json&, FieldErrors&);
using UpdateCheck = void (*)(const Json&, const Json&, FieldErrors&);

}  // namespace

bool RequireText(const Json& object, const std::string& path, FieldErrors& errors) {
  if (!StringAt(object, path).empty()) return true;
  errors.push_back(FieldError::Required(path));
  return false;
}

void RequireOneOf(const Json& object, const std::string& path,
                  const std::vector<std::string>& allowed, FieldErrors& errors) {
  const Json* value = Find(object, path);
  if (value == nullptr) return;
  const std::string text = value->is_string() ? std::string(value->get_string()) : "";
  if (std::find(allowed.begin(), allowed.end(), text) == allowed.end()) {
    errors.push_back(FieldError::Unsupported(path, *value, allowed));
  }
}

void ValidateKind(const Kind& kind, const Json& object, FieldErrors& errors) {
  static const std::map<std::string_view, Check> kChecks = {
      {"configmaps",
       [](const Json& o, FieldErrors& e) {
         ValidateKeys(o, "data", e), ValidateKeys(o, "binaryData", e);
       }},
      {"secrets", [](const Json& o, FieldErrors& e) { ValidateKeys(o, "data", e); }},
      {"persistentvolumeclaims",
       [](const Json& o, FieldErrors& e) { ValidateClaimSpec(o, "spec", e); }},
      {"persistentvolumes", ValidateVolumeObject},
      {"pods", [](const Json& o, FieldErrors& e) { ValidatePodSpec(o, "spec", e); }},
      {"services", ValidateService},
      {"deployments.apps", ValidateWorkload},
      {"replicasets.apps", ValidateWorkload},
      {"daemonsets.apps", ValidateWorkload},
      {"statefulsets.apps", ValidateStatefulSet},
      {"jobs.batch", [](const Json& o, FieldErrors& e) { ValidateJobSpec(o, "spec", e); }},
      {"cronjobs.batch", ValidateCronJob},
      {"storageclasses.storage.k8s.io", ValidateStorageClass},
      {"leases.coordination.k8s.io", ValidateLease},
      {"rolebindings.rbac.authorization.k8s.io", ValidateRoleBinding},
      {"clusterrolebindings.rbac.authorization.k8s.io", ValidateRoleBinding},
  };
  const auto found = kChecks.find(kind.group_resource());
  if (found != kChecks.end()) found->second(object, errors);
}

void ValidateKindUpdate(const Kind& kind, const Json& old, const Json& object,
                        FieldErrors& errors) {
  static const std::map<std::string_view, UpdateCheck> kChecks = {
      {"configmaps", ValidateConfigUpdate},
      {"secrets",
       [](const Json& o, const Json& n, FieldErrors& e) {
         Immutable(o, n, "type", e), ValidateConfigUpdate(o, n, e);
       }},
      {"persistentvolumeclaims", ValidateClaimUpdate},
      {"persistentvolumes",
       [](const Json& o, const Json& n, FieldErrors& e) {
         if (!Same(o, n, "spec.csi"))
           e.push_back(
               FieldError::Forbidden("spec.persistentvolumesource",
                                     "spec.persistentvolumesource is immutable after creation"));
         ValidateImmutable(o, n, {"spec.volumeMode"}, e);
       }},
      {"pods", ValidatePodUpdate},
      {"deployments.apps",
       [](const Json& o, const Json& n, FieldErrors& e) { Immutable(o, n, "spec.selector", e); }},
      {"replicasets.apps",
       [](const Json& o, const Json& n, FieldErrors& e) { Immutable(o, n, "spec.selector", e); }},
      {"daemonsets.apps",
       [](const Json& o, const Json& n, FieldErrors& e) { Immutable(o, n, "spec.selector", e); }},
      {"statefulsets.apps", ValidateStatefulSetUpdate},
      {"jobs.batch", ValidateJobUpdate},
      {"storageclasses.storage.k8s.io",
       [](const Json& o, const Json& n, FieldErrors& e) {
         ValidateImmutable(o, n,
                           {"provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"}, e);
       }},
      {"rolebindings.rbac.authorization.k8s.io",
       [](const Json& o, const Json& n, FieldErrors& e) { Immutable(o, n, "roleRef", e); }},
      {"clusterrolebindings.rbac.authorization.k8s.io",
       [](const Json& o, const Json& n, FieldErrors& e) { Immutable(o, n, "roleRef", e); }},
  };
  const auto found = kChecks.find(kind.group_resource());
  if (found != kChecks.end()) found->second(old, object, errors);
}

namespace {

bool IsCrd(const Kind& kind) {
  return kind.group == "apiextensions.k8s.io" && kind.resource == "customresourcedefinitions";
}

}  // namespace

FieldErrors ValidateCreate(const Kind& kind, const KindVersion& version, const Json& object) {
  FieldErrors errors;
  ValidateMetadata(kind, object, errors);
  FieldErrors more;
  if (kind.custom) {
    more = ValidateBySchema(*version.schema, object, nullptr);
  } else if (IsCrd(kind)) {
    more = ValidateCrd(object);
  } else {
    ValidateKind(kind, object, more);
  }
  errors.insert(errors.end(), more.begin(), more.end());
  return errors;
}

FieldErrors ValidateUpdate(const Kind& kind, const KindVersion& version,
                           std::string_view subresource, const Json& old, const Json& object) {
  FieldErrors errors;
  ValidateMetadata(kind, object, errors);
  ValidateMetadataUpdate(old, object, errors);
  FieldErrors more;
  if (kind.custom) {
    more = ValidateBySchema(*version.schema, object, &old);
  } else if (IsCrd(kind)) {
    if (subresource.empty()) more = ValidateCrdUpdate(object, old);
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
