// The rules of metadata that every kind shares. A kind's own steps are in kind_rules.cc.
#include "simulator/objects/rules.h"

#include <algorithm>
#include <map>

#include "simulator/objects/kind_rules.h"

namespace thinsnap::objects {
namespace {

// Takes a member over from `old`, or removes it where old has none.
void CarryOver(const Json& old, Json& object, std::string_view path) {
  if (const Json* value = Find(old, path)) {
    Set(object, path, *value);
  } else {
    Remove(object, path);
  }
}

// What generation counts: everything but metadata and status.
bool SpecDiffers(const Json& old, const Json& object) {
  const auto strip = [](const Json& value) {
    JsonObject rest = value.as_object();
    for (const char* member : {"metadata", "status", "apiVersion", "kind"}) rest.erase(member);
    return rest;
  };
  return strip(old) != strip(object);
}

// The statuses whose numbers are told even when nothing is known yet.
JsonObject FirstStatus(const schema::Kind& kind) {
  static const std::map<std::string_view, JsonObject> kFirst = {
      {"replicationcontrollers", {{"replicas", 0}}},
      {"replicasets.apps", {{"replicas", 0}}},
      {"statefulsets.apps", {{"replicas", 0}, {"availableReplicas", 0}}},
      {"daemonsets.apps",
       {{"currentNumberScheduled", 0},
        {"numberMisscheduled", 0},
        {"desiredNumberScheduled", 0},
        {"numberReady", 0}}},
      {"services", {{"loadBalancer", JsonObject()}}},
      {"ingresses.networking.k8s.io", {{"loadBalancer", JsonObject()}}},
      {"volumeattachments.storage.k8s.io", {{"attached", false}}},
      {"poddisruptionbudgets.policy",
       {{"disruptionsAllowed", 0},
        {"currentHealthy", 0},
        {"desiredHealthy", 0},
        {"expectedPods", 0}}},
      {"horizontalpodautoscalers.autoscaling",
       {{"desiredReplicas", 0}, {"currentMetrics", nullptr}}}};
  const auto found = kFirst.find(kind.group_resource());
  return found == kFirst.end() ? JsonObject() : found->second;
}

bool HasFinalizers(const Json& object) { return !ArrayAt(object, "metadata.finalizers").empty(); }

bool IsNamespace(const schema::Kind& kind) {
  return kind.group.empty() && kind.resource == "namespaces";
}

bool EditFinalizer(Json& object, std::string_view name, bool present) {
  JsonArray kept;
  bool found = false;
  for (const Json& entry : ArrayAt(object, "metadata.finalizers")) {
    const bool same = entry.is_string() && entry.get_string() == name;
    found |= same;
    if (!same || present) kept.push_back(entry);
  }
  if (found == present) return false;
  if (present) kept.push_back(Json(name));
  if (kept.empty()) {
    Remove(object, "metadata.finalizers");
  } else {
    Set(object, "metadata.finalizers", Json(std::move(kept)));
  }
  return true;
}

// Puts in or takes out the finalizers by which the garbage collector knows what is wanted.
bool ApplyPropagation(Json& object, const DeleteRequest& request) {
  std::string policy = request.propagation_policy;
  if (policy.empty() && request.orphan_dependents.has_value()) {
    policy = *request.orphan_dependents ? "Orphan" : "Background";
  }
  if (policy.empty()) return false;
  const bool foreground = EditFinalizer(object, "foregroundDeletion", policy == "Foreground");
  return EditFinalizer(object, "orphan", policy == "Orphan") || foreground;
}

void MarkDeleted(const schema::Kind& kind, Json& object, WallTime when, std::int64_t grace) {
  Set(object, "metadata.deletionTimestamp", FormatRfc3339(when));
  if (IsNamespace(kind)) {
    Set(object, "status.phase", "Terminating");
  } else {
    Set(object, "metadata.deletionGracePeriodSeconds", Json(grace));
  }
  if (kind.has_generation)
    Set(object, "metadata.generation", Json(IntAt(object, "metadata.generation") + 1));
}

// The old pod with what a subresource may change of it.
Json PodPart(std::string_view subresource, const Json& old, const Json& pod) {
  Json result = old;
  CarryOver(pod, result, "metadata.managedFields");
  CarryOver(pod, result, "metadata.resourceVersion");
  if (subresource == "ephemeralcontainers") {
    CarryOver(pod, result, "spec.ephemeralContainers");
    return result;
  }
  for (const char* list : {"spec.containers", "spec.initContainers"}) {
    Json* containers = FindMutable(result, list);
    if (containers == nullptr || !containers->is_array()) continue;
    for (Json& container : containers->get_array()) {
      for (const Json& wanted : ArrayAt(pod, list)) {
        if (StringAt(wanted, "name") != StringAt(container, "name")) continue;
        CarryOver(wanted, container, "resources");
        CarryOver(wanted, container, "resizePolicy");
      }
    }
  }
  return result;
}

bool IsDefinition(const schema::Kind& kind) {
  return kind.group == "apiextensions.k8s.io" && kind.resource == "customresourcedefinitions";
}

// A definition waits until its instances are gone.
void EndDefinition(Json& object, WallTime now) {
  Set(object, "metadata.deletionTimestamp", FormatRfc3339(now));
  EditFinalizer(object, "customresourcecleanup.apiextensions.k8s.io", true);
  JsonArray conditions;
  for (const Json& condition : ArrayAt(object, "status.conditions")) {
    if (StringAt(condition, "type") != "Terminating") conditions.push_back(condition);
  }
  conditions.push_back({{"type", "Terminating"},
                        {"status", "True"},
                        {"lastTransitionTime", FormatRfc3339(now)},
                        {"reason", "InstanceDeletionPending"},
                        {"message",
                         "CustomResourceDefinition marked for deletion; CustomResource deletion "
                         "will begin soon"}});
  Set(object, "status.conditions", std::move(conditions));
}

// How long a pod may take to end; 0 when nobody would end it.
std::int64_t GraceOf(const Json& pod, const DeleteRequest& request) {
  const std::string phase = StringAt(pod, "status.phase");
  if (StringAt(pod, "spec.nodeName").empty() || phase == "Succeeded" || phase == "Failed") return 0;
  const std::int64_t grace =
      request.grace_period_seconds.value_or(IntAt(pod, "spec.terminationGracePeriodSeconds", 30));
  return grace < 0 ? 1 : grace;
}

}  // namespace

std::string NewUid(Random& random) { return random.Uuid(); }

schema::ApiStatus PrepareCreate(const schema::Kind& kind, const schema::KindVersion& version,
                                std::string_view ns, Json& object, WallTime now, Random& random) {
  JsonObject& metadata = EnsureObject(object, "metadata");
  const std::string own = StringAt(object, "metadata.namespace");
  if (kind.namespaced) {
    if (!own.empty() && own != ns) {
      return schema::ApiError::BadRequest(
          "the namespace of the provided object does not match the namespace sent on the request");
    }
    metadata["namespace"] = ns;
  } else if (!own.empty()) {
    return schema::ApiError::BadRequest("namespace is not allowed on this type");
  }
  if (const std::string given = StringAt(object, "metadata.resourceVersion");
      !given.empty() && given != "0") {
    return schema::ApiError::BadRequest(
        "resourceVersion should not be set on objects to be created");
  }
  const std::string base = StringAt(object, "metadata.generateName");
  if (StringAt(object, "metadata.name").empty() && !base.empty()) {
    metadata["name"] = base.substr(0, 58) + random.NameSuffix(5);
  }
  for (const char* member : {"deletionTimestamp", "deletionGracePeriodSeconds", "selfLink",
                             "resourceVersion", "generation"}) {
    metadata.erase(member);
  }
  metadata["uid"] = NewUid(random);
  metadata["creationTimestamp"] = FormatRfc3339(now);
  if (kind.has_generation) metadata["generation"] = 1;
  // A kubelet brings the status of its node along.
  if (kind.has_status && kind.group_resource() != "nodes") {
    const schema::Property* status =
        version.schema == nullptr || kind.custom ? nullptr : version.schema->FindProperty("status");
    if (status != nullptr && status->value) {
      object.as_object()["status"] = FirstStatus(kind);
    } else {
      object.as_object().erase("status");
    }
  }
  PrepareKindCreate(kind, object, now);
  return {};
}

schema::ApiStatus PrepareUpdate(const schema::Kind& kind, const schema::KindVersion& version,
                                std::string_view subresource, const Json& old, Json& object) {
  static_cast<void>(version);
  const std::string old_name = StringAt(old, "metadata.name"),
                    old_ns = StringAt(old, "metadata.namespace");
  EnsureObject(object, "metadata");
  if (const std::string name = StringAt(object, "metadata.name");
      !name.empty() && name != old_name) {
    return schema::ApiError::BadRequest("the name of the object (" + name +
                                        ") does not match the name on the URL (" + old_name + ")");
  }
  if (const std::string ns = StringAt(object, "metadata.namespace"); !ns.empty() && ns != old_ns) {
    return schema::ApiError::BadRequest("the namespace of the object (" + ns +
                                        ") does not match the namespace on the URL (" + old_ns +
                                        ")");
  }
  if (subresource == "status") {
    Json result = old;
    CarryOver(object, result, "status");
    CarryOver(object, result, "metadata.managedFields");
    if (!kind.custom) {
      for (const char* path : {"metadata.labels", "metadata.annotations", "metadata.finalizers"}) {
        CarryOver(object, result, path);
      }
    }
    CarryOver(object, result, "metadata.resourceVersion");
    object = std::move(result);
  } else if (subresource == "finalize") {
    Json result = old;
    CarryOver(object, result, "spec.finalizers");
    CarryOver(object, result, "metadata.resourceVersion");
    object = std::move(result);
  } else if (subresource == "ephemeralcontainers" || subresource == "resize") {
    object = PodPart(subresource, old, object);
  } else {
    if (kind.has_status) CarryOver(old, object, "status");
    PrepareKindUpdate(kind, old, object);
  }
  for (const char* path : {"metadata.name", "metadata.namespace", "metadata.creationTimestamp",
                           "metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds",
                           "metadata.generation", "metadata.selfLink"}) {
    CarryOver(old, object, path);
  }
  if (StringAt(object, "metadata.uid").empty()) CarryOver(old, object, "metadata.uid");
  if (kind.has_generation && SpecDiffers(old, object)) {
    Set(object, "metadata.generation", Json(IntAt(old, "metadata.generation") + 1));
  }
  return {};
}

bool IsNoOp(const Json& old, const Json& object) {
  const auto strip = [](Json value) {
    Remove(value, "metadata.resourceVersion");
    if (Json* managed = FindMutable(value, "metadata.managedFields");
        managed != nullptr && managed->is_array()) {
      for (Json& entry : managed->get_array()) Remove(entry, "time");
    }
    return value;
  };
  return strip(old) == strip(object);
}

schema::ApiResult<DeleteOutcome> PrepareDelete(const schema::Kind& kind, Json& object,
                                               const DeleteRequest& request, WallTime now) {
  const std::string name = StringAt(object, "metadata.name");
  if (const std::string uid = StringAt(object, "metadata.uid");
      !request.uid.empty() && request.uid != uid) {
    return schema::ApiError::Conflict(
        kind.group, kind.kind, name,
        "the UID in the precondition (" + request.uid + ") does not match the UID in record (" +
            uid + "). The object might have been deleted and then recreated");
  }
  if (const std::string version = StringAt(object, "metadata.resourceVersion");
      !request.resource_version.empty() && request.resource_version != version) {
    return schema::ApiError::Conflict(kind.group, kind.kind, name,
                                      "the ResourceVersion in the precondition (" +
                                          request.resource_version +
                                          ") does not match the ResourceVersion in record (" +
                                          version + "). The object might have been modified");
  }
  const bool marked = Find(object, "metadata.deletionTimestamp") != nullptr;
  const bool finalizers_changed = ApplyPropagation(object, request);
  const std::int64_t grace = kind.graceful_delete ? GraceOf(object, request) : 0;
  if (grace > 0) {
    const std::int64_t present = IntAt(object, "metadata.deletionGracePeriodSeconds", INT64_MAX);
    if (marked && grace >= present)
      return finalizers_changed ? DeleteOutcome::kUpdate : DeleteOutcome::kNone;
    MarkDeleted(kind, object, now + std::chrono::seconds(grace), grace);
    return DeleteOutcome::kUpdate;
  }
  if (IsDefinition(kind) && !marked) {
    EndDefinition(object, now);
    return DeleteOutcome::kUpdate;
  }
  const bool held =
      HasFinalizers(object) || (IsNamespace(kind) && !ArrayAt(object, "spec.finalizers").empty());
  if (!held) {
    // The last state of a pod shows that it was deleted.
    if (kind.graceful_delete &&
        (!marked || IntAt(object, "metadata.deletionGracePeriodSeconds") > 0)) {
      MarkDeleted(kind, object, now, 0);
    }
    return DeleteOutcome::kRemove;
  }
  if (marked && IntAt(object, "metadata.deletionGracePeriodSeconds") == 0) {
    return finalizers_changed ? DeleteOutcome::kUpdate : DeleteOutcome::kNone;
  }
  MarkDeleted(kind, object, now, 0);
  return DeleteOutcome::kUpdate;
}

bool MustBeRemoved(const schema::Kind& kind, const Json& object) {
  if (Find(object, "metadata.deletionTimestamp") == nullptr || HasFinalizers(object)) return false;
  if (IsNamespace(kind)) return ArrayAt(object, "spec.finalizers").empty();
  return !kind.graceful_delete || IntAt(object, "metadata.deletionGracePeriodSeconds") == 0;
}

schema::ApiResult<DeleteRequest> ParseDeleteOptions(const Json& options) {
  DeleteRequest request;
  schema::FieldErrors errors;
  if (const Json* grace = Find(options, "gracePeriodSeconds");
      grace != nullptr && grace->is_number()) {
    request.grace_period_seconds = grace->to_number<std::int64_t>();
  }
  request.propagation_policy = StringAt(options, "propagationPolicy");
  static const std::vector<std::string> kPolicies = {"Foreground", "Background", "Orphan"};
  if (!request.propagation_policy.empty() &&
      std::find(kPolicies.begin(), kPolicies.end(), request.propagation_policy) ==
          kPolicies.end()) {
    errors.push_back(
        schema::FieldError::Unsupported("propagationPolicy", Json(request.propagation_policy),
                                        {"Foreground", "Background", "Orphan", "nil"}));
  }
  if (const Json* orphan = Find(options, "orphanDependents");
      orphan != nullptr && orphan->is_bool()) {
    request.orphan_dependents = orphan->get_bool();
    if (!request.propagation_policy.empty()) {
      errors.push_back(schema::FieldError::Invalid(
          "propagationPolicy", Json(request.propagation_policy),
          "orphanDependents and deletionPropagation cannot be both set"));
    }
  }
  const JsonArray& dry_run = ArrayAt(options, "dryRun");
  const bool all = std::all_of(dry_run.begin(), dry_run.end(), [](const Json& entry) {
    return entry.is_string() && entry.get_string() == "All";
  });
  if (!all) errors.push_back(schema::FieldError::Unsupported("dryRun", Json(dry_run), {"All"}));
  request.uid = StringAt(options, "preconditions.uid");
  request.resource_version = StringAt(options, "preconditions.resourceVersion");
  if (!errors.empty())
    return schema::ApiError::Invalid("meta.k8s.io", "DeleteOptions", "", std::move(errors));
  return request;
}

}  // namespace thinsnap::objects
