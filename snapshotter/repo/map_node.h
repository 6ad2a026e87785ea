// The nodes of the map and their bytes. A leaf says for each of 64 neighbouring blocks where it is
// stored and what its fingerprint is, or that it is a hole; a node says where 64 nodes of the level
// below are. A node states its level, first block and number of stored blocks, and is refused where
// others were expected.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/result.h"
#include "snapshotter/repo/format.h"

namespace thinsnap::repo {

// Neighbouring blocks of a leaf that come from one record.
struct MapExtent {
  std::uint8_t position = 0;       // of the first block, in the leaf
  std::uint8_t count = 0;          // blocks
  std::uint8_t record_first = 0;   // which block of the record is the first one
  std::uint8_t record_blocks = 0;  // blocks in the record
  RecordPlace place;
  auto operator<=>(const MapExtent&) const = default;
};

struct Leaf {
  std::uint64_t first_block = 0;
  std::uint64_t stored = 0;                         // bit i: block i is not a hole
  std::vector<MapExtent> extents;                   // ascending, together exactly the stored blocks
  std::array<Fingerprint, kFanOut> fingerprints{};  // zero for holes
  bool operator==(const Leaf&) const = default;

  std::uint64_t stored_blocks() const {
    return static_cast<std::uint64_t>(__builtin_popcountll(stored));
  }
  bool Has(unsigned position) const { return ((stored >> position) & 1) != 0; }
  const MapExtent* ExtentAt(unsigned position) const;
};

struct NodeRef {
  RecordPlace place;
  std::uint8_t index = 0;           // which node of the map record
  std::uint64_t stored_blocks = 0;  // below it; never 0
  auto operator<=>(const NodeRef&) const = default;
};

struct InnerNode {
  int level = 1;
  std::uint64_t first_block = 0;
  std::array<std::optional<NodeRef>, kFanOut> children;  // absent: all holes
  bool operator==(const InnerNode&) const = default;

  std::uint64_t stored_blocks() const;
};

Bytes EncodeLeaf(const Leaf& leaf);
Bytes EncodeInnerNode(const InnerNode& node);
// kDataLoss unless well formed and what `ref` speaks of at that place.
Result<Leaf> ParseLeaf(ByteSpan bytes, std::uint64_t first_block, std::uint64_t stored_blocks);
Result<InnerNode> ParseInnerNode(ByteSpan bytes, int level, std::uint64_t first_block,
                                 std::uint64_t stored_blocks);

// A map record's content: 1 to 16 encoded nodes.
Bytes JoinNodes(std::span<const Bytes> nodes);
Result<std::vector<Bytes>> SplitNodes(ByteSpan bytes);
inline constexpr std::size_t kMapRecordMaxBytes = 64 * kKiB;

}  // namespace thinsnap::repo
