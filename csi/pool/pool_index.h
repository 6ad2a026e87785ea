// PoolIndex: what a pool holds, by id and by the caller's name, with the rules of idempotency that
// every pool shares. Not thread-safe: a pool guards it with its own mutex.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/core/random.h"
#include "csi/pool/thin_pool.h"

namespace thinsnap::pool {

// Of a volume: the greatest id that a snapshot of it had which is gone.
inline constexpr char kNewestGone[] = "newest-gone";

class PoolIndex {
 public:
  // The volume that this request stands for, if there is one already. kAlreadyExists says what the
  // name stands for; kNotFound: the source; kOutOfRange: smaller than the source; kInvalidArgument:
  // no name or no size. size_bytes is the size that Create would make (rounded up).
  Result<std::optional<VolumeInfo>> FindForCreate(const CreateRequest& request,
                                                  std::uint64_t size_bytes) const;
  // Likewise; kNotFound: the volume.
  Result<std::optional<SnapshotInfo>> FindForSnapshot(const SnapshotRequest& request) const;
  // Likewise, see ThinPool::SnapshotGroup. Without a name: of its only member.
  Result<std::optional<GroupInfo>> FindForGroup(const GroupRequest& request) const;

  void Put(VolumeInfo volume);
  void Put(SnapshotInfo snapshot);
  void Erase(const VolumeId& volume);
  void Erase(const SnapshotId& snapshot);

  Result<VolumeInfo> Get(const VolumeId& volume) const;
  Result<SnapshotInfo> Get(const SnapshotId& snapshot) const;
  // A snapshot that still has its thin device; kFailedPrecondition says that only the record is
  // left.
  Result<SnapshotInfo> GetWithDevice(const SnapshotId& snapshot) const;
  std::optional<VolumeInfo> FindVolume(const std::string& name) const;
  std::optional<SnapshotInfo> FindSnapshot(const std::string& name) const;
  std::optional<GroupInfo> FindGroup(const std::string& name) const;
  std::vector<SnapshotInfo> SnapshotsOf(const VolumeId& volume) const;
  std::vector<VolumeInfo> Volumes() const;
  std::vector<SnapshotInfo> Snapshots() const;

  // What the record of the volume is to be before this snapshot goes, so that its id is not given
  // again after a start: a restore point may bear it. Nullopt: no change.
  std::optional<VolumeInfo> RecordWithout(const SnapshotId& snapshot) const;
  // Greater than the id of every snapshot that the volume has or had, whatever the clock did.
  SnapshotId NewSnapshotId(const VolumeId& volume, WallTime now, Random& random) const;

 private:
  std::map<VolumeId, VolumeInfo> volumes_;
  std::map<SnapshotId, SnapshotInfo> snapshots_;
  std::map<std::string, VolumeId> volume_names_;
  std::map<std::string, SnapshotId> snapshot_names_;
  std::map<VolumeId, std::set<SnapshotId>> snapshots_of_;
  std::map<std::string, std::set<SnapshotId>> groups_;  // by name
  std::map<VolumeId, SnapshotId> newest_;               // also of those that are gone
};

// As messages and pins name them.
std::string NameOf(const VolumeId& volume);
std::string NameOf(const SnapshotId& snapshot);

// Applies a TagVolume or TagSnapshot: empty values remove.
void ApplyTags(const Tags& changes, Tags& tags);

// 13 characters.
PoolId NewPoolId(Random& random);

}  // namespace thinsnap::pool
