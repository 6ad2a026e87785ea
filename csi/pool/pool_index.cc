#include "csi/pool/pool_index.h"

#include <array>

namespace thinsnap::pool {

Result<std::optional<VolumeInfo>> PoolIndex::FindForCreate(const CreateRequest& request,
                                                           std::uint64_t size_bytes) const {
  if (request.name.empty()) return Error(Code::kInvalidArgument, "a volume needs a name");
  if (request.size_bytes == 0) {
    return Error(Code::kInvalidArgument, "volume \"" + request.name + "\": its size is zero");
  }
  const SnapshotId source = request.source.value_or(SnapshotId());
  if (const auto named = volume_names_.find(request.name); named != volume_names_.end()) {
    const VolumeInfo& volume = volumes_.at(named->second);
    if (volume.size_bytes != size_bytes || volume.origin != source) {
      return Error(
          Code::kAlreadyExists,
          "volume \"" + request.name + "\" exists with " + std::to_string(volume.size_bytes) +
              " bytes" +
              (volume.origin.empty() ? " and no source" : " from snapshot " + volume.origin.str()) +
              "; asked for were " + std::to_string(size_bytes) + " bytes" +
              (source.empty() ? " and no source" : " from snapshot " + source.str()));
    }
    return std::optional(volume);
  }
  if (!source.empty()) {
    const SnapshotInfo snapshot = TRY(GetWithDevice(source));
    if (size_bytes < snapshot.size_bytes) {
      return Error(Code::kOutOfRange,
                   "volume \"" + request.name + "\": " + std::to_string(size_bytes) +
                       " bytes are less than the " + std::to_string(snapshot.size_bytes) +
                       " of its source snapshot");
    }
  }
  return std::optional<VolumeInfo>();
}

Result<std::optional<SnapshotInfo>> PoolIndex::FindForSnapshot(
    const SnapshotRequest& request) const {
  if (request.name.empty()) return Error(Code::kInvalidArgument, "a snapshot needs a name");
  if (const auto named = snapshot_names_.find(request.name); named != snapshot_names_.end()) {
    const SnapshotInfo& snapshot = snapshots_.at(named->second);
    if (snapshot.volume != request.volume) {
      return Error(Code::kAlreadyExists, "snapshot \"" + request.name + "\" exists for volume " +
                                             snapshot.volume.str() + "; asked for was volume " +
                                             request.volume.str());
    }
    return std::optional(snapshot);
  }
  static_cast<void>(TRY(Get(request.volume)));
  return std::optional<SnapshotInfo>();
}

Result<std::optional<GroupInfo>> PoolIndex::FindForGroup(const GroupRequest& request) const {
  if (request.name.empty() && request.members.size() == 1) {
    auto alone = TRY(FindForSnapshot(request.members.front()));
    if (!alone) return std::optional<GroupInfo>();
    GroupInfo only;
    only.cut = alone->cut;
    only.members.push_back(std::move(*alone));
    return std::optional(std::move(only));
  }
  if (request.name.empty()) return Error(Code::kInvalidArgument, "a group needs a name");
  const std::string group = "group \"" + request.name + "\"";
  if (request.members.empty()) return Error(Code::kInvalidArgument, group + " has no members");
  std::set<VolumeId> volumes;
  std::set<std::string> names;
  for (const SnapshotRequest& member : request.members) {
    if (!volumes.insert(member.volume).second) {
      return Error(Code::kInvalidArgument, group + " names " + NameOf(member.volume) + " twice");
    }
    if (!names.insert(member.name).second) {
      return Error(Code::kInvalidArgument, group + " names \"" + member.name + "\" twice");
    }
  }
  if (auto existing = FindGroup(request.name)) {
    std::set<VolumeId> had;
    std::string list;
    for (const SnapshotInfo& member : existing->members) {
      had.insert(member.volume);
      list += (list.empty() ? "" : ", ") + member.volume.str();
    }
    if (had == volumes) return existing;
    return Error(Code::kAlreadyExists, group + " exists with the volumes " + list);
  }
  for (const SnapshotRequest& member : request.members) {
    if (const auto other = TRY(FindForSnapshot(member))) {
      return Error(Code::kAlreadyExists,
                   "snapshot \"" + member.name + "\" exists and is not of " + group);
    }
  }
  return std::optional<GroupInfo>();
}

std::optional<VolumeInfo> PoolIndex::FindVolume(const std::string& name) const {
  const auto found = volume_names_.find(name);
  if (found == volume_names_.end()) return std::nullopt;
  return volumes_.at(found->second);
}

std::optional<SnapshotInfo> PoolIndex::FindSnapshot(const std::string& name) const {
  const auto found = snapshot_names_.find(name);
  if (found == snapshot_names_.end()) return std::nullopt;
  return snapshots_.at(found->second);
}

std::optional<GroupInfo> PoolIndex::FindGroup(const std::string& name) const {
  const auto found = groups_.find(name);
  if (found == groups_.end()) return std::nullopt;
  GroupInfo group;
  group.name = name;
  for (const SnapshotId& member : found->second) group.members.push_back(snapshots_.at(member));
  group.id = group.members.front().group;
  group.cut = group.members.front().cut;
  return group;
}

std::vector<SnapshotInfo> PoolIndex::SnapshotsOf(const VolumeId& volume) const {
  std::vector<SnapshotInfo> all;
  const auto found = snapshots_of_.find(volume);
  if (found == snapshots_of_.end()) return all;
  for (const SnapshotId& id : found->second) all.push_back(snapshots_.at(id));
  return all;
}

void PoolIndex::Put(VolumeInfo volume) {
  volume_names_[volume.name] = volume.id;
  const VolumeId id = volume.id;
  if (const auto gone = volume.tags.find(kNewestGone); gone != volume.tags.end()) {
    newest_[id] = std::max(newest_[id], SnapshotId(gone->second));
  }
  volumes_[id] = std::move(volume);
}

void PoolIndex::Put(SnapshotInfo snapshot) {
  snapshot_names_[snapshot.name] = snapshot.id;
  snapshots_of_[snapshot.volume].insert(snapshot.id);
  if (!snapshot.group_name.empty()) groups_[snapshot.group_name].insert(snapshot.id);
  const SnapshotId id = snapshot.id;
  newest_[snapshot.volume] = std::max(newest_[snapshot.volume], id);
  snapshots_[id] = std::move(snapshot);
}

void PoolIndex::Erase(const VolumeId& volume) {
  const auto found = volumes_.find(volume);
  if (found == volumes_.end()) return;
  volume_names_.erase(found->second.name);
  newest_.erase(volume);
  volumes_.erase(found);
}

void PoolIndex::Erase(const SnapshotId& snapshot) {
  const auto found = snapshots_.find(snapshot);
  if (found == snapshots_.end()) return;
  const SnapshotInfo& info = found->second;
  snapshot_names_.erase(info.name);
  const auto forget = [&](auto& sets, const auto& key) {
    const auto set = sets.find(key);
    if (set == sets.end()) return;
    set->second.erase(snapshot);
    if (set->second.empty()) sets.erase(set);
  };
  forget(snapshots_of_, info.volume);
  forget(groups_, info.group_name);
  snapshots_.erase(found);
}

Result<VolumeInfo> PoolIndex::Get(const VolumeId& volume) const {
  const auto found = volumes_.find(volume);
  if (found == volumes_.end()) {
    return Error(Code::kNotFound, "no volume " + volume.str() + " in this pool");
  }
  return found->second;
}

Result<SnapshotInfo> PoolIndex::Get(const SnapshotId& snapshot) const {
  const auto found = snapshots_.find(snapshot);
  if (found == snapshots_.end()) {
    return Error(Code::kNotFound, "no snapshot " + snapshot.str() + " in this pool");
  }
  return found->second;
}

Result<SnapshotInfo> PoolIndex::GetWithDevice(const SnapshotId& snapshot) const {
  SnapshotInfo info = TRY(Get(snapshot));
  if (!info.has_device) {
    return Error(Code::kFailedPrecondition,
                 "of snapshot " + snapshot.str() + " only the record is left in this pool");
  }
  return info;
}

std::vector<VolumeInfo> PoolIndex::Volumes() const {
  std::vector<VolumeInfo> all;
  all.reserve(volumes_.size());
  for (const auto& [id, volume] : volumes_) all.push_back(volume);
  return all;
}

std::vector<SnapshotInfo> PoolIndex::Snapshots() const {
  std::vector<SnapshotInfo> all;
  all.reserve(snapshots_.size());
  for (const auto& [id, snapshot] : snapshots_) all.push_back(snapshot);
  return all;
}

std::optional<VolumeInfo> PoolIndex::RecordWithout(const SnapshotId& snapshot) const {
  const auto found = snapshots_.find(snapshot);
  if (found == snapshots_.end()) return std::nullopt;
  const auto volume = volumes_.find(found->second.volume);
  if (volume == volumes_.end() || newest_.at(volume->first) != snapshot) return std::nullopt;
  VolumeInfo record = volume->second;
  record.tags[kNewestGone] = snapshot.str();
  return record;
}

SnapshotId PoolIndex::NewSnapshotId(const VolumeId& volume, WallTime now, Random& random) const {
  const auto newest = newest_.find(volume);
  return SnapshotId(NewUlid(now, random, newest == newest_.end() ? "" : newest->second.str()));
}

std::string NameOf(const VolumeId& volume) { return "volume " + volume.str(); }
std::string NameOf(const SnapshotId& snapshot) { return "snapshot " + snapshot.str(); }

void ApplyTags(const Tags& changes, Tags& tags) {
  for (const auto& [key, value] : changes) {
    if (value.empty()) {
      tags.erase(key);
    } else {
      tags[key] = value;
    }
  }
}

PoolId NewPoolId(Random& random) {
  std::array<std::uint8_t, 8> bytes{};
  random.Fill(bytes);
  return PoolId(Base32Encode(bytes));  // 64 bits: 13 characters
}

}  // namespace thinsnap::pool
