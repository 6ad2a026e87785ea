// The verbs of NodeDriver that make a volume appear on this machine.
#include <utility>

#include "csi/driver/node_driver.h"
#include "csi/pool/tags.h"

namespace thinsnap::driver {
namespace {

Result<mount::Usage> RequireCapability(bool present, const csi::v1::VolumeCapability& capability) {
  if (!present) return Error(Code::kInvalidArgument, "volume_capability is missing");
  return ReadCapability(capability);
}

}  // namespace

Result<csi::v1::NodeStageVolumeResponse> NodeDriver::NodeStageVolume(
    const proto::Call&, const csi::v1::NodeStageVolumeRequest& request) {
  TRY(RequireField(request.volume_id(), "volume_id"));
  TRY(RequireField(request.staging_target_path(), "staging_target_path"));
  const mount::Usage usage =
      TRY(RequireCapability(request.has_volume_capability(), request.volume_capability()));
  const pool::VolumeInfo volume = TRY(FindVolume(request.volume_id()));
  const std::string mode = tags::Get(volume.tags, tags::kMode);
  if (const std::string wanted = usage.block ? "Block" : "Filesystem";
      !mode.empty() && mode != wanted) {
    return Error(Code::kFailedPrecondition,
                 "volume " + request.volume_id() + " has volume mode " + mode + ", not " + wanted);
  }
  if (tags::Has(volume.tags, tags::kImporting)) {
    return Error(Code::kAborted, "volume " + request.volume_id() + " is still being imported");
  }
  TRY(mounts_.Stage(volume.id, request.staging_target_path(), usage));
  return csi::v1::NodeStageVolumeResponse();
}

Result<csi::v1::NodeUnstageVolumeResponse> NodeDriver::NodeUnstageVolume(
    const proto::Call&, const csi::v1::NodeUnstageVolumeRequest& request) {
  TRY(RequireField(request.volume_id(), "volume_id"));
  TRY(RequireField(request.staging_target_path(), "staging_target_path"));
  const auto handle = pool::VolumeHandle::Parse(request.volume_id());
  if (!handle.ok()) return csi::v1::NodeUnstageVolumeResponse();
  TRY(mounts_.Unstage(handle->volume, request.staging_target_path()));
  return csi::v1::NodeUnstageVolumeResponse();
}

Result<csi::v1::NodePublishVolumeResponse> NodeDriver::NodePublishVolume(
    const proto::Call&, const csi::v1::NodePublishVolumeRequest& request) {
  TRY(RequireField(request.volume_id(), "volume_id"));
  TRY(RequireField(request.target_path(), "target_path"));
  const mount::Usage usage =
      TRY(RequireCapability(request.has_volume_capability(), request.volume_capability()));
  if (MapValue(request.volume_context(), "csi.storage.k8s.io/ephemeral") == "true") {
    return Error(Code::kInvalidArgument,
                 "volume_context says that the volume stands in its pod; this driver makes volumes "
                 "of claims, also of those that a pod's spec.volumes[].ephemeral describes");
  }
  const pool::VolumeInfo volume = TRY(FindVolume(request.volume_id()));
  if (request.staging_target_path().empty()) {
    return Error(Code::kFailedPrecondition,
                 "staging_target_path is missing: volumes of this driver are staged first");
  }
  TRY(mounts_.Publish(volume.id, request.staging_target_path(), request.target_path(), usage,
                      request.readonly()));
  return csi::v1::NodePublishVolumeResponse();
}

Result<csi::v1::NodeUnpublishVolumeResponse> NodeDriver::NodeUnpublishVolume(
    const proto::Call&, const csi::v1::NodeUnpublishVolumeRequest& request) {
  TRY(RequireField(request.volume_id(), "volume_id"));
  TRY(RequireField(request.target_path(), "target_path"));
  const pool::VolumeHandle handle = TRY(pool::VolumeHandle::Parse(request.volume_id()));
  TRY(mounts_.Unpublish(handle.volume, request.target_path()));
  return csi::v1::NodeUnpublishVolumeResponse();
}

Result<csi::v1::NodeGetVolumeStatsResponse> NodeDriver::NodeGetVolumeStats(
    const proto::Call&, const csi::v1::NodeGetVolumeStatsRequest& request) {
  TRY(RequireField(request.volume_id(), "volume_id"));
  TRY(RequireField(request.volume_path(), "volume_path"));
  const pool::VolumeInfo volume = TRY(FindVolume(request.volume_id()));
  const mount::VolumeFigures figures = TRY(mounts_.Figures(volume.id, request.volume_path()));
  const auto number = [](std::uint64_t value) { return static_cast<std::int64_t>(value); };
  csi::v1::NodeGetVolumeStatsResponse response;
  csi::v1::VolumeCondition& condition = *response.mutable_volume_condition();
  condition = PoolCondition();
  if (!figures.trouble.empty()) {
    condition.set_abnormal(true);
    condition.set_message(figures.trouble);
  }
  auto* bytes = response.add_usage();
  bytes->set_unit(csi::v1::VolumeUsage::BYTES);
  bytes->set_total(number(figures.fs.total_bytes));
  if (figures.block) return response;
  bytes->set_available(number(figures.fs.available_bytes));
  bytes->set_used(number(figures.fs.used_bytes));
  auto* inodes = response.add_usage();
  inodes->set_unit(csi::v1::VolumeUsage::INODES);
  inodes->set_total(number(figures.fs.total_inodes));
  inodes->set_available(number(figures.fs.available_inodes));
  inodes->set_used(number(figures.fs.used_inodes));
  return response;
}

Result<csi::v1::NodeExpandVolumeResponse> NodeDriver::NodeExpandVolume(
    const proto::Call&, const csi::v1::NodeExpandVolumeRequest& request) {
  TRY(RequireField(request.volume_id(), "volume_id"));
  TRY(RequireField(request.volume_path(), "volume_path"));
  const pool::VolumeInfo volume = TRY(FindVolume(request.volume_id()));
  if (request.has_capacity_range()) {
    const SizeRange range = TRY(ReadSizeRange(true, request.capacity_range()));
    if (range.required_bytes > volume.size_bytes) {
      return Error(Code::kOutOfRange,
                   "capacity_range.required_bytes is " + std::to_string(range.required_bytes) +
                       ", but the volume has " + std::to_string(volume.size_bytes));
    }
  }
  if (request.has_volume_capability()) TRY(ReadCapability(request.volume_capability()));
  TRY(mounts_.Expand(volume.id, request.volume_path()));
  csi::v1::NodeExpandVolumeResponse response;
  response.set_capacity_bytes(static_cast<std::int64_t>(volume.size_bytes));
  return response;
}

Result<csi::v1::NodeGetInfoResponse> NodeDriver::NodeGetInfo(const proto::Call&,
                                                             const csi::v1::NodeGetInfoRequest&) {
  csi::v1::NodeGetInfoResponse response;
  response.set_node_id(node_name_);
  (*response.mutable_accessible_topology()->mutable_segments())[kTopologyKey] =
      TopologyValue(node_name_);
  return response;
}

}  // namespace thinsnap::driver
