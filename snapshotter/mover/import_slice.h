// One slice of a restore: what is to be fetched, in which requests, and doing it.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "base/block/block_device.h"
#include "base/core/guarded.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "snapshotter/mover/transfer.h"
#include "snapshotter/repo/map_reader.h"
#include "snapshotter/repo/repository.h"

namespace thinsnap::mover {

inline constexpr std::uint64_t kSliceBlocks = 64 * kGiB / repo::kBlockBytes;
inline constexpr std::uint32_t kGapBytes = 1 * kMiB;

// Neighbouring blocks of one record; 24 bytes, since a slice may hold a million.
struct Piece {
  std::uint32_t pack = 0;    // index into SlicePlan::packs
  std::uint32_t offset = 0;  // of the record
  std::uint32_t length = 0;
  std::uint32_t block = 0;        // the first one, from the slice's first
  std::uint32_t fingerprint = 0;  // index of its first block's
  std::uint8_t count = 0;
  std::uint8_t record_first = 0;
  std::uint8_t record_blocks = 0;
};

struct SlicePack {
  repo::PackId id;
  std::uint32_t epoch = 0;
};

// Pieces [first, end) of one pack, fetched with one request.
struct Share {
  std::size_t first = 0;
  std::size_t end = 0;
};

struct SlicePlan {
  std::uint64_t first_block = 0;
  std::vector<SlicePack> packs;
  std::vector<Piece> pieces;  // by pack (in the order of first use) and offset
  std::vector<repo::Fingerprint> fingerprints;
  std::vector<Share> shares;
  std::vector<block::Extent> holes;  // bytes of the volume; the last may reach past its end
};

// Thread-safe.
class ImportMeter {
 public:
  ImportMeter(Runtime& runtime, const ProgressCallback& progress, std::uint64_t total_bytes)
      : runtime_(runtime), progress_(progress), total_(total_bytes) {}
  void Add(std::uint64_t bytes);
  void Finish();

 private:
  Runtime& runtime_;
  const ProgressCallback& progress_;
  const std::uint64_t total_;
  std::mutex mutex_;
  std::uint64_t done_ GUARDED_BY(mutex_) = 0;
  MonoTime reported_ GUARDED_BY(mutex_){};
};

Result<SlicePlan> PlanSlice(repo::MapReader& map, std::uint64_t first_block,
                            std::uint64_t end_block);
// Makes the shares of the pieces there are.
void CutShares(SlicePlan& plan);
Status DiscardHoles(const SlicePlan& plan, std::uint64_t size_bytes, block::BlockDevice& target);
Status FetchSlice(repo::Repository& repository, Runtime& runtime, const SlicePlan& plan,
                  std::uint64_t size_bytes, block::BlockDevice& target, ImportMeter& meter);

}  // namespace thinsnap::mover
