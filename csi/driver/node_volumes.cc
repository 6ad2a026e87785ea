// The verbs of NodeDriver that concern volumes as such.
#include <algorithm>
#include <utility>

#include "base/core/bytes.h"
#include "base/core/log.h"
#include "base/data/json.h"
#include "csi/driver/node_driver.h"
#include "csi/pool/short_hash.h"
#include "csi/pool/tags.h"

namespace thinsnap::driver {
namespace {

// What is left of a call's time to answer in.
constexpr Duration kAnswerTime = std::chrono::seconds(1);
constexpr Duration kWaitWithoutDeadline = std::chrono::seconds(30);

Error Invalid(std::string message) { return {Code::kInvalidArgument, std::move(message)}; }

bool Matches(const csi::v1::Topology& topology, const std::string& node) {
  const std::string value = TopologyValue(node);
  return std::all_of(topology.segments().begin(), topology.segments().end(),
                     [&](const auto& s) { return s.first == kTopologyKey && s.second == value; });
}

// A size as the pool makes it. kOutOfRange when rounding passes the limit.
Result<std::uint64_t> RoundSize(std::uint64_t size_bytes, const SizeRange& range,
                                const pool::PoolStatus& pool) {
  const std::uint64_t rounded =
      (size_bytes + pool.grain_bytes - 1) / pool.grain_bytes * pool.grain_bytes;
  if (range.limit_bytes != 0 && rounded > range.limit_bytes) {
    return Error(Code::kOutOfRange, "capacity_range.limit_bytes is " +
                                        std::to_string(range.limit_bytes) +
                                        ", but rounded to the pool's grain the volume takes " +
                                        std::to_string(rounded));
  }
  return rounded;
}

// A filesystem of another type than asked for could not be mounted later.
Status CheckFilesystem(const std::string& source, const std::string& holds,
                       const std::string& wanted) {
  if (wanted.empty() || !mount::IsSupportedFsType(holds) || holds == wanted) return {};
  return Invalid("volume_capability.mount.fs_type is \"" + wanted + "\", but " + source +
                 " holds a filesystem of type " + holds);
}

// Names that fit the pool's limit, from names that fill it.
std::string CloneName(const std::string& name) { return "clone-" + pool::ShortHash(name); }

}  // namespace

Status NodeDriver::CheckTopology(const csi::v1::TopologyRequirement& requirement) const {
  const auto admits = [&](const auto& list) {
    return std::any_of(list.begin(), list.end(),
                       [&](const csi::v1::Topology& t) { return Matches(t, node_name_); });
  };
  const auto& requisite = requirement.requisite();
  const auto& preferred = requirement.preferred();
  if (requisite.empty() ? preferred.empty() || admits(preferred) : admits(requisite)) return {};
  return Error(Code::kResourceExhausted,
               "no topology of accessibility_requirements is " + std::string(kTopologyKey) + "=" +
                   TopologyValue(node_name_) + ", the only one that this node can serve");
}

Result<NodeDriver::VolumePlan> NodeDriver::ReadPlan(const csi::v1::CreateVolumeRequest& request) {
  TRY(RequireName(request.name()));
  TRY(CheckCapabilities(request.volume_capabilities()));
  VolumeParameters parameters = TRY(ReadVolumeParameters(request));
  VolumePlan plan;
  // An empty value is the removal of what is not there yet.
  std::erase_if(parameters.user_tags, [](const auto& tag) { return tag.second.empty(); });
  plan.tags = std::move(parameters.user_tags);
  plan.name = request.name();
  plan.range = TRY(ReadSizeRange(request.has_capacity_range(), request.capacity_range()));
  if (request.has_volume_content_source()) {
    const auto& source = request.volume_content_source();
    plan.from_snapshot = source.has_snapshot();
    plan.source =
        source.has_snapshot() ? source.snapshot().snapshot_id() : source.volume().volume_id();
    if (plan.source.empty()) {
      return Invalid("volume_content_source names neither a snapshot nor a volume");
    }
    plan.tags[tags::kSource] = plan.source;
  }
  for (const auto& capability : request.volume_capabilities()) {
    if (!capability.mount().fs_type().empty()) plan.fs_type = capability.mount().fs_type();
  }
  if (!plan.fs_type.empty()) plan.tags[tags::kWantsFs] = plan.fs_type;
  if (parameters.new_uuid && !plan.source.empty() && !WantsBlock(request.volume_capabilities())) {
    plan.tags[mount::kUuidTag] = mount::kNewUuid;
  }
  plan.tags[tags::kMode] = WantsBlock(request.volume_capabilities()) ? "Block" : "Filesystem";
  const std::string claim = MapValue(request.parameters(), "csi.storage.k8s.io/pvc/name");
  if (!claim.empty()) {
    plan.tags[tags::kClaim] =
        MapValue(request.parameters(), "csi.storage.k8s.io/pvc/namespace") + "/" + claim;
  }
  return plan;
}

Status NodeDriver::CheckCompatible(const pool::VolumeInfo& existing, const VolumePlan& plan) const {
  const auto differs = [&](const std::string& how) {
    return Error(Code::kAlreadyExists, "name \"" + plan.name + "\" stands for a volume " + how);
  };
  if (tags::Get(existing.tags, tags::kSource) != plan.source) {
    return differs("with another volume_content_source");
  }
  if (existing.size_bytes < plan.range.required_bytes ||
      (plan.range.limit_bytes != 0 && existing.size_bytes > plan.range.limit_bytes)) {
    return differs("of " + std::to_string(existing.size_bytes) + " bytes, outside capacity_range");
  }
  if (tags::Get(existing.tags, tags::kMode) != tags::Get(plan.tags, tags::kMode)) {
    return differs("with volume mode " + tags::Get(existing.tags, tags::kMode));
  }
  // Every access mode that is accepted at all suits every volume.
  const std::string holds = tags::Get(existing.tags, mount::kFsTag);
  const std::string fs_type =
      mount::IsSupportedFsType(holds) ? holds : tags::Get(existing.tags, tags::kWantsFs);
  if (!fs_type.empty() && !plan.fs_type.empty() && fs_type != plan.fs_type) {
    return differs("with a filesystem of type " + fs_type);
  }
  return {};
}

Result<std::uint64_t> NodeDriver::LeastForFilesystem(const VolumePlan& plan) const {
  // A source was large enough for what it holds.
  if (tags::Get(plan.tags, tags::kMode) == "Block") return 0;
  if (!plan.source.empty() && plan.fs_type.empty()) return 0;
  const std::string& fs_type = plan.fs_type.empty() ? mounts_.default_fs_type() : plan.fs_type;
  const std::uint64_t least = mount::LeastBytes(fs_type);
  if (plan.range.limit_bytes == 0 || plan.range.limit_bytes >= least) return least;
  return Error(Code::kOutOfRange, "capacity_range.limit_bytes is " +
                                      std::to_string(plan.range.limit_bytes) +
                                      ", but a filesystem of type " + fs_type + " needs " +
                                      std::to_string(least) + " bytes at least");
}

Result<pool::VolumeInfo> NodeDriver::MakeSized(const VolumePlan& plan, std::uint64_t least,
                                               std::optional<pool::SnapshotId> source) {
  pool::CreateRequest create;
  create.name = plan.name;
  least = std::max(least, TRY(LeastForFilesystem(plan)));
  const std::uint64_t size_bytes = TRY(ChooseSize(plan.range, least));
  const pool::PoolStatus pool = TRY(pool_.GetStatus());
  create.size_bytes = TRY(RoundSize(size_bytes, plan.range, pool));
  create.source = std::move(source);
  create.tags = plan.tags;
  // What a snapshot of it says that a restore needs: never more than was asked for.
  create.tags[tags::kSize] = std::to_string(
      plan.range.required_bytes != 0 ? plan.range.required_bytes : create.size_bytes);
  const pool::Wish wish{
      .name = plan.name, .size_bytes = create.size_bytes, .fill_bytes = plan.fill_bytes};
  return WithRoom(wish, [&] { return pool_.Create(create); });
}

Result<pool::VolumeInfo> NodeDriver::MakeClone(const VolumePlan& plan) {
  const pool::VolumeInfo source = TRY(FindVolume(plan.source));
  if (tags::Has(source.tags, tags::kImporting)) {
    return Error(Code::kAborted, "volume " + plan.source + " is still being imported");
  }
  TRY(CheckFilesystem(plan.source, tags::Get(source.tags, mount::kFsTag), plan.fs_type));
  TRY(ChooseSize(plan.range, source.size_bytes));
  pool::SnapshotRequest cut;
  cut.name = CloneName(plan.name);
  cut.volume = source.id;
  cut.tags[tags::kInternal] = "1";
  const pool::SnapshotInfo snapshot =
      TRY(WithRoom({}, [&] { return pool_.Snapshot(cut, quiesce_); }));
  auto made = MakeSized(plan, source.size_bytes, snapshot.id);
  // Where it stays, the call is repeated; RemoveCloneSource or the next start does it.
  TRY(pool_.RemoveSnapshot(snapshot.id));
  return made;
}

Status NodeDriver::RemoveCloneSource(const VolumePlan& plan) {
  if (plan.source.empty() || plan.from_snapshot) return {};
  const auto snapshot = TRY(pool_.FindSnapshot(CloneName(plan.name)));
  if (!snapshot || !tags::Has(snapshot->tags, tags::kInternal)) return {};
  return pool_.RemoveSnapshot(snapshot->id);
}

Result<pool::VolumeInfo> NodeDriver::MakeFromSnapshot(const VolumePlan& plan) {
  const pool::SnapshotHandle source = TRY(pool::SnapshotHandle::Parse(plan.source));
  if (source.pool == pool_id_) {
    const auto local = pool_.GetSnapshot(source.snapshot);
    if (!local.ok() && !local.Is(Code::kNotFound)) return local.error();
    if (local.ok() && local->volume == source.volume && local->has_device &&
        !tags::Has(local->tags, tags::kHidden)) {
      TRY(CheckFilesystem(plan.source, tags::Get(local->tags, tags::kFsType), plan.fs_type));
      return MakeSized(plan, local->size_bytes, local->id);
    }
  }
  if (source.repository.empty()) {
    return Error(Code::kNotFound, "there is no snapshot " + plan.source + " on node " + node_name_ +
                                      ", and it was never exported");
  }
  return MakeImport(plan, source);
}

Result<pool::VolumeInfo> NodeDriver::MakeImport(const VolumePlan& plan,
                                                const pool::SnapshotHandle& source) {
  const auto point = transfer::FindPoint(repositories_, source);
  if (!point.ok()) {
    const Code code = point.error().code();
    const bool final = code == Code::kNotFound || code == Code::kFailedPrecondition ||
                       code == Code::kDataLoss || code == Code::kPermissionDenied ||
                       code == Code::kUnauthenticated || code == Code::kInvalidArgument ||
                       code == Code::kCancelled;
    return Error(final ? code : Code::kAborted, point.error().message());
  }
  TRY(CheckFilesystem(plan.source, StringAt(point->attributes, "fsType"), plan.fs_type));
  VolumePlan importing = plan;
  importing.tags[tags::kImporting] = plan.source;
  // One that does not fit would take every volume of the pool down with it.
  importing.tags[tags::kImportBytes] = std::to_string(point->data_bytes);
  importing.fill_bytes = point->data_bytes;
  pool::VolumeInfo made = TRY(MakeSized(importing, point->size_bytes, std::nullopt));
  importer_.Start(made, source, /*blank=*/true);
  return made;
}

Result<pool::VolumeInfo> NodeDriver::MakeVolume(const VolumePlan& plan) {
  if (plan.source.empty()) return MakeSized(plan, 0, std::nullopt);
  return plan.from_snapshot ? MakeFromSnapshot(plan) : MakeClone(plan);
}

Result<csi::v1::CreateVolumeResponse> NodeDriver::CreateVolume(
    const proto::Call& call, const csi::v1::CreateVolumeRequest& request) {
  const VolumePlan plan = TRY(ReadPlan(request));
  TRY(CheckTopology(request.accessibility_requirements()));
  TRY(CheckWritable());
  const BusyKeys::Hold hold(busy_, "volume name " + plan.name);
  TRY(hold.Check());
  auto volume = TRY(pool_.FindVolume(plan.name));
  if (volume) {
    TRY(CheckCompatible(*volume, plan));
    TRY(RemoveCloneSource(plan));
  } else {
    // The import of an earlier call may have ended for good since.
    if (const auto failure = importer_.TakeFailure(plan.name)) return *failure;
    volume = TRY(MakeVolume(plan));
  }
  if (const std::string from = tags::Get(volume->tags, tags::kImporting); !from.empty()) {
    importer_.Start(*volume, TRY(pool::SnapshotHandle::Parse(from)), /*blank=*/false);
    const MonoTime now = runtime_.clock().MonoNow();
    TRY(importer_.Wait(volume->id, call.deadline == kForever ? now + kWaitWithoutDeadline
                                                             : call.deadline - kAnswerTime));
    if (const auto failure = importer_.TakeFailure(plan.name)) return *failure;
    auto filled = pool_.GetVolume(volume->id);
    if (filled.Is(Code::kNotFound) || (filled.ok() && tags::Has(filled->tags, tags::kImporting))) {
      return Error(Code::kAborted, "the import was interrupted; it starts again");
    }
    volume = TRY(std::move(filled));
  }
  csi::v1::CreateVolumeResponse response;
  *response.mutable_volume() = Describe(*volume);
  return response;
}

csi::v1::Volume NodeDriver::Describe(const pool::VolumeInfo& volume) const {
  csi::v1::Volume described;
  described.set_volume_id(pool::VolumeHandle{pool_id_, volume.id}.ToString());
  described.set_capacity_bytes(static_cast<std::int64_t>(volume.size_bytes));
  (*described.add_accessible_topology()->mutable_segments())[kTopologyKey] =
      TopologyValue(node_name_);
  if (const std::string source = tags::Get(volume.tags, tags::kSource); !source.empty()) {
    auto* content = described.mutable_content_source();
    if (pool::SnapshotHandle::Parse(source).ok()) {
      content->mutable_snapshot()->set_snapshot_id(source);
    } else {
      content->mutable_volume()->set_volume_id(source);
    }
  }
  return described;
}

Result<csi::v1::DeleteVolumeResponse> NodeDriver::DeleteVolume(
    const proto::Call&, const csi::v1::DeleteVolumeRequest& request) {
  TRY(RequireField(request.volume_id(), "volume_id"));
  const auto handle = pool::VolumeHandle::Parse(request.volume_id());
  if (!handle.ok()) return csi::v1::DeleteVolumeResponse();
  if (handle->pool != pool_id_) {
    return Error(Code::kUnavailable,
                 "volume " + request.volume_id() + " is not in this node's pool " + pool_id_.str());
  }
  TRY(CheckWritable());
  const BusyKeys::Hold hold(busy_, request.volume_id());
  TRY(hold.Check());
  const auto volume = pool_.GetVolume(handle->volume);
  if (volume.ok()) {
    TRY(importer_.Cancel(handle->volume));
    TRY(pool_.RemoveVolume(handle->volume));
  } else if (!volume.Is(Code::kNotFound)) {
    return volume.error();
  }
  // Hidden bases have nobody left to serve; also after a crash between the two steps.
  TRY(exporter_.Trim(handle->volume));
  return csi::v1::DeleteVolumeResponse();
}

Result<csi::v1::ValidateVolumeCapabilitiesResponse> NodeDriver::ValidateVolumeCapabilities(
    const proto::Call&, const csi::v1::ValidateVolumeCapabilitiesRequest& request) {
  TRY(RequireField(request.volume_id(), "volume_id"));
  if (request.volume_capabilities().empty()) return Invalid("volume_capabilities is missing");
  const pool::VolumeInfo volume = TRY(FindVolume(request.volume_id()));
  csi::v1::ValidateVolumeCapabilitiesResponse response;
  const auto checked = CheckCapabilities(request.volume_capabilities());
  if (!checked.ok()) {
    response.set_message(checked.error().message());
    return response;
  }
  const std::string mode = WantsBlock(request.volume_capabilities()) ? "Block" : "Filesystem";
  const std::string made = tags::Get(volume.tags, tags::kMode);
  if (!made.empty() && mode != made) {
    response.set_message("the volume has volume mode " + made + ", not " + mode);
    return response;
  }
  const std::string holds = tags::Get(volume.tags, mount::kFsTag);
  for (const auto& capability : request.volume_capabilities()) {
    const std::string& wanted = capability.mount().fs_type();
    if (wanted.empty() || !mount::IsSupportedFsType(holds) || wanted == holds) continue;
    response.set_message("the volume holds a filesystem of type " + holds + ", not " + wanted);
    return response;
  }
  auto* confirmed = response.mutable_confirmed();
  *confirmed->mutable_volume_capabilities() = request.volume_capabilities();
  *confirmed->mutable_volume_context() = request.volume_context();
  *confirmed->mutable_parameters() = request.parameters();
  *confirmed->mutable_mutable_parameters() = request.mutable_parameters();
  return response;
}

Result<csi::v1::ListVolumesResponse> NodeDriver::ListVolumes(
    const proto::Call&, const csi::v1::ListVolumesRequest& request) {
  if (request.max_entries() < 0) return Invalid("max_entries is negative");
  const PageStart start = TRY(ReadToken(request.starting_token()));
  csi::v1::ListVolumesResponse response;
  const csi::v1::VolumeCondition condition = PoolCondition();
  for (const pool::VolumeInfo& volume : TRY(pool_.ListVolumes())) {
    if (volume.id.str() <= start.id) continue;
    if (request.max_entries() != 0 && response.entries_size() == request.max_entries()) {
      const auto last = pool::VolumeHandle::Parse(
          response.entries(response.entries_size() - 1).volume().volume_id());
      response.set_next_token(MakeToken(pool_id_.str(), last->volume.str()));
      break;
    }
    auto* entry = response.add_entries();
    *entry->mutable_volume() = Describe(volume);
    *entry->mutable_status()->mutable_volume_condition() = condition;
  }
  return response;
}

csi::v1::VolumeCondition NodeDriver::PoolCondition() {
  csi::v1::VolumeCondition condition;
  const auto status = pool_.GetStatus();
  if (!status.ok()) {
    condition.set_message("pool " + pool_id_.str() +
                          " does not answer: " + status.error().message());
  } else if (!status->healthy()) {
    condition.set_message("pool " + pool_id_.str() + " is in trouble: " + status->Trouble());
  }
  condition.set_abnormal(!condition.message().empty());
  if (!condition.abnormal()) condition.set_message("the pool is healthy");
  return condition;
}

Result<csi::v1::ControllerGetVolumeResponse> NodeDriver::ControllerGetVolume(
    const proto::Call&, const csi::v1::ControllerGetVolumeRequest& request) {
  TRY(RequireField(request.volume_id(), "volume_id"));
  csi::v1::ControllerGetVolumeResponse response;
  const std::string by_name = kByName;
  if (request.volume_id().starts_with(by_name)) {
    const std::string name = request.volume_id().substr(by_name.size());
    const auto volume = TRY(pool_.FindVolume(name));
    // An earlier call may be making it just now.
    if (!volume) TRY(BusyKeys::Hold(busy_, "volume name " + name).Check());
    if (!volume) return Error(Code::kNotFound, "there is no volume of that name here");
    *response.mutable_volume() = Describe(*volume);
  } else {
    *response.mutable_volume() = Describe(TRY(FindVolume(request.volume_id())));
  }
  *response.mutable_status()->mutable_volume_condition() = PoolCondition();
  return response;
}

Result<csi::v1::ControllerModifyVolumeResponse> NodeDriver::ControllerModifyVolume(
    const proto::Call&, const csi::v1::ControllerModifyVolumeRequest& request) {
  TRY(RequireField(request.volume_id(), "volume_id"));
  const pool::Tags changes = TRY(ReadUserTags(request.mutable_parameters()));
  const pool::VolumeInfo volume = TRY(FindVolume(request.volume_id()));
  TRY(CheckWritable());
  const BusyKeys::Hold hold(busy_, request.volume_id());
  TRY(hold.Check());
  if (!changes.empty()) TRY(pool_.TagVolume(volume.id, changes));
  return csi::v1::ControllerModifyVolumeResponse();
}

Result<csi::v1::GetCapacityResponse> NodeDriver::GetCapacity(
    const proto::Call&, const csi::v1::GetCapacityRequest& request) {
  csi::v1::GetCapacityResponse response;
  const bool here =
      !request.has_accessible_topology() || Matches(request.accessible_topology(), node_name_);
  const bool possible = request.volume_capabilities().empty() ||
                        CheckCapabilities(request.volume_capabilities()).ok();
  if (here && possible && CheckWritable().ok()) {
    const pool::Offer offer = TRY(guard_.WhatFits());
    response.set_available_capacity(static_cast<std::int64_t>(offer.room_bytes));
    // Thin: a volume may be larger than what is free.
    response.mutable_maximum_volume_size()->set_value(
        static_cast<std::int64_t>(offer.largest_volume_bytes));
  } else {
    response.mutable_maximum_volume_size()->set_value(0);
  }
  return response;
}

Result<csi::v1::ControllerExpandVolumeResponse> NodeDriver::ControllerExpandVolume(
    const proto::Call&, const csi::v1::ControllerExpandVolumeRequest& request) {
  TRY(RequireField(request.volume_id(), "volume_id"));
  if (!request.has_capacity_range()) return Invalid("capacity_range is missing");
  const SizeRange range = TRY(ReadSizeRange(true, request.capacity_range()));
  if (request.has_volume_capability()) TRY(ReadCapability(request.volume_capability()));
  const pool::VolumeInfo volume = TRY(FindVolume(request.volume_id()));
  TRY(CheckWritable());
  const BusyKeys::Hold hold(busy_, request.volume_id());
  TRY(hold.Check());
  std::uint64_t size_bytes = volume.size_bytes;
  if (size_bytes < range.required_bytes) {
    const pool::PoolStatus pool = TRY(pool_.GetStatus());
    TRY(RoundSize(range.required_bytes, range, pool));
    if (range.required_bytes > pool.size_bytes) {
      // Not a matter of time: the claim's user may ask for less.
      return Error(Code::kOutOfRange, "capacity_range.required_bytes is " +
                                          std::to_string(range.required_bytes) + ", but pool " +
                                          pool_id_.str() + " of node " + node_name_ + " has " +
                                          std::to_string(pool.size_bytes));
    }
    size_bytes = TRY(WithRoom({.size_bytes = range.required_bytes, .grown = volume.id},
                              [&] { return pool_.Resize(volume.id, range.required_bytes); }));
  } else if (range.limit_bytes != 0 && size_bytes > range.limit_bytes) {
    return Error(Code::kOutOfRange, "the volume has " + std::to_string(size_bytes) +
                                        " bytes already, more than capacity_range.limit_bytes");
  }
  // Also where an earlier call came no further than to the new size.
  if (tags::GetBytes(volume.tags, tags::kSize, 0) < range.required_bytes) {
    TRY(pool_.TagVolume(volume.id, {{tags::kSize, std::to_string(range.required_bytes)}}));
  }
  csi::v1::ControllerExpandVolumeResponse response;
  response.set_capacity_bytes(static_cast<std::int64_t>(size_bytes));
  response.set_node_expansion_required(tags::Get(volume.tags, tags::kMode) != "Block");
  return response;
}

}  // namespace thinsnap::driver
