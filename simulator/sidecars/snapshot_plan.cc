#include "simulator/sidecars/snapshot_plan.h"

#include "base/kube/object.h"
#include "simulator/sidecars/parameters.h"
#include "simulator/sidecars/snapshot_names.h"

namespace thinsnap::sidecars {

namespace {

Error Refuse(std::string message) { return {Code::kFailedPrecondition, std::move(message)}; }

}  // namespace

Result<std::string> DefaultSnapshotClass(const std::vector<kube::ObjectPtr>& classes,
                                         const std::string& driver) {
  std::vector<std::string> found;
  for (const auto& candidate : classes) {
    if (StringAt(*candidate, "driver") == driver &&
        kube::AnnotationOf(*candidate, kDefaultSnapshotClass) == "true") {
      found.push_back(kube::NameOf(*candidate));
    }
  }
  if (found.empty()) {
    return Refuse("cannot find default snapshot class: no VolumeSnapshotClass of driver " + driver +
                  " is annotated " + kDefaultSnapshotClass + "=true");
  }
  if (found.size() > 1) {
    return Refuse(std::to_string(found.size()) +
                  " default snapshot classes were found for driver " + driver + ": " + found[0] +
                  ", " + found[1] + (found.size() > 2 ? ", ..." : "") + "; one would be accepted");
  }
  return found.front();
}

Result<Json> NewContent(const Json& snapshot, const Json& claim, const Json& volume,
                        const Json& snapshot_class) {
  const auto claim_name = kube::NameOf(claim);
  if (StringAt(claim, "status.phase") != "Bound") {
    return Refuse("the PVC " + claim_name +
                  " is not yet bound to a PV, will not attempt to take a snapshot");
  }
  if (StringAt(volume, "spec.claimRef.name") != claim_name ||
      StringAt(volume, "spec.claimRef.namespace") != kube::NamespaceOf(claim) ||
      StringAt(volume, "spec.claimRef.uid") != kube::UidOf(claim)) {
    return Refuse("claim in dynamic snapshot source is not bound to volume " +
                  kube::NameOf(volume) + ": that volume is of " +
                  StringAt(volume, "spec.claimRef.namespace") + "/" +
                  StringAt(volume, "spec.claimRef.name"));
  }
  const auto driver = StringAt(volume, "spec.csi.driver");
  if (driver.empty()) {
    return Refuse("cannot find CSI PersistentVolumeSource for volume " + kube::NameOf(volume));
  }
  const auto class_name = kube::NameOf(snapshot_class);
  if (StringAt(snapshot_class, "driver") != driver) {
    return Refuse("VolumeSnapshotClass " + class_name + " is of driver " +
                  StringAt(snapshot_class, "driver") + ", but volume " + kube::NameOf(volume) +
                  " of claim " + claim_name + " is of driver " + driver);
  }
  Json content =
      kube::NewObject(kube::types::kVolumeSnapshotContent, {"", DynamicContentName(snapshot)});
  kube::AddFinalizer(content, kContentFinalizer);
  Set(content, "spec",
      Json{{"deletionPolicy", StringAt(snapshot_class, "deletionPolicy")},
           {"driver", driver},
           {"source", JsonObject{{"volumeHandle", StringAt(volume, "spec.csi.volumeHandle")}}},
           {"sourceVolumeMode", StringAt(volume, "spec.volumeMode", "Filesystem")},
           {"volumeSnapshotClassName", class_name},
           {"volumeSnapshotRef", JsonObject{{"apiVersion", "snapshot.storage.k8s.io/v1"},
                                            {"kind", "VolumeSnapshot"},
                                            {"name", kube::NameOf(snapshot)},
                                            {"namespace", kube::NamespaceOf(snapshot)},
                                            {"resourceVersion", kube::ResourceVersionOf(snapshot)},
                                            {"uid", kube::UidOf(snapshot)}}}});
  const auto secret =
      TRY(SecretReference(ParametersOf(snapshot_class), "snapshotter",
                          {{"volumesnapshotcontent.name", kube::NameOf(content)},
                           {"volumesnapshot.name", kube::NameOf(snapshot)},
                           {"volumesnapshot.namespace", kube::NamespaceOf(snapshot)}}));
  if (secret) {
    kube::SetAnnotation(content, kDeletionSecretName, secret->name);
    kube::SetAnnotation(content, kDeletionSecretNamespace, secret->ns);
  }
  return content;
}

Status CheckContent(const Json& content, const Json& snapshot) {
  if (!RefersTo(content, snapshot)) {
    return Refuse("VolumeSnapshotContent [" + kube::NameOf(content) +
                  "] is bound to a different snapshot: " +
                  StringAt(content, "spec.volumeSnapshotRef.namespace") + "/" +
                  StringAt(content, "spec.volumeSnapshotRef.name"));
  }
  const bool given = !StringAt(snapshot, "spec.source.volumeSnapshotContentName").empty();
  if (given && StringAt(content, "spec.source.snapshotHandle").empty()) {
    return Refuse(
        "VolumeSnapshotContent is dynamically provisioned while expecting a pre-provisioned one");
  }
  if (!given && StringAt(content, "spec.source.volumeHandle").empty()) {
    return Refuse(
        "VolumeSnapshotContent is pre-provisioned while expecting a dynamically provisioned one");
  }
  return {};
}

Json SnapshotStatus(const Json& snapshot, const Json& content) {
  const Json* present = Find(snapshot, "status");
  Json status = present != nullptr && present->is_object() ? *present : Json(JsonObject());
  Set(status, "boundVolumeSnapshotContentName", Json(kube::NameOf(content)));
  const bool ready = BoolAt(content, "status.readyToUse");
  Set(status, "readyToUse", ready);
  if (const auto cut = IntAt(content, "status.creationTime"); cut != 0) {
    Set(status, "creationTime", Json(FormatRfc3339(WallTime(std::chrono::nanoseconds(cut)))));
  }
  if (const Json* size = Find(content, "status.restoreSize"); size != nullptr && size->is_int64()) {
    Set(status, "restoreSize", Json(BinaryQuantity(size->get_int64())));
  }
  const Json* error = Find(content, "status.error");
  if (error != nullptr && error->is_object() && !ready) {
    Set(status, "error", *error);
  } else {
    Remove(status, "error");
  }
  return status;
}

Json FailedSnapshotStatus(const Json& snapshot, const std::string& message, WallTime now) {
  const Json* present = Find(snapshot, "status");
  Json status = present != nullptr && present->is_object() ? *present : Json(JsonObject());
  if (StringAt(status, "error.message") != message) {
    Set(status, "error", JsonObject{{"time", FormatRfc3339(now)}, {"message", message}});
  }
  Set(status, "readyToUse", false);
  return status;
}

bool IsBeingRestored(const Json& claim, const Json& snapshot) {
  if (kube::NamespaceOf(claim) != kube::NamespaceOf(snapshot) ||
      StringAt(claim, "status.phase") != "Pending") {
    return false;
  }
  for (const char* source : {"spec.dataSource", "spec.dataSourceRef"}) {
    const Json* reference = Find(claim, source);
    if (reference != nullptr && StringAt(*reference, "kind") == "VolumeSnapshot" &&
        StringAt(*reference, "apiGroup") == kSnapshotGroup &&
        StringAt(*reference, "name") == kube::NameOf(snapshot)) {
      return true;
    }
  }
  return false;
}

}  // namespace thinsnap::sidecars
