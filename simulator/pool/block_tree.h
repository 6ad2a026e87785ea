// BlockTree: the bytes of a thin device in memory, copied on write by chunk. A copy shares
// everything with its source; what two trees share is found by comparing pointers, so their
// difference costs in proportion to the change.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <set>

#include "base/block/block_device.h"
#include "base/core/bytes.h"
#include "base/core/result.h"

namespace thinsnap::pool {

inline constexpr std::uint64_t kChunkBytes = 64 * kKiB;

// How many chunks a pool holds and may hold; counted by the chunks themselves.
struct ChunkBudget {
  std::uint64_t capacity = 0;
  std::atomic<std::uint64_t> used{0};
};

// Copying is O(1). Not thread-safe; copies may live in different threads only under one lock.
class BlockTree {
 public:
  explicit BlockTree(std::shared_ptr<ChunkBudget> budget) : budget_(std::move(budget)) {}

  // Holes read as zeros.
  void Read(std::uint64_t offset, MutableByteSpan into) const;
  // kResourceExhausted when a chunk has to be taken and none is left; what was written before
  // stays.
  Status Write(std::uint64_t offset, ByteSpan bytes);
  // Whole chunks become holes, the rest zeros.
  Status Discard(std::uint64_t offset, std::uint64_t length);

  // By chunk, neighbours joined.
  Status VisitAllocated(const block::ExtentVisitor& visit) const;
  Status VisitChanged(const BlockTree& base, const block::ExtentVisitor& visit) const;
  // The chunks that it holds, shared ones too: equal pointers are the same chunk.
  void AddChunks(std::set<const void*>& chunks) const;

 private:
  static constexpr int kFanoutBits = 6;
  static constexpr int kLevels = 5;  // 64^5 chunks: 64 TiB
  struct Chunk;
  struct Node;
  using Slot = std::shared_ptr<void>;
  class Joiner;

  const Chunk* FindChunk(std::uint64_t index) const;
  // The chunk for writing, alone owned by this tree.
  Result<Chunk*> OwnChunk(std::uint64_t index);
  void DropChunk(std::uint64_t index);
  static void AddChunks(const Node* node, int level, std::set<const void*>& chunks);
  static Status Diff(const Node* base, const Node* target, int level, std::uint64_t first,
                     Joiner& joiner);

  std::shared_ptr<ChunkBudget> budget_;
  std::shared_ptr<Node> root_;
};

}  // namespace thinsnap::pool
