// Segment: 1 MiB of a volume, the unit that a worker of an export handles at once. Records never
// cross one.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/core/bytes.h"
#include "snapshotter/repo/map_node.h"

namespace thinsnap::mover {

inline constexpr unsigned kSegmentBlocks = repo::kRecordBlocks;

// A record that an interrupted export left behind.
struct LeftRecord {
  std::uint64_t first_block = 0;
  repo::RecordPlace place;
  std::vector<repo::Fingerprint> fingerprints;
};

struct Segment {
  std::uint64_t sequence = 0;
  std::uint64_t first_block = 0;
  std::uint16_t wanted = 0;                // bit i: block i is to be read
  std::shared_ptr<const repo::Leaf> base;  // the base's leaf around it; null: holes
  std::vector<std::shared_ptr<const LeftRecord>> left;
};

// Where one block is stored.
struct BlockPlace {
  repo::RecordPlace place;
  std::uint8_t index = 0;  // of the block in its record
  std::uint8_t record_blocks = 0;
};

struct BlockOutcome {
  enum class Fate : std::uint8_t {
    kUntouched,  // not read
    kHole,       // read, and zero
    kSame,       // as in the base
    kLeft,       // as an interrupted export stored it: `place`
    kNew,        // in one of the runs
  };
  Fate fate = Fate::kUntouched;
  repo::Fingerprint fingerprint{};
  BlockPlace place;
};

// Neighbouring new blocks, compressed.
struct NewRun {
  unsigned first = 0;
  unsigned count = 0;
  Bytes payload;
};

struct SegmentResult {
  std::uint64_t sequence = 0;
  std::uint64_t first_block = 0;
  std::shared_ptr<const repo::Leaf> base;
  std::array<BlockOutcome, kSegmentBlocks> blocks;
  std::vector<NewRun> runs;
  std::uint64_t read_bytes = 0;
};

}  // namespace thinsnap::mover
