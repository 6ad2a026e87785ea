// The verbs of NodeDriver that concern group snapshots: several volumes cut at one instant.
#include <algorithm>
#include <set>
#include <utility>

#include "csi/driver/identity.h"
#include "csi/driver/node_driver.h"
#include "csi/pool/tags.h"

namespace thinsnap::driver {
namespace {

// Leaves room for what tells the members apart.
constexpr std::size_t kLongestGroupName = 100;

std::string MemberName(const std::string& group, const pool::VolumeId& volume) {
  return group + "/" + volume.str();
}

Error Refused(std::string message) { return {Code::kFailedPrecondition, std::move(message)}; }

}  // namespace

Result<csi::v1::GroupControllerGetCapabilitiesResponse> NodeDriver::GroupControllerGetCapabilities(
    const proto::Call&, const csi::v1::GroupControllerGetCapabilitiesRequest&) {
  return GroupCapabilities();
}

Status NodeDriver::CheckStillness(std::size_t members) {
  const std::lock_guard lock(stillness_mutex_);
  const Duration expected = stillness_of_one_ * static_cast<std::int64_t>(members);
  if (expected <= pool::kMostStillness) return {};
  const auto ms = [](Duration time) {
    return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
  };
  return Refused("a group of " + std::to_string(members) + " volumes would stand still for some " +
                 ms(expected) + " ms, by what earlier cuts took; at most " +
                 ms(pool::kMostStillness) + " ms are accepted: cut fewer at once");
}

void NodeDriver::NoteStillness(const pool::GroupInfo& group) {
  const std::lock_guard lock(stillness_mutex_);
  const Duration of_one = group.held / static_cast<std::int64_t>(group.members.size());
  // What was slow once is forgotten by and by.
  stillness_of_one_ = std::max(of_one, stillness_of_one_ / 2);
}

Result<pool::GroupInfo> NodeDriver::CutGroup(
    const csi::v1::CreateVolumeGroupSnapshotRequest& request,
    const SnapshotParameters& parameters) {
  pool::GroupRequest cut;
  cut.name = request.name();
  for (const std::string& id : request.source_volume_ids()) {
    const pool::VolumeInfo volume = TRY(FindVolume(id));
    if (tags::Has(volume.tags, tags::kImporting)) {
      return Refused("volume " + id + " is still being imported");
    }
    cut.members.push_back(
        {MemberName(request.name(), volume.id), volume.id, TagsOfCut(volume, parameters)});
  }
  TRY(CheckWritable());
  TRY(CheckRepositories(parameters));
  TRY(CheckStillness(cut.members.size()));
  auto group = WithRoom({}, [&] { return pool_.SnapshotGroup(cut, quiesce_); });
  // As for one snapshot alone.
  if (group.Is(Code::kResourceExhausted)) return Refused(group.error().message());
  if (group.ok()) NoteStillness(*group);
  return group;
}

Result<csi::v1::CreateVolumeGroupSnapshotResponse> NodeDriver::CreateVolumeGroupSnapshot(
    const proto::Call&, const csi::v1::CreateVolumeGroupSnapshotRequest& request) {
  TRY(RequireName(request.name()));
  if (request.name().size() > kLongestGroupName) {
    return Error(Code::kInvalidArgument, "name has " + std::to_string(request.name().size()) +
                                             " bytes; at most " +
                                             std::to_string(kLongestGroupName) + " are accepted");
  }
  if (request.source_volume_ids().empty()) {
    return Error(Code::kInvalidArgument, "source_volume_ids is missing");
  }
  std::set<std::string> wanted;
  for (const std::string& id : request.source_volume_ids()) {
    TRY(RequireField(id, "source_volume_ids"));
    if (!wanted.insert(id).second) {
      return Error(Code::kInvalidArgument, "source_volume_ids has " + id + " twice");
    }
  }
  const SnapshotParameters parameters = TRY(ReadSnapshotParameters(request.parameters()));
  const BusyKeys::Hold hold(busy_, "group snapshot name " + request.name());
  TRY(hold.Check());
  auto group = TRY(pool_.FindGroup(request.name()));
  if (group) {
    // Those that were deleted and are kept for increments only. The name is wanted anew.
    for (const pool::SnapshotInfo& member : group->members) {
      if (IsListed(member)) continue;
      TRY(CheckWritable());
      TRY(exporter_.GiveUp(member.id));
    }
    std::erase_if(group->members, [](const auto& member) { return !IsListed(member); });
    if (group->members.empty()) group.reset();
  }
  if (group) {
    std::set<std::string> had;
    for (const pool::SnapshotInfo& member : group->members) {
      had.insert(pool::VolumeHandle{pool_id_, member.volume}.ToString());
    }
    if (had != wanted || tags::RepositoriesOf(group->members.front()) != parameters.repositories) {
      return Error(Code::kAlreadyExists,
                   "name \"" + request.name() + "\" stands for a group of " +
                       tags::JoinList({had.begin(), had.end()}) + ", exported to \"" +
                       tags::JoinList(tags::RepositoriesOf(group->members.front())) + "\"");
    }
  } else {
    group = TRY(CutGroup(request, parameters));
  }
  for (const pool::SnapshotInfo& member : group->members) {
    if (!tags::IsExported(member)) exporter_.Add(member.volume);
  }
  csi::v1::CreateVolumeGroupSnapshotResponse response;
  *response.mutable_group_snapshot() = Describe({pool_id_, group->id}, group->members);
  return response;
}

Result<std::vector<pool::SnapshotInfo>> NodeDriver::MembersOf(
    const pool::GroupHandle& group,
    const google::protobuf::RepeatedPtrField<std::string>& snapshot_ids) {
  if (group.pool != pool_id_) {
    return Error(Code::kUnavailable, "group snapshot " + group.ToString() +
                                         " is not in this node's pool " + pool_id_.str());
  }
  const std::set<std::string> named(snapshot_ids.begin(), snapshot_ids.end());
  std::vector<pool::SnapshotInfo> members;
  for (pool::SnapshotInfo& snapshot : TRY(pool_.ListSnapshots())) {
    if (snapshot.group != group.group || !IsListed(snapshot)) continue;
    const std::string id = HandleOf(snapshot).ToString();
    if (!named.contains(id)) {
      return Error(Code::kInvalidArgument, "snapshot_ids does not name " + id +
                                               ", which belongs to group snapshot " +
                                               group.ToString());
    }
    members.push_back(std::move(snapshot));
  }
  return members;
}

csi::v1::VolumeGroupSnapshot NodeDriver::Describe(
    const pool::GroupHandle& group, const std::vector<pool::SnapshotInfo>& members) const {
  csi::v1::VolumeGroupSnapshot described;
  described.set_group_snapshot_id(group.ToString());
  described.set_ready_to_use(true);
  for (const pool::SnapshotInfo& member : members) {
    *described.add_snapshots() = Describe(member);
    if (!tags::IsExported(member)) described.set_ready_to_use(false);
  }
  *described.mutable_creation_time() = described.snapshots(0).creation_time();
  return described;
}

Result<csi::v1::DeleteVolumeGroupSnapshotResponse> NodeDriver::DeleteVolumeGroupSnapshot(
    const proto::Call& call, const csi::v1::DeleteVolumeGroupSnapshotRequest& request) {
  TRY(RequireField(request.group_snapshot_id(), "group_snapshot_id"));
  const auto group = pool::GroupHandle::Parse(request.group_snapshot_id());
  if (!group.ok()) return csi::v1::DeleteVolumeGroupSnapshotResponse();
  for (const pool::SnapshotInfo& member : TRY(MembersOf(*group, request.snapshot_ids()))) {
    csi::v1::DeleteSnapshotRequest one;
    one.set_snapshot_id(HandleOf(member).ToString());
    TRY(DeleteSnapshot(call, one));
  }
  return csi::v1::DeleteVolumeGroupSnapshotResponse();
}

Result<csi::v1::GetVolumeGroupSnapshotResponse> NodeDriver::GetVolumeGroupSnapshot(
    const proto::Call&, const csi::v1::GetVolumeGroupSnapshotRequest& request) {
  TRY(RequireField(request.group_snapshot_id(), "group_snapshot_id"));
  const auto group = TRY(pool::GroupHandle::Parse(request.group_snapshot_id()));
  const auto members = TRY(MembersOf(group, request.snapshot_ids()));
  if (members.empty()) {
    return Error(Code::kNotFound, "there is no group snapshot " + request.group_snapshot_id());
  }
  if (members.size() != static_cast<std::size_t>(request.snapshot_ids_size())) {
    return Error(Code::kInvalidArgument,
                 "snapshot_ids has " + std::to_string(request.snapshot_ids_size()) +
                     " entries, group snapshot " + group.ToString() + " has " +
                     std::to_string(members.size()) + " snapshots");
  }
  csi::v1::GetVolumeGroupSnapshotResponse response;
  *response.mutable_group_snapshot() = Describe(group, members);
  return response;
}

}  // namespace thinsnap::driver
