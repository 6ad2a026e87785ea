#include "simulator/objects/kind_rules.h"

#include <string>

#include "simulator/objects/rules.h"
#include "simulator/objects/selectors.h"
#include "simulator/schema/quantity.h"

namespace thinsnap::objects {
namespace {

// A Job selects its own pods by its uid, unless its author says to manage the selector.
void PrepareJob(Json& job) {
  const std::string name = StringAt(job, "metadata.name"), uid = StringAt(job, "metadata.uid");
  if (BoolAt(job, "spec.manualSelector")) return;
  for (const char* path : {"metadata.labels", "spec.template.metadata.labels"}) {
    // The labels of the Job itself are those of its template: the template's defaults were taken
    // over before.
    JsonObject& labels = EnsureObject(job, path);
    labels["batch.kubernetes.io/controller-uid"] = uid;
    labels["batch.kubernetes.io/job-name"] = name;
    labels["controller-uid"] = uid;
    labels["job-name"] = name;
  }
  EnsureObject(job, "spec.selector.matchLabels")["batch.kubernetes.io/controller-uid"] = uid;
}

// dataSource and dataSourceRef say the same where either alone is given; kinds that cannot be a
// source are dropped.
void PrepareClaim(Json& claim) {
  const Json* source = Find(claim, "spec.dataSource");
  if (source != nullptr && source->is_object()) {
    const std::string group = StringAt(*source, "apiGroup"), kind = StringAt(*source, "kind");
    const bool known = (group == "snapshot.storage.k8s.io" && kind == "VolumeSnapshot") ||
                       (group.empty() && kind == "PersistentVolumeClaim");
    if (!known) {
      Remove(claim, "spec.dataSource");
      source = nullptr;
    }
  }
  const Json* reference = Find(claim, "spec.dataSourceRef");
  if (source != nullptr && reference == nullptr) {
    const Json copy = *source;
    Set(claim, "spec.dataSourceRef", copy);
  } else if (source == nullptr && reference != nullptr &&
             StringAt(*reference, "namespace").empty()) {
    const std::string group = StringAt(*reference, "apiGroup"), kind = StringAt(*reference, "kind");
    if ((group == "snapshot.storage.k8s.io" && kind == "VolumeSnapshot") ||
        (group.empty() && kind == "PersistentVolumeClaim")) {
      const Json copy = *reference;
      Set(claim, "spec.dataSource", copy);
    }
  }
}

}  // namespace

// Guaranteed: every container has equal requests and limits of cpu and memory; BestEffort: none has
// any.
std::string QualityOfService(const Json& pod) {
  bool any = false, guaranteed = true;
  for (const char* list : {"spec.containers", "spec.initContainers"}) {
    for (const Json& container : ArrayAt(pod, list)) {
      for (const char* resource : {"cpu", "memory"}) {
        const std::string request = StringIn(container, "resources.requests", resource);
        const std::string limit = StringIn(container, "resources.limits", resource);
        any |= !request.empty() || !limit.empty();
        guaranteed &= !limit.empty() && (request.empty() || request == limit);
      }
    }
  }
  return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

void PrepareKindCreate(const schema::Kind& kind, Json& object, WallTime now) {
  const std::string& resource = kind.resource;
  if (kind.group == "batch") {
    if (resource == "jobs") PrepareJob(object);
    return;
  }
  if (resource == "customresourcedefinitions") {
    JsonArray stored;
    for (const Json& version : ArrayAt(object, "spec.versions")) {
      if (BoolAt(version, "storage")) stored.emplace_back(StringAt(version, "name"));
    }
    Set(object, "status",
        {{"acceptedNames", {{"kind", ""}, {"plural", ""}}},
         {"conditions", nullptr},
         {"storedVersions", std::move(stored)}});
    return;
  }
  if (!kind.group.empty()) return;
  if (resource == "persistentvolumeclaims") {
    PrepareClaim(object);
    Set(object, "status.phase", "Pending");
  }
  if (resource == "persistentvolumes") {
    Set(object, "status.phase", "Pending");
    Set(object, "status.lastPhaseTransitionTime", FormatRfc3339(now));
  }
  if (resource == "pods") {
    Set(object, "status.phase", "Pending");
    Set(object, "status.qosClass", QualityOfService(object));
  }
  if (resource == "namespaces") {
    Set(object, "spec.finalizers", Json(JsonArray({Json("kubernetes")})));
    Set(object, "status.phase", "Active");
    EnsureObject(object, "metadata.labels")["kubernetes.io/metadata.name"] =
        StringAt(object, "metadata.name");
  }
}

void PrepareKindUpdate(const schema::Kind& kind, const Json& old, Json& object) {
  if (!kind.group.empty()) return;
  if (kind.resource == "services") PrepareServiceUpdate(old, object);
  if (kind.resource == "namespaces") {
    if (const Json* finalizers = Find(old, "spec.finalizers")) {
      Set(object, "spec.finalizers", *finalizers);
    } else {
      Remove(object, "spec.finalizers");
    }
  }
}

schema::ApiResult<Json> GetScale(const schema::Kind& kind, const schema::KindVersion& version,
                                 const Json& object) {
  if (version.scale_spec_path.empty()) return schema::ApiError::NoSuchResource();
  const Json* replicas = Find(object, version.scale_spec_path);
  if (replicas == nullptr && kind.custom) {
    return schema::ApiError::Internal("the spec replicas field \"." + version.scale_spec_path +
                                      "\" does not exist");
  }
  JsonObject metadata;
  for (const char* member : {"name", "namespace", "uid", "resourceVersion", "creationTimestamp"}) {
    if (const Json* value = Find(object, std::string("metadata.") + member))
      metadata[member] = *value;
  }
  Json scale = JsonObject(
      {{"kind", "Scale"}, {"apiVersion", "autoscaling/v1"}, {"metadata", std::move(metadata)}});
  JsonObject spec;
  if (const std::int64_t wanted = IntAt(object, version.scale_spec_path); wanted != 0)
    spec["replicas"] = wanted;
  JsonObject status = {{"replicas", IntAt(object, version.scale_status_path)}};
  if (const Json* selector = Find(object, version.scale_selector_path);
      selector != nullptr && !version.scale_selector_path.empty()) {
    std::string text;
    if (selector->is_string()) {
      text = selector->get_string();
    } else if (const auto parsed = LabelSelector::FromObject(*selector); parsed.ok()) {
      text = parsed->ToString();
    }
    if (!text.empty()) status["selector"] = text;
  }
  Set(scale, "spec", Json(std::move(spec)));
  Set(scale, "status", Json(std::move(status)));
  return scale;
}

schema::ApiStatus SetScale(const schema::KindVersion& version, const Json& scale, Json& object) {
  const std::int64_t replicas = IntAt(scale, "spec.replicas");
  if (replicas < 0) {
    return schema::ApiError::Invalid(
        "autoscaling", "Scale", StringAt(object, "metadata.name"),
        {schema::FieldError::Invalid("spec.replicas", Json(replicas),
                                     "must be greater than or equal to 0")});
  }
  Set(object, version.scale_spec_path, Json(replicas));
  return {};
}

schema::ApiStatus BindPod(Json& pod, const Json& binding, WallTime now) {
  const std::string name = StringAt(pod, "metadata.name"), node = StringAt(binding, "target.name");
  if (node.empty()) return schema::ApiError(500, "", "target.name: Required value");
  if (const std::string uid = StringAt(binding, "metadata.uid");
      !uid.empty() && uid != StringAt(pod, "metadata.uid")) {
    return schema::ApiError::Conflict("", "pods/binding", name,
                                      "the pod was deleted and made again");
  }
  if (Find(pod, "metadata.deletionTimestamp") != nullptr) {
    return schema::ApiError::Conflict(
        "", "pods/binding", name,
        "pod " + name + " is being deleted, cannot be assigned to a host");
  }
  if (const std::string bound = StringAt(pod, "spec.nodeName"); !bound.empty()) {
    return schema::ApiError::Conflict(
        "", "pods/binding", name, "pod " + name + " is already assigned to node \"" + bound + "\"");
  }
  Set(pod, "spec.nodeName", Json(node));
  if (const JsonObject* annotations = FindObject(binding, "metadata.annotations")) {
    for (const auto& [key, value] : *annotations)
      EnsureObject(pod, "metadata.annotations")[key] = value;
  }
  JsonArray conditions;
  for (const Json& condition : ArrayAt(pod, "status.conditions")) {
    if (StringAt(condition, "type") != "PodScheduled") conditions.push_back(condition);
  }
  conditions.push_back(JsonObject({{"type", "PodScheduled"},
                                   {"status", "True"},
                                   {"lastProbeTime", nullptr},
                                   {"lastTransitionTime", FormatRfc3339(now)}}));
  Set(pod, "status.conditions", Json(std::move(conditions)));
  return {};
}

}  // namespace thinsnap::objects
