#include "simulator/sidecars/volume_sources.h"

#include "base/kube/object.h"
#include "simulator/placement/volume_match.h"
#include "simulator/sidecars/provision_plan.h"
#include "simulator/sidecars/snapshot_names.h"

namespace thinsnap::sidecars {

namespace {

namespace types = kube::types;
using kube::ObjectKey;

constexpr char kSnapshotKind[] = "VolumeSnapshot";
constexpr char kClaimKind[] = "PersistentVolumeClaim";

}  // namespace

Json DataSourceOf(const Json& claim) {
  for (const char* field : {"spec.dataSource", "spec.dataSourceRef"}) {
    if (const Json* source = Find(claim, field); source != nullptr && source->is_object())
      return *source;
  }
  return nullptr;
}

bool IsVolumeSource(const Json& source) {
  const auto kind = StringAt(source, "kind"), group = StringAt(source, "apiGroup");
  return (kind == kSnapshotKind && group == kSnapshotGroup) ||
         (kind == kClaimKind && group.empty());
}

bool AwaitsDriver(const Json& claim, const std::string& driver) {
  if (!StringAt(claim, "spec.volumeName").empty()) return false;
  auto wanted = kube::AnnotationOf(claim, placement::kStorageProvisioner);
  if (wanted.empty()) wanted = kube::AnnotationOf(claim, placement::kBetaStorageProvisioner);
  return wanted == driver;
}

Status VolumeSources::Fill(const Json& claim, const Json& source,
                           csi::v1::CreateVolumeRequest& request) {
  const ObjectKey key{kube::NamespaceOf(claim), StringAt(source, "name")};
  return StringAt(source, "kind") == kSnapshotKind ? FillSnapshot(claim, key, request)
                                                   : FillClaim(claim, key, request);
}

Status VolumeSources::FillSnapshot(const Json& claim, const ObjectKey& key,
                                   csi::v1::CreateVolumeRequest& request) {
  Json snapshot =
      TRY(client_.Get(types::kVolumeSnapshot, key).In("error getting snapshot " + key.name));
  const auto content_name = StringAt(snapshot, "status.boundVolumeSnapshotContentName");
  if (content_name.empty()) {
    return Error(Code::kFailedPrecondition, "snapshot " + key.name + " not bound to a content yet");
  }
  const Json content = TRY(client_.Get(types::kVolumeSnapshotContent, {"", content_name})
                               .In("error getting snapshotcontent " + content_name));
  TRY(CheckSnapshotSource(claim, snapshot, content, driver_));
  TRY(Hold(types::kVolumeSnapshot, std::move(snapshot), kRestoreFinalizer));
  request.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(
      StringAt(content, "status.snapshotHandle"));
  return {};
}

Status VolumeSources::FillClaim(const Json& claim, const ObjectKey& key,
                                csi::v1::CreateVolumeRequest& request) {
  if (!facts_->clone)
    return Error(Code::kFailedPrecondition, "CSI driver " + driver_ + " does not support clone");
  Json origin =
      TRY(client_.Get(types::kPersistentVolumeClaim, key).In("error getting PVC " + key.name));
  const auto volume_name = StringAt(origin, "spec.volumeName");
  if (volume_name.empty()) {
    return Error(Code::kFailedPrecondition, "the PVC DataSource " + key.name + " is not bound yet");
  }
  const Json volume = TRY(client_.Get(types::kPersistentVolume, {"", volume_name})
                              .In("error getting PV " + volume_name));
  TRY(CheckClaimSource(claim, origin, volume, driver_));
  TRY(Hold(types::kPersistentVolumeClaim, std::move(origin), kCloneFinalizer));
  request.mutable_volume_content_source()->mutable_volume()->set_volume_id(
      StringAt(volume, "spec.csi.volumeHandle"));
  return {};
}

Status VolumeSources::Hold(const kube::ResourceType& type, Json object, const char* finalizer) {
  if (kube::HasFinalizer(object, finalizer)) return {};
  kube::AddFinalizer(object, finalizer);
  TRY(client_.Update(type, object));
  return {};
}

bool VolumeSources::IsAwaited(const std::string& kind, const ObjectKey& key,
                              const std::string& except_uid) const {
  for (const auto& claim : claims_.List(key.ns)) {
    if (kube::UidOf(*claim) == except_uid || !AwaitsDriver(*claim, driver_) ||
        kube::IsDeleting(*claim))
      continue;
    const Json source = DataSourceOf(*claim);
    if (StringAt(source, "kind") == kind && StringAt(source, "name") == key.name) return true;
  }
  return false;
}

Status VolumeSources::Release(const Json& claim) {
  const Json source = DataSourceOf(claim);
  if (source.is_null() || !IsVolumeSource(source)) return {};
  const auto kind = StringAt(source, "kind");
  const ObjectKey key{kube::NamespaceOf(claim), StringAt(source, "name")};
  if (IsAwaited(kind, key, kube::UidOf(claim))) return {};
  return Drop(kind, key);
}

Status VolumeSources::Sweep(const ObjectKey& source) {
  for (const char* kind : {kSnapshotKind, kClaimKind}) {
    if (!IsAwaited(kind, source, "")) TRY(Drop(kind, source));
  }
  return {};
}

Status VolumeSources::Drop(const std::string& kind, const ObjectKey& key) {
  const bool is_snapshot = kind == kSnapshotKind;
  const auto& type = is_snapshot ? types::kVolumeSnapshot : types::kPersistentVolumeClaim;
  const char* finalizer = is_snapshot ? kRestoreFinalizer : kCloneFinalizer;
  auto live = client_.Get(type, key);
  if (live.Is(Code::kNotFound)) return {};
  Json object = TRY(std::move(live));
  if (!kube::HasFinalizer(object, finalizer)) return {};
  kube::RemoveFinalizer(object, finalizer);
  auto updated = client_.Update(type, object);
  if (!updated.ok() && !updated.Is(Code::kNotFound)) return std::move(updated).error();
  return {};
}

}  // namespace thinsnap::sidecars
