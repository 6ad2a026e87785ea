#include "csi/controller/controller_driver.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "base/core/bytes.h"
#include "base/core/log.h"
#include "csi/driver/identity.h"

namespace thinsnap::controller {
namespace {

// What a node gets to say whether it has a volume of some name.
constexpr Duration kNameTime = std::chrono::seconds(2);
// Longer than a pool takes to count a new volume in its object.
constexpr Duration kRecent = std::chrono::minutes(1);
// What a node gets for its part of a list of all nodes' volumes or snapshots.
constexpr Duration kListTime = std::chrono::seconds(5);
// Nodes that one call asks at the same time.
constexpr std::size_t kAskedAtOnce = 16;

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

Result<NodePtr> ControllerDriver::NodeOfVolume(const std::string& volume) {
  const pool::VolumeHandle handle = TRY(pool::VolumeHandle::Parse(volume));
  TRY(Ready());
  if (directory_.IsLost(handle.pool)) {
    return Error(Code::kNotFound, "volume " + volume + " was lost with its pool");
  }
  return directory_.Node(handle.pool);
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
  // Who prefers has chosen: a scheduler that knows nothing of another node would put the pod's next
  // volume where this one is not. Full, it chooses again. Only where a source is, it is not asked.
  const std::vector<std::string> admitted = wish.nodes;
  std::erase_if(wish.preferred, [&](const std::string& node) {
    return std::find(admitted.begin(), admitted.end(), node) == admitted.end();
  });
  std::vector<driver::PoolRecord> pools = directory_.Pools();
  if (!wish.preferred.empty()) {
    wish.nodes = {wish.preferred.front()};
    // Its silence is no refusal.
    for (driver::PoolRecord& pool : pools) {
      if (driver::TopologyValue(pool.node) == wish.nodes.front()) pool.silent = false;
    }
  }
  const auto range =
      TRY(driver::ReadSizeRange(request.has_capacity_range(), request.capacity_range()));
  wish.size_bytes = range.required_bytes;
  wish.source = source.pool;
  wish.ns = driver::MapValue(request.parameters(), "csi.storage.k8s.io/pvc/namespace");
  const auto holder = std::find_if(
      pools.begin(), pools.end(), [&](const driver::PoolRecord& p) { return p.id == source.pool; });
  const auto admits = [&](const std::string& node) {
    return admitted.empty() || std::find(admitted.begin(), admitted.end(), node) != admitted.end();
  };
  if (source.pool.empty() || source.anywhere) {
    // Near its bytes, where that is allowed, no repository has to be read.
    if (!wish.nodes.empty() && holder != pools.end() &&
        admits(driver::TopologyValue(holder->node))) {
      wish.nodes.push_back(driver::TopologyValue(holder->node));
    }
    return PlanTogether(std::move(pools), wish);
  }

  // Only where the source is.
  if (holder == pools.end()) {
    TRY(directory_.Node(source.pool));  // says what is wrong
    return Error(Code::kUnavailable, "pool " + source.pool.str() + " is not known yet");
  }
  if (!admits(driver::TopologyValue(holder->node))) {
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
  std::erase_if(recent_, [&](const auto& entry) { return now - entry.second.at >= kRecent; });
  if (!wish.ns.empty()) recent_[wish.ns] = {plan.front().id, now};
  return plan;
}

Status ControllerDriver::AskPools(const std::vector<driver::PoolRecord>& pools,
                                  const std::function<void(const driver::PoolRecord&)>& ask) {
  std::atomic<std::size_t> next = 0;
  TaskGroup asking(runtime_, &group_);
  for (std::size_t i = 0; i < std::min(pools.size(), kAskedAtOnce); ++i) {
    asking.Spawn("ask pools", [&] {
      for (std::size_t at = next++; at < pools.size() && !Runtime::Cancelled(); at = next++) {
        ask(pools[at]);
      }
    });
  }
  asking.Join();
  return Runtime::CheckCancelled();
}

Result<ControllerDriver::NameSearch> ControllerDriver::FindByName(const proto::Call& call,
                                                                  const std::string& name) {
  std::mutex mutex;
  NameSearch search;
  csi::v1::ControllerGetVolumeRequest request;
  request.set_volume_id(driver::kByName + name);
  TRY(AskPools(directory_.Pools(), [&](const driver::PoolRecord& pool) {
    const auto node = directory_.Node(pool.id);
    const auto found = node.ok() ? (*node)->ControllerGetVolume(
                                       call.Until(runtime_.clock().MonoNow() + kNameTime), request)
                                 : Result<csi::v1::ControllerGetVolumeResponse>(node.error());
    const std::lock_guard lock(mutex);
    if (!found.ok() && IsUnheard(found.error())) search.unheard.insert(pool.id);
    // ABORTED: it is being made there at this moment.
    if (!found.ok() && !found.Is(Code::kAborted)) return;
    if (!search.holder || pool.id < search.holder->id) search.holder = pool;
  }));
  return search;
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
  const NameSearch search = TRY(FindByName(call, request.name()));
  std::vector<driver::PoolRecord> candidates;
  if (search.holder) {
    candidates.push_back(*search.holder);
  } else {
    const Source source = TRY(FindSource(request));
    candidates = TRY(Candidates(request, source));
    // An earlier call may have made it there and its answer may be lost: then it would be there
    // twice.
    for (const driver::PoolRecord& pool : candidates) {
      if (!search.unheard.contains(pool.id)) continue;
      return Error(Code::kUnavailable, "node " + pool.node + " with pool " + pool.id.str() +
                                           " does not answer, and may have made the volume in an "
                                           "earlier call");
    }
  }
  std::string refusals;
  for (const driver::PoolRecord& pool : candidates) {
    auto node = directory_.Node(pool.id);
    auto created = node.ok() ? (*node)->CreateVolume(call, request)
                             : Result<csi::v1::CreateVolumeResponse>(node.error());
    // Only a refusal says that nothing was made.
    if (created.ok() || !created.Is(Code::kResourceExhausted)) return created;
    refusals +=
        (refusals.empty() ? "" : "; ") + ("node " + pool.node) + ": " + created.error().message();
  }
  return Error(Code::kResourceExhausted, refusals);
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
  const NodePtr node = TRY(NodeOfVolume(request.volume_id()));
  return node->ValidateVolumeCapabilities(call, request);
}

Result<csi::v1::ControllerExpandVolumeResponse> ControllerDriver::ControllerExpandVolume(
    const proto::Call& call, const csi::v1::ControllerExpandVolumeRequest& request) {
  TRY(driver::RequireField(request.volume_id(), "volume_id"));
  const NodePtr node = TRY(NodeOfVolume(request.volume_id()));
  return node->ControllerExpandVolume(call, request);
}

Result<csi::v1::ControllerGetVolumeResponse> ControllerDriver::ControllerGetVolume(
    const proto::Call& call, const csi::v1::ControllerGetVolumeRequest& request) {
  TRY(driver::RequireField(request.volume_id(), "volume_id"));
  const NodePtr node = TRY(NodeOfVolume(request.volume_id()));
  return node->ControllerGetVolume(call, request);
}

Result<csi::v1::ControllerModifyVolumeResponse> ControllerDriver::ControllerModifyVolume(
    const proto::Call& call, const csi::v1::ControllerModifyVolumeRequest& request) {
  TRY(driver::RequireField(request.volume_id(), "volume_id"));
  TRY(driver::ReadUserTags(request.mutable_parameters()));
  const NodePtr node = TRY(NodeOfVolume(request.volume_id()));
  return node->ControllerModifyVolume(call, request);
}

template <typename Response, typename Request>
Result<Response> ControllerDriver::ListAll(
    const proto::Call& call, const Request& request,
    Result<Response> (proto::ControllerService::*verb)(const proto::Call&, const Request&)) {
  const driver::PageStart start = TRY(driver::ReadToken(request.starting_token()));
  Response all;
  bool heard = false;
  std::string unheard;
  const auto pools = directory_.Pools();
  for (const driver::PoolRecord& pool : pools) {
    if (pool.id.str() < start.pool) continue;
    Request part = request;
    if (pool.id.str() != start.pool) part.clear_starting_token();
    const bool full = request.max_entries() != 0 && all.entries_size() == request.max_entries();
    // A full page needs to know only whether there is more.
    if (request.max_entries() != 0) {
      part.set_max_entries(full ? 1 : request.max_entries() - all.entries_size());
    }
    const auto node = directory_.Node(pool.id);
    const proto::Call brief = call.Until(runtime_.clock().MonoNow() + kListTime);
    auto page = node.ok() ? ((**node).*verb)(brief, part) : Result<Response>(node.error());
    if (!page.ok() && IsUnheard(page.error())) {
      TRY(Runtime::CheckCancelled());
      // What the others have is worth telling.
      unheard += (unheard.empty() ? "" : ", ") + pool.node;
      continue;
    }
    if (!page.ok()) return page.error();
    heard = true;
    if (full) {
      if (page->entries().empty()) continue;
      all.set_next_token(TokenAfter(all.entries(all.entries_size() - 1)));
      break;
    }
    all.mutable_entries()->MergeFrom(page->entries());
    if (!page->next_token().empty()) {
      all.set_next_token(page->next_token());
      break;
    }
  }
  if (!unheard.empty()) {
    const std::string who = "of " + std::to_string(pools.size()) + " nodes, " + unheard +
                            " do not answer and are left out of the list";
    if (!heard) return Error(Code::kUnavailable, who);
    LogWarning("driver", who);
  }
  return all;
}

Result<csi::v1::ListVolumesResponse> ControllerDriver::ListVolumes(
    const proto::Call& call, const csi::v1::ListVolumesRequest& request) {
  if (request.max_entries() < 0) return Error(Code::kInvalidArgument, "max_entries is negative");
  TRY(Ready());
  return ListAll(call, request, &proto::ControllerService::ListVolumes);
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
  return ListAll(call, request, &proto::ControllerService::ListSnapshots);
}

Result<csi::v1::GetCapacityResponse> ControllerDriver::GetCapacity(
    const proto::Call& call, const csi::v1::GetCapacityRequest& request) {
  csi::v1::GetCapacityResponse response;
  if (!request.volume_capabilities().empty() &&
      !driver::CheckCapabilities(request.volume_capabilities()).ok()) {
    return response;
  }
  TRY(Ready());
  auto pools = directory_.Pools();
  std::erase_if(pools, [&](const driver::PoolRecord& pool) {
    const auto& segments = request.accessible_topology().segments();
    return pool.silent || !std::all_of(segments.begin(), segments.end(), [&](const auto& s) {
             return s.first == driver::kTopologyKey && s.second == driver::TopologyValue(pool.node);
           });
  });
  // What its guard would refuse, only the node knows.
  std::mutex mutex;
  std::int64_t available_bytes = 0, largest_bytes = 0;
  TRY(AskPools(pools, [&](const driver::PoolRecord& pool) {
    const auto node = directory_.Node(pool.id);
    if (!node.ok()) return;
    const proto::Call brief = call.Until(runtime_.clock().MonoNow() + kListTime);
    const auto capacity = (*node)->GetCapacity(brief, request);
    if (!capacity.ok()) return;
    const std::lock_guard lock(mutex);
    available_bytes += capacity->available_capacity();
    largest_bytes = std::max(largest_bytes, capacity->maximum_volume_size().value());
  }));
  response.set_available_capacity(available_bytes);
  response.mutable_maximum_volume_size()->set_value(largest_bytes);
  return response;
}

}  // namespace thinsnap::controller
