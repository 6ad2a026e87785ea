// ThinPool: the one interface to thin storage, in the verbs of the field. All state lives with the
// volumes themselves (tags), so a node survives reinstallation.
//
// Vocabulary
//   Pool      thin space of one node, with a random id of 13 base32 characters written into it at
//   first use. Volume    a thin device; named by a ULID, found by the caller's name in a tag.
//   Snapshot  a read-only point in time of a volume; it outlives its volume.
//   Tag       a small key and value stored with a volume or snapshot, atomically with its creation.
//   Pin       keeps a volume or snapshot from removal and from losing its device (csi/pool/pins.h).
//   Lease     a pin with the device: open to read and write, or as a node of the host.
//
// What LVM does for a verb
//   Create, Snapshot   lvcreate with the tags, in one commit; -s without -L cuts, and suspends an
//                      active origin by itself. Ids and names are tags: LVM's names are narrower.
//   Lease              lvchange -ay -K; Node() is /dev/dm-N once udev has settled. The last lease
//                      runs lvchange -an; one that fails is repeated in the background.
//   Remove             lvremove, which the kernel refuses too while somebody has the device open.
//   DropDevice         the record goes to the pool's volume of records first, then lvremove.
//   Allocated, Changed the pool's metadata, read under one reserve_metadata_snap for all who wait.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
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
  Tags tags;
};

struct PoolStatus {
  PoolId id;
  std::uint64_t size_bytes = 0, free_bytes = 0;
  std::uint64_t grain_bytes = 1;  // sizes of volumes are rounded up to it
  std::uint64_t metadata_size_bytes = 0,
                metadata_free_bytes = 0;      // 0: the pool has none of its own
  std::uint64_t snapshot_overhead_bytes = 0;  // held by snapshots alone; 0 where unknown
  // What a guard still lets be written, and the largest volume that it would let be made; nullopt
  // without a guard.
  std::optional<std::uint64_t> room_bytes, largest_volume_bytes;
  bool healthy = true;
  std::string reason;  // why not
};

// What stands still while a snapshot is cut. Freeze returns once no write is in flight; Thaw always
// follows, also when the cut fails. csi/mount has the one that freezes mounts (with a watchdog);
// pools that suspend by themselves ignore it. It must not call back into the pool.
class Quiesce {
 public:
  virtual ~Quiesce() = default;
  virtual Status Freeze(const VolumeId& volume) = 0;
  virtual Status Thaw(const VolumeId& volume) = 0;
};

struct CreateRequest {
  std::string name;
  std::uint64_t size_bytes = 0;      // rounded up to the pool's grain
  std::optional<SnapshotId> source;  // a clone of it; at least its size
  Tags tags;
  std::uint64_t fill_bytes = 0;  // what is about to be written: there has to be room for it
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

// Thread-safe, blocking. Repeating a call that succeeded is harmless and answers the same.
// Everything is durable when it returns. Codes: kNotFound; kAlreadyExists when the name stands for
// something else (what is said); kResourceExhausted when the guard refuses, with the figures;
// kFailedPrecondition in use; kUnavailable when the pool does not answer.
class ThinPool {
 public:
  virtual ~ThinPool() = default;

  virtual Result<PoolStatus> GetStatus() = 0;

  // The same name with the same size and source answers the existing volume.
  virtual Result<VolumeInfo> Create(const CreateRequest& request) = 0;
  virtual Result<SnapshotInfo> Snapshot(const SnapshotRequest& request, Quiesce& quiesce) = 0;
  // All or none, at one instant.
  virtual Result<std::vector<SnapshotInfo>> SnapshotGroup(
      const std::vector<SnapshotRequest>& requests, Quiesce& quiesce) = 0;
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
  // Sorted by id.
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

  // kNotFound; kFailedPrecondition when only the record is left; kAborted when it is being removed.
  virtual Result<std::unique_ptr<Pin>> PinVolume(const VolumeId& volume, Holder holder) = 0;
  virtual Result<std::unique_ptr<Pin>> PinSnapshot(const SnapshotId& snapshot, Holder holder) = 0;
  virtual Result<std::unique_ptr<Lease>> LeaseVolume(const VolumeId& volume, Holder holder) = 0;
  virtual Result<std::unique_ptr<Lease>> LeaseSnapshot(const SnapshotId& snapshot,
                                                       Holder holder) = 0;
};

}  // namespace thinsnap::pool
