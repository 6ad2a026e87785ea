#include "tests/unit/sidecars/fake_driver.h"

namespace thinsnap::testing {

using csi::v1::ControllerServiceCapability;
using csi::v1::PluginCapability;

void FakeDriver::FailNext(const std::string& verb, std::vector<Code> codes) {
  std::lock_guard lock(mutex_);
  failures_[verb].assign(codes.begin(), codes.end());
}

void FakeDriver::LoseNext(const std::string& verb, int count) {
  std::lock_guard lock(mutex_);
  lost_[verb] = count;
}

void FakeDriver::AddSnapshot(const std::string& id) {
  std::lock_guard lock(mutex_);
  auto& snapshot = snapshots_[id];
  snapshot.set_snapshot_id(id);
  snapshot.set_size_bytes(1 << 30);
  snapshot.set_ready_to_use(true);
  snapshot.mutable_creation_time()->set_seconds(1'795'000'000);
}

int FakeDriver::Calls(const std::string& verb) {
  std::lock_guard lock(mutex_);
  return calls_[verb];
}

std::vector<std::string> FakeDriver::volumes() {
  std::lock_guard lock(mutex_);
  std::vector<std::string> ids;
  for (const auto& [name, volume] : volumes_) ids.push_back(volume.volume_id());
  return ids;
}

std::vector<std::string> FakeDriver::snapshots() {
  std::lock_guard lock(mutex_);
  std::vector<std::string> ids;
  for (const auto& [name, snapshot] : snapshots_) ids.push_back(snapshot.snapshot_id());
  return ids;
}

csi::v1::CreateVolumeRequest FakeDriver::last_create_volume() {
  std::lock_guard lock(mutex_);
  return last_create_volume_;
}

csi::v1::CreateSnapshotRequest FakeDriver::last_create_snapshot() {
  std::lock_guard lock(mutex_);
  return last_create_snapshot_;
}

Status FakeDriver::Enter(const std::string& verb) {
  ++calls_[verb];
  auto& failures = failures_[verb];
  if (failures.empty()) return {};
  const Code code = failures.front();
  failures.pop_front();
  return Error(code, "as the test wants it");
}

Status FakeDriver::Leave(const std::string& verb) {
  int& lost = lost_[verb];
  if (lost == 0) return {};
  --lost;
  return Error(Code::kUnavailable, "the answer was lost");
}

Result<csi::v1::GetPluginInfoResponse> FakeDriver::GetPluginInfo(
    const proto::Call&, const csi::v1::GetPluginInfoRequest&) {
  csi::v1::GetPluginInfoResponse response;
  response.set_name("test.csi");
  response.set_vendor_version("1");
  return response;
}

Result<csi::v1::GetPluginCapabilitiesResponse> FakeDriver::GetPluginCapabilities(
    const proto::Call&, const csi::v1::GetPluginCapabilitiesRequest&) {
  csi::v1::GetPluginCapabilitiesResponse response;
  for (const auto type : {PluginCapability::Service::CONTROLLER_SERVICE,
                          PluginCapability::Service::VOLUME_ACCESSIBILITY_CONSTRAINTS}) {
    response.add_capabilities()->mutable_service()->set_type(type);
  }
  return response;
}

Result<csi::v1::ProbeResponse> FakeDriver::Probe(const proto::Call&, const csi::v1::ProbeRequest&) {
  return csi::v1::ProbeResponse();
}

Result<csi::v1::ControllerGetCapabilitiesResponse> FakeDriver::ControllerGetCapabilities(
    const proto::Call&, const csi::v1::ControllerGetCapabilitiesRequest&) {
  csi::v1::ControllerGetCapabilitiesResponse response;
  using Rpc = ControllerServiceCapability::RPC;
  for (const auto type : {Rpc::CREATE_DELETE_VOLUME, Rpc::CREATE_DELETE_SNAPSHOT,
                          Rpc::LIST_SNAPSHOTS, Rpc::CLONE_VOLUME, Rpc::EXPAND_VOLUME}) {
    response.add_capabilities()->mutable_rpc()->set_type(type);
  }
  if (attaches_)
    response.add_capabilities()->mutable_rpc()->set_type(Rpc::PUBLISH_UNPUBLISH_VOLUME);
  return response;
}

Result<csi::v1::CreateVolumeResponse> FakeDriver::CreateVolume(
    const proto::Call&, const csi::v1::CreateVolumeRequest& request) {
  std::lock_guard lock(mutex_);
  last_create_volume_ = request;
  TRY(Enter("CreateVolume"));
  auto& volume = volumes_[request.name()];
  volume.set_volume_id("volume-of-" + request.name());
  volume.set_capacity_bytes(request.capacity_range().required_bytes());
  if (request.has_volume_content_source() && !forget_source_) {
    *volume.mutable_content_source() = request.volume_content_source();
  }
  if (volume.accessible_topology().empty() &&
      request.accessibility_requirements().preferred_size() > 0) {
    *volume.add_accessible_topology() = request.accessibility_requirements().preferred(0);
  }
  TRY(Leave("CreateVolume"));
  csi::v1::CreateVolumeResponse response;
  *response.mutable_volume() = volume;
  return response;
}

Result<csi::v1::DeleteVolumeResponse> FakeDriver::DeleteVolume(
    const proto::Call&, const csi::v1::DeleteVolumeRequest& request) {
  std::lock_guard lock(mutex_);
  TRY(Enter("DeleteVolume"));
  std::erase_if(volumes_,
                [&](const auto& entry) { return entry.second.volume_id() == request.volume_id(); });
  TRY(Leave("DeleteVolume"));
  return csi::v1::DeleteVolumeResponse();
}

Result<csi::v1::CreateSnapshotResponse> FakeDriver::CreateSnapshot(
    const proto::Call&, const csi::v1::CreateSnapshotRequest& request) {
  std::lock_guard lock(mutex_);
  last_create_snapshot_ = request;
  TRY(Enter("CreateSnapshot"));
  auto& snapshot = snapshots_[request.name()];
  snapshot.set_snapshot_id("id-of-" + request.name());
  snapshot.set_source_volume_id(request.source_volume_id());
  snapshot.set_size_bytes(1 << 30);
  snapshot.mutable_creation_time()->set_seconds(1'795'000'000);
  snapshot.set_ready_to_use(polls_[request.name()]++ >= polls_until_ready_);
  TRY(Leave("CreateSnapshot"));
  csi::v1::CreateSnapshotResponse response;
  *response.mutable_snapshot() = snapshot;
  return response;
}

Result<csi::v1::DeleteSnapshotResponse> FakeDriver::DeleteSnapshot(
    const proto::Call&, const csi::v1::DeleteSnapshotRequest& request) {
  std::lock_guard lock(mutex_);
  TRY(Enter("DeleteSnapshot"));
  std::erase_if(snapshots_, [&](const auto& entry) {
    return entry.second.snapshot_id() == request.snapshot_id();
  });
  TRY(Leave("DeleteSnapshot"));
  return csi::v1::DeleteSnapshotResponse();
}

Result<csi::v1::ListSnapshotsResponse> FakeDriver::ListSnapshots(
    const proto::Call&, const csi::v1::ListSnapshotsRequest& request) {
  std::lock_guard lock(mutex_);
  TRY(Enter("ListSnapshots"));
  csi::v1::ListSnapshotsResponse response;
  for (const auto& [name, snapshot] : snapshots_) {
    if (snapshot.snapshot_id() == request.snapshot_id())
      *response.add_entries()->mutable_snapshot() = snapshot;
  }
  return response;
}

Result<csi::v1::ControllerExpandVolumeResponse> FakeDriver::ControllerExpandVolume(
    const proto::Call&, const csi::v1::ControllerExpandVolumeRequest& request) {
  std::lock_guard lock(mutex_);
  TRY(Enter("ControllerExpandVolume"));
  csi::v1::ControllerExpandVolumeResponse response;
  response.set_capacity_bytes(request.capacity_range().required_bytes());
  response.set_node_expansion_required(request.volume_capability().has_mount());
  return response;
}

}  // namespace thinsnap::testing
