#include "base/kube/object.h"

#include <algorithm>

namespace thinsnap::kube {
ObjectKey KeyOf(const Json& object) { return {NamespaceOf(object), NameOf(object)}; }
std::string NameOf(const Json& object) { return StringAt(object, "metadata.name"); }
std::string NamespaceOf(const Json& object) { return StringAt(object, "metadata.namespace"); }
std::string UidOf(const Json& object) { return StringAt(object, "metadata.uid"); }
std::string ResourceVersionOf(const Json& object) {
  return StringAt(object, "metadata.resourceVersion");
}
std::string LabelOf(const Json& object, std::string_view key) {
  return StringIn(object, "metadata.labels", key);
}
std::string AnnotationOf(const Json& object, std::string_view key) {
  return StringIn(object, "metadata.annotations", key);
}
void SetLabel(Json& object, std::string_view key, std::string_view value) {
  EnsureObject(object, "metadata.labels")[key] = value;
}
void SetAnnotation(Json& object, std::string_view key, std::string_view value) {
  EnsureObject(object, "metadata.annotations")[key] = value;
}

bool IsDeleting(const Json& object) {
  return !StringAt(object, "metadata.deletionTimestamp").empty();
}

bool HasFinalizer(const Json& object, std::string_view finalizer) {
  const JsonArray& all = ArrayAt(object, "metadata.finalizers");
  return std::any_of(all.begin(), all.end(), [finalizer](const Json& entry) {
    return entry.is_string() && entry.get_string() == finalizer;
  });
}

void AddFinalizer(Json& object, std::string_view finalizer) {
  if (!HasFinalizer(object, finalizer)) {
    EnsureArray(object, "metadata.finalizers").push_back(Json(finalizer));
  }
}

void RemoveFinalizer(Json& object, std::string_view finalizer) {
  Json* all = FindMutable(object, "metadata.finalizers");
  if (all == nullptr || !all->is_array()) return;
  JsonArray kept;
  for (const Json& entry : all->get_array()) {
    if (!entry.is_string() || entry.get_string() != finalizer) kept.push_back(entry);
  }
  *all = std::move(kept);
}

Json NewObject(const ResourceType& type, const ObjectKey& key) {
  JsonObject metadata;
  metadata["name"] = key.name;
  if (type.namespaced) metadata["namespace"] = key.ns;
  return JsonObject(
      {{"apiVersion", type.api_version()}, {"kind", type.kind}, {"metadata", metadata}});
}

Json OwnerReference(const Json& owner, bool controller, bool block_owner_deletion) {
  return JsonObject({{"apiVersion", StringAt(owner, "apiVersion")},
                     {"kind", StringAt(owner, "kind")},
                     {"name", NameOf(owner)},
                     {"uid", UidOf(owner)},
                     {"controller", controller},
                     {"blockOwnerDeletion", block_owner_deletion}});
}

void AddOwnerReference(Json& object, Json reference) {
  if (IsOwnedBy(object, StringAt(reference, "uid"))) return;
  EnsureArray(object, "metadata.ownerReferences").push_back(std::move(reference));
}

bool IsOwnedBy(const Json& object, std::string_view owner_uid) {
  const JsonArray& all = ArrayAt(object, "metadata.ownerReferences");
  return std::any_of(all.begin(), all.end(), [owner_uid](const Json& entry) {
    return StringAt(entry, "uid") == owner_uid;
  });
}

const Json* ControllerOf(const Json& object) {
  for (const Json& entry : ArrayAt(object, "metadata.ownerReferences")) {
    if (BoolAt(entry, "controller")) return &entry;
  }
  return nullptr;
}

bool SetCondition(Json& object, std::string_view type, bool status, std::string_view reason,
                  std::string_view message, WallTime now) {
  const std::string_view wanted = status ? "True" : "False";
  JsonArray& all = EnsureArray(object, "status.conditions");
  for (Json& entry : all) {
    if (StringAt(entry, "type") != type) continue;
    const bool flips = StringAt(entry, "status") != wanted;
    if (!flips && StringAt(entry, "reason") == reason && StringAt(entry, "message") == message) {
      return false;
    }
    Set(entry, "status", Json(wanted));
    Set(entry, "reason", Json(reason));
    Set(entry, "message", Json(message));
    if (flips) Set(entry, "lastTransitionTime", FormatRfc3339(now).c_str());
    return true;
  }
  all.push_back(JsonObject({{"type", type},
                            {"status", wanted},
                            {"reason", reason},
                            {"message", message},
                            {"lastTransitionTime", FormatRfc3339(now)}}));
  return true;
}

const Json* FindCondition(const Json& object, std::string_view type) {
  for (const Json& entry : ArrayAt(object, "status.conditions")) {
    if (StringAt(entry, "type") == type) return &entry;
  }
  return nullptr;
}

bool ConditionIs(const Json& object, std::string_view type, std::string_view status) {
  const Json* condition = FindCondition(object, type);
  return condition != nullptr && StringAt(*condition, "status") == status;
}

}  // namespace thinsnap::kube
