// ThinPool: the one interface to thin storage, in the verbs of the field. All state lives with the
// volumes themselves (tags), so a node survives reinstallation.
//
// Vocabulary
//   Pool      thin space of one node, with a random id of 13 base32 characters written into it at
//   first use. Volume    a thin device; named by a ULID, found by the caller's name in a tag.
//   Snapshot  a read-only point in time of a volume; it outlives its volume.
//   Tag       a small key and value stored with a volume or snapshot, atomically with its creation.
//   Group     snapshots of several volumes at one instant, under one name.
//   Pin       keeps a volume or snapshot from removal and from losing its device (csi/pool/pins.h).
//   Lease     a pin with the device: open to read and write, or as a node of the host.
//
// What LVM does for a verb
//   Create, Snapshot   lvcreate with the tags, in one commit; -s without -L cuts, and suspends an
//                      active origin by itself. Ids and names are tags: LVM's names are narrower.
//   SnapshotGroup      one lvcreate -s each while a Stillness lasts; the members carry the group's
//                      id, and a record of the pool says that it is whole. Those without are
//                      removed at start.
//   Lease              lvchange -ay -K; Node() is /dev/dm-N once udev has settled. The last lease
//                      runs lvchange -an; one that fails is repeated in the background.
//   Remove             lvremove, which the kernel refuses too while somebody has the device open.
//   DropDevice         the record goes to the pool's volume of records first, then lvremove.
//   Allocated, Changed the pool's metadata, read under one reserve_metadata_snap for all who wait;
//                      so is what Reclaimable counts. Mapped is the thin device's mapped_sectors.
//   GetStatus          the status line of the thin pool, asked for without a flush.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/block/block_device.h"
#include "base/block/extent_spool.h"
#include "base/core/clock.h"
#include "base/core/id.h"
#include "base/core/result.h"
#include "csi/pool/pins.h"

namespace thinsnap::pool {

using PoolId = Id<struct PoolIdTag>;
using VolumeId = Id<struct VolumeIdTag>;      // ULID
using SnapshotId = Id<struct SnapshotIdTag>;  // ULID, greater than every earlier one of its volume
using GroupId = Id<struct GroupIdTag>;        // ULID

using Tags = std::map<std::string, std::string>;

struct VolumeInfo {
  VolumeId id;
  std::string name;  // the caller's; unique in the pool; any bytes up to 128
  std::uint64_t size_bytes = 0;
  SnapshotId origin;  // the snapshot it was cloned from; empty if none
  WallTime created;
  Tags tags;
};

struct SnapshotInfo {
  SnapshotId id;
  std::string name;
  VolumeId volume;
  std::uint64_t size_bytes = 0;
  WallTime cut;
  // The thin device's own identity (LV uuid and thin id, inode and generation): equal means the
  // same bytes. Empty when only a record is left (see DropDevice).
  std::string device_identity;
  bool has_device = true;
  GroupId group;           // empty: cut alone
  std::string group_name;  // the caller's
  Tags tags;
};

struct GroupInfo {
  GroupId id;
  std::string name;
  WallTime cut;
  Duration held{};                    // how long its volumes stood still; 0 where it was there
  std::vector<SnapshotInfo> members;  // those that are left
};

struct PoolStatus {
  PoolId id;
  std::uint64_t size_bytes = 0, free_bytes = 0;
  std::uint64_t grain_bytes = 1;  // sizes of volumes are rounded up to it
  std::uint64_t metadata_size_bytes = 0,
                metadata_free_bytes = 0;      // 0: the pool has none of its own
  std::uint64_t snapshot_overhead_bytes = 0;  // held by snapshots alone; 0 where unknown
  // What is wrong, each by itself: the kernel took the pool's writes away; its metadata has to be
  // repaired; writers wait or fail for want of space; its metadata will soon be full.
  bool read_only = false, needs_check = false, out_of_data_space = false, metadata_low = false;

  // Whether it takes writes and can be trusted with them.
  bool healthy() const { return !read_only && !needs_check; }
  // Everything of the above as a sentence; empty: nothing.
  std::string Trouble() const;
};

// Volumes that stand still, from Hold to Thaw or to its end.
class Stillness {
 public:
  virtual ~Stillness() = default;
  // Lets them go on. An error says that one of them did not stand still until now: what was cut
  // meanwhile is void.
  virtual Status Thaw() = 0;
};

// What makes volumes stand still while they are cut. csi/mount has the one that freezes mounts
// (with a watchdog). A pool that suspends one volume by itself asks for groups only.
class Quiesce {
 public:
  virtual ~Quiesce() = default;
  // When it returns no write to any of them is in flight, and none begins before Thaw, which comes
  // by itself after `most`. All or none; none of them twice. It may wait, and call the pool.
  virtual Result<std::unique_ptr<Stillness>> Hold(std::span<const VolumeId> volumes,
                                                  Duration most) = 0;
};

// A cut that needs longer is void.
inline constexpr Duration kMostStillness = std::chrono::seconds(5);

struct CreateRequest {
  std::string name;
  std::uint64_t size_bytes = 0;      // rounded up to the pool's grain
  std::optional<SnapshotId> source;  // a clone of it; at least its size
  Tags tags;
};

struct SnapshotRequest {
  std::string name;
  VolumeId volume;
  Tags tags;
};

// A pin that also has the device. Leases of one volume share it; it is let go with the last one.
// Ends before the pool does.
class Lease : public Pin {
 public:
  // The device's path on this host for mounting: canonical, there already, and the same for every
  // lease of the volume. Of a snapshot: read-only.
  virtual Result<std::string> Node() = 0;
  // For export and import: what it reads and writes is not seen through a mount of the node, nor
  // the other way round. Ends before the lease does.
  virtual Result<std::unique_ptr<block::BlockDevice>> Open() = 0;
};

// One member for each volume.
struct GroupRequest {
  std::string name;
  std::vector<SnapshotRequest> members;
};

// Thread-safe, blocking. Repeating a call that succeeded is harmless and answers the same.
// Everything is durable when it returns. Codes: kNotFound; kAlreadyExists when the name stands for
// something else (what is said); kResourceExhausted when it is full; kFailedPrecondition in use;
// kAborted while another call is at the same thing; kUnavailable when the pool does not answer.
// Whether there is room is for the caller to ask before (csi/pool/guard.h).
class ThinPool {
 public:
  virtual ~ThinPool() = default;

  virtual Result<PoolStatus> GetStatus() = 0;

  // The same name with the same size and source answers the existing volume.
  virtual Result<VolumeInfo> Create(const CreateRequest& request) = 0;
  // The cut's time is taken while the volume stands still; a void cut is removed and answered
  // kAborted. Other verbs go on meanwhile.
  virtual Result<SnapshotInfo> Snapshot(const SnapshotRequest& request, Quiesce& quiesce) = 0;
  // All or none, at one instant, also after a crash. kInvalidArgument: no name, or a volume or a
  // name twice. The same name with the same volumes answers the existing group.
  virtual Result<GroupInfo> SnapshotGroup(const GroupRequest& request, Quiesce& quiesce) = 0;
  // Only grows; a smaller size is already satisfied. Returns the new size.
  virtual Result<std::uint64_t> Resize(const VolumeId& volume, std::uint64_t size_bytes) = 0;
  // Missing is fine. Snapshots and clones stay. What a user pinned stays too: kFailedPrecondition
  // names him. Jobs that pinned it are ended and no others begin: kAborted until they let go.
  virtual Status RemoveVolume(const VolumeId& volume) = 0;
  virtual Status RemoveSnapshot(const SnapshotId& snapshot) = 0;
  // Gives the thin device back and keeps the record (name, volume, cut, size, tags) until
  // RemoveSnapshot. Nobody is disturbed: what a job pinned is answered kAborted.
  virtual Status DropDevice(const SnapshotId& snapshot) = 0;

  virtual Result<VolumeInfo> GetVolume(const VolumeId& volume) = 0;
  virtual Result<SnapshotInfo> GetSnapshot(const SnapshotId& snapshot) = 0;
  // By the caller's name.
  virtual Result<std::optional<VolumeInfo>> FindVolume(const std::string& name) = 0;
  virtual Result<std::optional<SnapshotInfo>> FindSnapshot(const std::string& name) = 0;
  virtual Result<std::optional<GroupInfo>> FindGroup(const std::string& name) = 0;
  // Sorted by id.
  virtual Result<std::vector<SnapshotInfo>> SnapshotsOf(const VolumeId& volume) = 0;
  virtual Result<std::vector<VolumeInfo>> ListVolumes() = 0;
  virtual Result<std::vector<SnapshotInfo>> ListSnapshots() = 0;
  // Sets (or with an empty value removes) the given tags, all at once; others stay.
  virtual Status TagVolume(const VolumeId& volume, const Tags& tags) = 0;
  virtual Status TagSnapshot(const SnapshotId& snapshot, const Tags& tags) = 0;

  // The two below answer ranges from from_offset on that were collected before they return: the
  // pool is not held while they are read, and whatever happens to the snapshots then changes
  // nothing about them. A snapshot that is removed while they are collected is either answered
  // whole or not at all.
  //
  // What may hold anything but zeros.
  virtual Result<std::unique_ptr<block::ExtentStream>> Allocated(const SnapshotId& snapshot,
                                                                 std::uint64_t from_offset) = 0;
  // What differs from base to target, both of one volume or base being the volume's origin.
  // kFailedPrecondition when the pool cannot say (other lineage): the caller reads everything.
  virtual Result<std::unique_ptr<block::ExtentStream>> Changed(const SnapshotId& base,
                                                               const SnapshotId& target,
                                                               std::uint64_t from_offset) = 0;

  // Bytes that the volume has space for, shared ones too; 0: nothing was ever written to it.
  virtual Result<std::uint64_t> Mapped(const VolumeId& volume) = 0;
  // What becomes free at least when all of these lose their device. Those without one count
  // nothing.
  virtual Result<std::uint64_t> Reclaimable(std::span<const SnapshotId> snapshots) = 0;

  // kNotFound; kFailedPrecondition when only the record is left; kAborted when it is being removed.
  virtual Result<std::unique_ptr<Pin>> PinVolume(const VolumeId& volume, Holder holder) = 0;
  virtual Result<std::unique_ptr<Pin>> PinSnapshot(const SnapshotId& snapshot, Holder holder) = 0;
  virtual Result<std::unique_ptr<Lease>> LeaseVolume(const VolumeId& volume, Holder holder) = 0;
  virtual Result<std::unique_ptr<Lease>> LeaseSnapshot(const SnapshotId& snapshot,
                                                       Holder holder) = 0;
};

}  // namespace thinsnap::pool
