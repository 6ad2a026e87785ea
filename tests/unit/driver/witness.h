// Witness: knows which bytes each volume of a simulated pool holds and held when it was cut, from
// what was written alone, so that whatever a driver answers and stores can be compared with it.
//
// All bytes are whole blocks of 64 KiB that follow from volume, block and version.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/block/block_device.h"
#include "base/core/bytes.h"
#include "csi/pool/thin_pool.h"
#include "snapshotter/repo/repository.h"

namespace thinsnap::driver {

inline constexpr std::uint64_t kBlock = 64 * kKiB;

// What one block holds: drawn from the number, of which each is given once.
using Version = std::uint64_t;
using Blocks = std::map<std::uint64_t, Version>;  // by number of the block; others are zeros

class Witness {
 public:
  // `pool`: an undisturbed view of what is watched.
  explicit Witness(pool::ThinPool& pool) : pool_(pool) {}

  // From here on the volume is known; a volume made of another starts with the bytes of that cut.
  void Know(const pool::VolumeId& volume, std::shared_ptr<const Blocks> blocks);
  void Forget(const pool::VolumeId& volume) { volumes_.erase(volume); }
  // Fills one block anew; `random_bytes` of it do not compress.
  void Write(const pool::VolumeId& volume, std::uint64_t block, std::size_t random_bytes);
  void Discard(const pool::VolumeId& volume, std::uint64_t block);

  // Before each verb of the pool: a cut is of what is known now.
  void Before(std::string_view verb);
  // What the volume held then; null for cuts of volumes that are not known.
  std::shared_ptr<const Blocks> AtCut(const pool::SnapshotId& snapshot);

  // Whether every byte of the device is as it should be.
  static Status CheckDevice(block::BlockDevice& device, const Blocks& blocks);
  Status CheckVolume(const pool::VolumeId& volume);
  // Restores the point and compares. kDataLoss where it differs.
  static Status CheckPoint(repo::Repository& repository, Runtime& runtime,
                           const repo::PointInfo& point, const Blocks& blocks);

 private:
  void FindNewCuts();

  pool::ThinPool& pool_;
  Version last_version_ = 0;
  std::map<pool::VolumeId, std::shared_ptr<const Blocks>> volumes_, at_last_cut_;
  bool cutting_ = false;
  std::map<pool::SnapshotId, std::shared_ptr<const Blocks>> cuts_;
};

}  // namespace thinsnap::driver
