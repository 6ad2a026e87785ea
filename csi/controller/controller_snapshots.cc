// The verbs of ControllerDriver that concern snapshots, but for their lists.
#include <algorithm>
#include <map>

#include "csi/controller/controller_driver.h"
#include "csi/driver/identity.h"

namespace thinsnap::controller {

Result<csi::v1::CreateSnapshotResponse> ControllerDriver::CreateSnapshot(
    const proto::Call& call, const csi::v1::CreateSnapshotRequest& request) {
  TRY(driver::RequireName(request.name()));
  TRY(driver::RequireField(request.source_volume_id(), "source_volume_id"));
  const NodePtr node = TRY(NodeOfVolume(request.source_volume_id()));
  return node->CreateSnapshot(call, request);
}

Result<csi::v1::DeleteSnapshotResponse> ControllerDriver::DeleteSnapshot(
    const proto::Call& call, const csi::v1::DeleteSnapshotRequest& request) {
  TRY(driver::RequireField(request.snapshot_id(), "snapshot_id"));
  TRY(Ready());
  const auto handle = pool::SnapshotHandle::Parse(request.snapshot_id());
  if (!handle.ok() || directory_.IsLost(handle->pool)) return csi::v1::DeleteSnapshotResponse();
  return TRY(directory_.Node(handle->pool))
  ->DeleteSnapshot(call, request);
}

Result<csi::v1::GetSnapshotResponse> ControllerDriver::GetSnapshot(
    const proto::Call& call, const csi::v1::GetSnapshotRequest& request) {
  return driver::GetOneSnapshot(*this, call, request);
}

Result<csi::v1::GroupControllerGetCapabilitiesResponse>
ControllerDriver::GroupControllerGetCapabilities(
    const proto::Call&, const csi::v1::GroupControllerGetCapabilitiesRequest&) {
  return driver::GroupCapabilities();
}

Result<csi::v1::CreateVolumeGroupSnapshotResponse> ControllerDriver::CreateVolumeGroupSnapshot(
    const proto::Call& call, const csi::v1::CreateVolumeGroupSnapshotRequest& request) {
  TRY(driver::RequireName(request.name()));
  if (request.source_volume_ids().empty()) {
    return Error(Code::kInvalidArgument, "source_volume_ids is missing");
  }
  TRY(Ready());
  std::map<pool::PoolId, std::string> where;  // the first volume in each pool
  for (const std::string& id : request.source_volume_ids()) {
    where.try_emplace(TRY(pool::VolumeHandle::Parse(id)).pool, id);
  }
  if (where.size() == 1) {
    const NodePtr node = TRY(NodeOfVolume(request.source_volume_ids(0)));
    return node->CreateVolumeGroupSnapshot(call, request);
  }
  std::string places;
  const auto pools = directory_.Pools();
  for (const auto& [id, volume] : where) {
    const auto pool = std::find_if(pools.begin(), pools.end(),
                                   [&id = id](const auto& known) { return known.id == id; });
    places += (places.empty() ? "" : ", ") + volume + " on " +
              (pool == pools.end() ? "pool " + id.str() : "node " + pool->node);
  }
  return Error(Code::kFailedPrecondition,
               "the volumes of group snapshot \"" + request.name() +
                   "\" are not on one node, and cannot be cut at one instant: " + places);
}

Result<csi::v1::DeleteVolumeGroupSnapshotResponse> ControllerDriver::DeleteVolumeGroupSnapshot(
    const proto::Call& call, const csi::v1::DeleteVolumeGroupSnapshotRequest& request) {
  TRY(driver::RequireField(request.group_snapshot_id(), "group_snapshot_id"));
  TRY(Ready());
  const auto group = pool::GroupHandle::Parse(request.group_snapshot_id());
  if (!group.ok() || directory_.IsLost(group->pool)) {
    return csi::v1::DeleteVolumeGroupSnapshotResponse();
  }
  const NodePtr node = TRY(directory_.Node(group->pool));
  return node->DeleteVolumeGroupSnapshot(call, request);
}

Result<csi::v1::GetVolumeGroupSnapshotResponse> ControllerDriver::GetVolumeGroupSnapshot(
    const proto::Call& call, const csi::v1::GetVolumeGroupSnapshotRequest& request) {
  TRY(driver::RequireField(request.group_snapshot_id(), "group_snapshot_id"));
  TRY(Ready());
  const auto group = TRY(pool::GroupHandle::Parse(request.group_snapshot_id()));
  if (directory_.IsLost(group.pool)) {
    return Error(Code::kNotFound,
                 "group snapshot " + request.group_snapshot_id() + " went with its node");
  }
  const NodePtr node = TRY(directory_.Node(group.pool));
  return node->GetVolumeGroupSnapshot(call, request);
}

template <typename Response, typename Request>
Status ControllerDriver::AskForBlocks(
    const proto::Call& call, const std::string& snapshot, const Request& request,
    const proto::Sink<Response>& sink,
    Status (proto::SnapshotMetadataService::*verb)(const proto::Call&, const Request&,
                                                   const proto::Sink<Response>&)) {
  TRY(driver::RequireField(snapshot, "snapshot_id"));
  TRY(Ready());
  const auto handle = TRY(pool::SnapshotHandle::Parse(snapshot));
  bool told = false;
  const proto::Sink<Response> telling = [&](const Response& message) {
    told = true;
    return sink(message);
  };
  Status last = Error(Code::kUnavailable, "the node of pool " + handle.pool.str() + " is lost");
  if (!directory_.IsLost(handle.pool)) {
    const auto node = directory_.Node(handle.pool);
    last = node.ok() ? ((**node).*verb)(call, request, telling) : Status(node.error());
  }
  if (last.ok() || told || !IsUnheard(last.error())) return last;
  TRY(Runtime::CheckCancelled());
  if (handle.repository.empty()) {
    return directory_.IsLost(handle.pool)
               ? Status(Error(Code::kNotFound, "snapshot " + snapshot + " went with its node"))
               : last;
  }
  for (const driver::PoolRecord& pool : directory_.Pools()) {
    if (pool.id == handle.pool || pool.silent) continue;
    const auto node = directory_.Node(pool.id);
    if (!node.ok()) continue;
    last = ((**node).*verb)(call, request, telling);
    if (last.ok() || told || !IsUnheard(last.error())) return last;
    TRY(Runtime::CheckCancelled());
  }
  return last;
}

Status ControllerDriver::GetMetadataAllocated(
    const proto::Call& call, const csi::v1::GetMetadataAllocatedRequest& request,
    const proto::Sink<csi::v1::GetMetadataAllocatedResponse>& sink) {
  return AskForBlocks(call, request.snapshot_id(), request, sink,
                      &proto::SnapshotMetadataService::GetMetadataAllocated);
}

Status ControllerDriver::GetMetadataDelta(
    const proto::Call& call, const csi::v1::GetMetadataDeltaRequest& request,
    const proto::Sink<csi::v1::GetMetadataDeltaResponse>& sink) {
  return AskForBlocks(call, request.target_snapshot_id(), request, sink,
                      &proto::SnapshotMetadataService::GetMetadataDelta);
}

}  // namespace thinsnap::controller
