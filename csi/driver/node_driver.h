// NodeDriver: every verb of CSI on the one pool of this machine. It keeps nothing of its own:
// volumes, snapshots and what is to be done with them stand in the pool's tags.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/runtime.h"
#include "csi/driver/busy.h"
#include "csi/driver/request.h"
#include "csi/mount/volume_mounts.h"
#include "csi/pool/guard.h"
#include "csi/pool/handle.h"
#include "csi/pool/thin_pool.h"
#include "csi/proto/csi_service.h"
#include "csi/transfer/exporter.h"
#include "csi/transfer/importer.h"

namespace thinsnap::driver {

enum class PoolStanding : std::uint8_t { kUnknown, kServes, kLost };

class NodeDriver final : public proto::CsiService {
 public:
  NodeDriver(Runtime& runtime, pool::ThinPool& pool, mount::VolumeMounts& mounts,
             pool::Quiesce& quiesce, transfer::Exporter& exporter, transfer::Importer& importer,
             transfer::Repositories& repositories, std::string node_name,
             pool::GuardOptions guard = {});

  // Reads the pool's id. First of all.
  Status Start();
  // Takes up what an earlier life left half done, once it is known how the pool stands. What cannot
  // be taken up is logged.
  Status Recover();
  const pool::PoolId& pool_id() const { return pool_id_; }
  // Only a pool that serves is written to: one that somebody declared lost is read-only, and so is
  // one of which nobody said yet that it is not. It serves until told otherwise.
  void SetStanding(PoolStanding standing);

  THINSNAP_IDENTITY_VERBS(THINSNAP_OVERRIDE_VERB)
  THINSNAP_OVERRIDE_VERB(CreateVolume)
  THINSNAP_OVERRIDE_VERB(DeleteVolume)
  THINSNAP_OVERRIDE_VERB(ValidateVolumeCapabilities)
  THINSNAP_OVERRIDE_VERB(ListVolumes)
  THINSNAP_OVERRIDE_VERB(GetCapacity)
  THINSNAP_OVERRIDE_VERB(ControllerGetCapabilities)
  THINSNAP_OVERRIDE_VERB(CreateSnapshot)
  THINSNAP_OVERRIDE_VERB(DeleteSnapshot)
  THINSNAP_OVERRIDE_VERB(ListSnapshots)
  THINSNAP_OVERRIDE_VERB(ControllerExpandVolume)
  // Between the roles also by name, see kByName.
  THINSNAP_OVERRIDE_VERB(ControllerGetVolume)
  THINSNAP_OVERRIDE_VERB(ControllerModifyVolume)
  THINSNAP_OVERRIDE_VERB(GetSnapshot)
  THINSNAP_GROUP_VERBS(THINSNAP_OVERRIDE_VERB)
  THINSNAP_METADATA_VERBS(THINSNAP_OVERRIDE_STREAM)
  THINSNAP_NODE_VERBS(THINSNAP_OVERRIDE_VERB)

 private:
  Status CheckWritable();
  Status CheckTopology(const csi::v1::TopologyRequirement& requirement) const;
  // kNotFound for what does not exist; kUnavailable for what is in another pool.
  Result<pool::VolumeInfo> FindVolume(const std::string& handle);

  // What CreateVolume makes, by the source that the request names.
  struct VolumePlan {
    std::string name;
    SizeRange range;
    std::string source;  // the handle; empty: blank
    bool from_snapshot = false;
    std::string fs_type;  // as asked for; empty: any
    pool::Tags tags;
    std::uint64_t fill_bytes = 0;  // that a restore will write
  };
  Result<VolumePlan> ReadPlan(const csi::v1::CreateVolumeRequest& request);
  Status CheckCompatible(const pool::VolumeInfo& existing, const VolumePlan& plan) const;
  Result<pool::VolumeInfo> MakeVolume(const VolumePlan& plan);
  Result<pool::VolumeInfo> MakeClone(const VolumePlan& plan);
  // What an earlier call left between source and clone.
  Status RemoveCloneSource(const VolumePlan& plan);
  Result<pool::VolumeInfo> MakeFromSnapshot(const VolumePlan& plan);
  Result<pool::VolumeInfo> MakeImport(const VolumePlan& plan, const pool::SnapshotHandle& source);
  // The smallest size that the filesystem can have which the volume will hold.
  Result<std::uint64_t> LeastForFilesystem(const VolumePlan& plan) const;
  Result<pool::VolumeInfo> MakeSized(const VolumePlan& plan, std::uint64_t least,
                                     std::optional<pool::SnapshotId> source);
  csi::v1::Volume Describe(const pool::VolumeInfo& volume) const;
  // How all volumes of the pool are.
  csi::v1::VolumeCondition PoolCondition();

  // The class may export there, from that namespace, with that key.
  Status CheckRepositories(const SnapshotParameters& parameters);
  static pool::Tags TagsOfCut(const pool::VolumeInfo& volume, const SnapshotParameters& parameters);
  Result<pool::SnapshotInfo> Cut(const pool::VolumeInfo& volume, const std::string& name,
                                 const SnapshotParameters& parameters);
  pool::SnapshotHandle HandleOf(const pool::SnapshotInfo& snapshot) const;
  csi::v1::Snapshot Describe(const pool::SnapshotInfo& snapshot) const;
  // Neither kept for increments only nor the source of a clone.
  static bool IsListed(const pool::SnapshotInfo& snapshot);
  // The members of a group snapshot are snapshots like others, cut at one instant.
  Result<pool::GroupInfo> CutGroup(const csi::v1::CreateVolumeGroupSnapshotRequest& request,
                                   const SnapshotParameters& parameters);
  // Refuses what would stand still for too long, by what earlier cuts took.
  Status CheckStillness(std::size_t members);
  void NoteStillness(const pool::GroupInfo& group);
  // Those that are left of it; kInvalidArgument where the list does not name each of them.
  Result<std::vector<pool::SnapshotInfo>> MembersOf(
      const pool::GroupHandle& group,
      const google::protobuf::RepeatedPtrField<std::string>& snapshot_ids);
  csi::v1::VolumeGroupSnapshot Describe(const pool::GroupHandle& group,
                                        const std::vector<pool::SnapshotInfo>& members) const;
  // Of a snapshot or between two: from the pool while it has their devices, else from the maps of
  // their restore points.
  struct BlockRanges {
    std::uint64_t size_bytes = 0;  // of the volume
    std::unique_ptr<block::ExtentStream> ranges;
  };
  Result<BlockRanges> AllocatedRanges(const std::string& snapshot, std::uint64_t from_offset);
  Result<BlockRanges> ChangedRanges(const std::string& base, const std::string& target,
                                    std::uint64_t from_offset);
  // What the pool has of a snapshot, if it is one of this pool's and has its device.
  Result<std::optional<pool::SnapshotInfo>> FindDevice(const pool::SnapshotHandle& handle);

  Result<std::optional<csi::v1::Snapshot>> LookInRepository(const pool::SnapshotHandle& handle);

  // Runs a verb of the pool for which there is room. What the guard refuses for want of data space
  // is asked for once more after bases and copies were given up, if those can be enough.
  template <typename Verb>
  auto WithRoom(const pool::Wish& wish, Verb verb) -> decltype(verb()) {
    const auto room = TRY(Reserve(wish));
    return verb();
  }
  Result<std::unique_ptr<pool::Guard::Reservation>> Reserve(const pool::Wish& wish);

  Runtime& runtime_;
  pool::ThinPool& pool_;
  mount::VolumeMounts& mounts_;
  pool::Quiesce& quiesce_;
  transfer::Exporter& exporter_;
  transfer::Importer& importer_;
  transfer::Repositories& repositories_;
  const std::string node_name_;
  pool::Guard guard_;
  pool::PoolId pool_id_;
  BusyKeys busy_;
  std::mutex stillness_mutex_;
  Duration stillness_of_one_ GUARDED_BY(stillness_mutex_){};  // of late, at most
  std::mutex mutex_;
  PoolStanding standing_ GUARDED_BY(mutex_) = PoolStanding::kServes;
};

}  // namespace thinsnap::driver
