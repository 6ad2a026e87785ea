#include "csi/controller/controller_driver.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "base/core/bytes.h"
#include "csi/driver/identity.h"

namespace thinsnap::controller {
namespace {

// What a node gets to say whether it has a volume of some name.
constexpr Duration kNameTime = std::chrono::seconds(2);
// Longer than a pool takes to count a new volume in its object.
constexpr Duration kRecent = std::chrono::minutes(1);

std::vector<std::string> NodesOf(
    const google::protobuf::RepeatedPtrField<csi::v1::Topology>& topologies) {
  std::vector<std::string> nodes;
  for (const csi::v1::Topology& topology : topologies) {
    const std::string node = driver::MapValue(topology.segments(), driver::kTopologyKey);
    if (!node.empty()) nodes.push_back(node);
  }
  return nodes;
}

std::string TokenAfter(const csi::v1::ListVolumesResponse::Entry& entry) {
  const auto handle = pool::VolumeHandle::Parse(entry.volume().volume_id());
  return driver::MakeToken(handle->pool.str(), handle->volume.str());
}

std::string TokenAfter(const csi::v1::ListSnapshotsResponse::Entry& entry) {
  const auto handle = pool::SnapshotHandle::Parse(entry.snapshot().snapshot_id());
  return driver::MakeToken(handle->pool.str(), handle->snapshot.str());
}

bool Passes(const Error& error) {
  // The next pool may take what this one refuses or does not answer to.
  return error.code() == Code::kResourceExhausted || error.code() == Code::kUnavailable;
}

}  // namespace

Result<csi::v1::GetPluginInfoResponse> ControllerDriver::GetPluginInfo(
    const proto::Call&, const csi::v1::GetPluginInfoRequest&) {
  return driver::PluginInfo();
}

Result<csi::v1::GetPluginCapabilitiesResponse> ControllerDriver::GetPluginCapabilities(
    const proto::Call&, const csi::v1::GetPluginCapabilitiesRequest&) {
  return driver::PluginCapabilities();
}

Result<csi::v1::ControllerGetCapabilitiesResponse> ControllerDriver::ControllerGetCapabilities(
    const proto::Call&, const csi::v1::ControllerGetCapabilitiesRequest&) {
  return driver::ControllerCapabilities();
}

Result<csi::v1::ProbeResponse> ControllerDriver::Probe(const proto::Call&,
                                                       const csi::v1::ProbeRequest&) {
  csi::v1::ProbeResponse response;
  response.mutable_ready()->set_value(directory_.synced());
  return response;
}

Status ControllerDriver::Ready() const {
  if (directory_.synced()) return {};
  return Error(Code::kUnavailable, "the driver is starting: it has not read the ThinPools yet");
}

Result<ControllerDriver::Source> ControllerDriver::FindSource(
    const csi::v1::CreateVolumeRequest& request) {
  Source source;
  if (!request.has_volume_content_source()) return source;
  const auto& content = request.volume_content_source();
  std::string text;
  if (content.has_snapshot()) {
    text = content.snapshot().snapshot_id();
    const pool::SnapshotHandle handle = TRY(pool::SnapshotHandle::Parse(text));
    source = {handle.pool, !handle.repository.empty()};
  } else {
    text = content.volume().volume_id();
    source = { TRY(pool::VolumeHandle::Parse(text)).pool, false };
  }
  if (directory_.IsLost(source.pool)) {
    if (!source.anywhere) {
      return Error(Code::kNotFound,
                   text + " was lost with pool " + source.pool.str() + " and is in no repository");
    }
    source.pool = {};
  }
  return source;
}

Result<std::vector<driver::PoolRecord>> ControllerDriver::Candidates(
    const csi::v1::CreateVolumeRequest& request, const Source& source) {
  const auto& topology = request.accessibility_requirements();
  PlacementWish wish;
  wish.nodes = NodesOf(topology.requisite());
  wish.preferred = NodesOf(topology.preferred());
  if (wish.nodes.empty()) wish.nodes = wish.preferred;
  if (wish.nodes.empty() && topology.requisite_size() + topology.preferred_size() != 0) {
    return Error(Code::kResourceExhausted,
                 "no topology of accessibility_requirements has the key " +
                     std::string(driver::kTopologyKey));
  }
  const auto range =
      TRY(driver::ReadSizeRange(request.has_capacity_range(), request.capacity_range()));
  wish.size_bytes = range.required_bytes;
  wish.source = source.pool;
  wish.ns = driver::MapValue(request.parameters(), "csi.storage.k8s.io/pvc/namespace");
  std::vector<driver::PoolRecord> pools = directory_.Pools();
  if (source.pool.empty() || source.anywhere) return PlanTogether(std::move(pools), wish);

  // Only where the source is.
  const auto holder = std::find_if(
      pools.begin(), pools.end(), [&](const driver::PoolRecord& p) { return p.id == source.pool; });
  if (holder == pools.end()) {
    TRY(directory_.Node(source.pool));  // says what is wrong
    return Error(Code::kUnavailable, "pool " + source.pool.str() + " is not known yet");
  }
  if (!wish.nodes.empty() && std::find(wish.nodes.begin(), wish.nodes.end(),
                                       driver::TopologyValue(holder->node)) == wish.nodes.end()) {
    return Error(Code::kResourceExhausted,
                 "the source is only in pool " + holder->id.str() + " of node " + holder->node +
                     ", which is not in the requested topology, and it was never exported");
  }
  return std::vector<driver::PoolRecord>{*holder};
}

Result<std::vector<driver::PoolRecord>> ControllerDriver::PlanTogether(
    std::vector<driver::PoolRecord> pools, const PlacementWish& wish) {
  const std::lock_guard lock(recent_mutex_);
  const MonoTime now = runtime_.clock().MonoNow();
  const auto recent = recent_.find(wish.ns);
  if (recent != recent_.end() && now - recent->second.at < kRecent) {
    for (driver::PoolRecord& pool : pools) {
      if (pool.id == recent->second.pool) ++pool.volumes_by_namespace[wish.ns];
    }
  }
  auto plan = TRY(PlanPlacement(pools, wish));
  if (!wish.ns.empty()) recent_[wish.ns] = {plan.front().id, now};
  return plan;
}

Result<std::optional<driver::PoolRecord>> ControllerDriver::FindByName(const std::string& name) {
  std::mutex mutex;
  std::optional<driver::PoolRecord> holder;
  const std::vector<driver::PoolRecord> pools = directory_.Pools();
  TaskGroup asking(runtime_, &group_);
  for (const driver::PoolRecord& pool : pools) {
    const auto node = directory_.Node(pool.id);
    if (!node.ok()) continue;
    asking.Spawn("find " + name, [&, pool, node = *node] {
      csi::v1::ControllerGetVolumeRequest request;
      request.set_volume_id(driver::kByName + name);
      const auto found =
          node->ControllerGetVolume({runtime_.clock().MonoNow() + kNameTime}, request);
      // ABORTED: it is being made there at this moment.
      if (!found.ok() && !found.Is(Code::kAborted)) return;
      const std::lock_guard lock(mutex);
      if (!holder || pool.id < holder->id) holder = pool;
    });
  }
  asking.Join();
  TRY(Runtime::CheckCancelled());
  return holder;
}

Result<csi::v1::CreateVolumeResponse> ControllerDriver::CreateVolume(
    const proto::Call& call, const csi::v1::CreateVolumeRequest& request) {
  TRY(driver::RequireName(request.name()));
  TRY(driver::CheckCapabilities(request.volume_capabilities()));
  TRY(driver::ReadVolumeParameters(request));
  TRY(Ready());
  // Two at the same time might choose two nodes.
  const driver::BusyKeys::Hold hold(busy_, "volume name " + request.name());
  TRY(hold.Check());
  std::vector<driver::PoolRecord> candidates;
  if (const auto holder = TRY(FindByName(request.name()))) {
    candidates.push_back(*holder);
  } else {
    const Source source = TRY(FindSource(request));
    candidates = TRY(Candidates(request, source));
  }
  std::string refusals;
  Code code = Code::kResourceExhausted;
  for (const driver::PoolRecord& pool : candidates) {
    auto node = directory_.Node(pool.id);
    auto created = node.ok() ? (*node)->CreateVolume(call, request)
                             : Result<csi::v1::CreateVolumeResponse>(node.error());
    if (created.ok() || !Passes(created.error())) return created;
    if (created.Is(Code::kUnavailable)) code = Code::kUnavailable;
    refusals +=
        (refusals.empty() ? "" : "; ") + ("node " + pool.node) + ": " + created.error().message();
  }
  return Error(code, refusals);
}

Result<csi::v1::DeleteVolumeResponse> ControllerDriver::DeleteVolume(
    const proto::Call& call, const csi::v1::DeleteVolumeRequest& request) {
  TRY(driver::RequireField(request.volume_id(), "volume_id"));
  TRY(Ready());
  const auto handle = pool::VolumeHandle::Parse(request.volume_id());
  if (!handle.ok() || directory_.IsLost(handle->pool)) return csi::v1::DeleteVolumeResponse();
  return TRY(directory_.Node(handle->pool))
  ->DeleteVolume(call, request);
}

Result<csi::v1::ValidateVolumeCapabilitiesResponse> ControllerDriver::ValidateVolumeCapabilities(
    const proto::Call& call, const csi::v1::ValidateVolumeCapabilitiesRequest& request) {
  TRY(driver::RequireField(request.volume_id(), "volume_id"));
  if (request.volume_capabilities().empty()) {
    return Error(Code::kInvalidArgument, "volume_capabilities is missing");
  }
  const pool::VolumeHandle handle = TRY(pool::VolumeHandle::Parse(request.volume_id()));
  TRY(Ready());
  if (directory_.IsLost(handle.pool)) {
    return Error(Code::kNotFound, "volume " + request.volume_id() + " was lost with its pool");
  }
  return TRY(directory_.Node(handle.pool))
  ->ValidateVolumeCapabilities(call, request);
}

Result<csi::v1::ControllerExpandVolumeResponse> ControllerDriver::ControllerExpandVolume(
    const proto::Call& call, const csi::v1::ControllerExpandVolumeRequest& request) {
  TRY(driver::RequireField(request.volume_id(), "volume_id"));
  const pool::VolumeHandle handle = TRY(pool::VolumeHandle::Parse(request.volume_id()));
  TRY(Ready());
  if (directory_.IsLost(handle.pool)) {
    return Error(Code::kNotFound, "volume " + request.volume_id() + " was lost with its pool");
  }
  return TRY(directory_.Node(handle.pool))
  ->ControllerExpandVolume(call, request);
}

Result<csi::v1::CreateSnapshotResponse> ControllerDriver::CreateSnapshot(
    const proto::Call& call, const csi::v1::CreateSnapshotRequest& request) {
  TRY(driver::RequireName(request.name()));
  TRY(driver::RequireField(request.source_volume_id(), "source_volume_id"));
  const pool::VolumeHandle handle = TRY(pool::VolumeHandle::Parse(request.source_volume_id()));
  TRY(Ready());
  if (directory_.IsLost(handle.pool)) {
    return Error(Code::kNotFound,
                 "volume " + request.source_volume_id() + " was lost with its pool");
  }
  return TRY(directory_.Node(handle.pool))
  ->CreateSnapshot(call, request);
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

template <typename Response, typename Request>
Result<Response> ControllerDriver::ListAll(
    const proto::Call& call, const Request& request,
    Result<Response> (proto::CsiService::*verb)(const proto::Call&, const Request&)) {
  const driver::PageStart start = TRY(driver::ReadToken(request.starting_token()));
  Response all;
  for (const driver::PoolRecord& pool : directory_.Pools()) {
    if (pool.id.str() < start.pool) continue;
    Request part = request;
    if (pool.id.str() != start.pool) part.clear_starting_token();
    const bool full = request.max_entries() != 0 && all.entries_size() == request.max_entries();
    // A full page needs to know only whether there is more.
    if (request.max_entries() != 0) {
      part.set_max_entries(full ? 1 : request.max_entries() - all.entries_size());
    }
    const NodePtr node = TRY(directory_.Node(pool.id));
    auto page = TRY(((*node).*verb)(call, part));
    if (full) {
      if (page.entries().empty()) continue;
      all.set_next_token(TokenAfter(all.entries(all.entries_size() - 1)));
      return all;
    }
    all.mutable_entries()->MergeFrom(page.entries());
    if (!page.next_token().empty()) {
      all.set_next_token(page.next_token());
      return all;
    }
  }
  return all;
}

Result<csi::v1::ListVolumesResponse> ControllerDriver::ListVolumes(
    const proto::Call& call, const csi::v1::ListVolumesRequest& request) {
  if (request.max_entries() < 0) return Error(Code::kInvalidArgument, "max_entries is negative");
  TRY(Ready());
  return ListAll(call, request, &proto::CsiService::ListVolumes);
}

Result<csi::v1::ListSnapshotsResponse> ControllerDriver::FindInRepository(
    const proto::Call& call, const csi::v1::ListSnapshotsRequest& request) {
  Error last(Code::kUnavailable, "there is no node to look into the repository");
  for (const driver::PoolRecord& pool : directory_.Pools()) {
    const auto node = directory_.Node(pool.id);
    if (!node.ok()) continue;
    auto found = (*node)->ListSnapshots(call, request);
    if (found.ok() || !found.Is(Code::kUnavailable)) return found;
    last = found.error();
  }
  return last;
}

Result<csi::v1::ListSnapshotsResponse> ControllerDriver::ListSnapshots(
    const proto::Call& call, const csi::v1::ListSnapshotsRequest& request) {
  if (request.max_entries() < 0) return Error(Code::kInvalidArgument, "max_entries is negative");
  TRY(driver::ReadToken(request.starting_token()));
  TRY(Ready());
  if (!request.snapshot_id().empty()) {
    const auto handle = pool::SnapshotHandle::Parse(request.snapshot_id());
    if (!handle.ok()) return csi::v1::ListSnapshotsResponse();
    const bool lost = directory_.IsLost(handle->pool);
    if (lost && handle->repository.empty()) return csi::v1::ListSnapshotsResponse();
    const auto node =
        lost ? Result<NodePtr>(Error(Code::kUnavailable, "lost")) : directory_.Node(handle->pool);
    if (node.ok()) {
      auto listed = (*node)->ListSnapshots(call, request);
      if (listed.ok() || handle->repository.empty() || !listed.Is(Code::kUnavailable)) {
        return listed;
      }
    } else if (handle->repository.empty()) {
      return node.error();
    }
    auto stored = FindInRepository(call, request);
    // Where its node may still have it, only the finding is an answer.
    if (node.ok() && stored.ok() && stored->entries().empty()) {
      return Error(Code::kUnavailable, "the node of pool " + handle->pool.str() +
                                           " does not answer, and the repository does not have " +
                                           request.snapshot_id());
    }
    return stored;
  }
  if (!request.source_volume_id().empty()) {
    // They are where their volume is, or was.
    const auto volume = pool::VolumeHandle::Parse(request.source_volume_id());
    if (!volume.ok() || directory_.IsLost(volume->pool)) return csi::v1::ListSnapshotsResponse();
    return TRY(directory_.Node(volume->pool))
    ->ListSnapshots(call, request);
  }
  return ListAll(call, request, &proto::CsiService::ListSnapshots);
}

Result<csi::v1::GetCapacityResponse> ControllerDriver::GetCapacity(
    const proto::Call&, const csi::v1::GetCapacityRequest& request) {
  csi::v1::GetCapacityResponse response;
  if (!request.volume_capabilities().empty() &&
      !driver::CheckCapabilities(request.volume_capabilities()).ok()) {
    return response;
  }
  TRY(Ready());
  std::uint64_t free_bytes = 0;
  for (const driver::PoolRecord& pool : directory_.Pools()) {
    bool here = pool.healthy;
    for (const auto& [key, value] : request.accessible_topology().segments()) {
      here = here && key == driver::kTopologyKey && value == driver::TopologyValue(pool.node);
    }
    if (here) free_bytes += pool.free_bytes;
  }
  response.set_available_capacity(static_cast<std::int64_t>(free_bytes));
  return response;
}

}  // namespace thinsnap::controller
