// MapWriter: makes the map of a new point from its leaves, given in ascending order, and keeps its
// pack table exact. Nodes that did not change are shared with the base.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/core/random.h"
#include "base/core/result.h"
#include "snapshotter/repo/map_reader.h"
#include "snapshotter/repo/pack.h"
#include "snapshotter/repo/pack_table.h"
#include "snapshotter/repo/record.h"

namespace thinsnap::repo {

// Not thread-safe.
class MapWriter {
 public:
  // Takes a finished map pack to the store.
  using Emit = std::function<Status(FinishedPack)>;
  // base: null if there is none. patch: what is not put stays as in the base (else it becomes a
  // hole), and base_table is the base's.
  MapWriter(const Keyring& keyring, Random& random, std::uint64_t size_bytes, MapReader* base,
            bool patch, const PackTable& base_table, Emit emit);

  // A leaf that differs from the base's (`before`, null if that is a hole). Without stored blocks
  // it becomes a hole.
  Status PutLeaf(const Leaf& leaf, const Leaf* before);
  // Not when patching: the leaf is the base's.
  Status ShareLeaf(const Leaf& leaf, const NodeRef& ref);
  // Ends the tree. Its root's stored blocks are what the table adds up to, or kInternal.
  Result<MapRoot> Finish();

  PackTable& table() { return table_; }
  // After Finish: stores an encoded table as pieces in map packs.
  Result<std::vector<RecordPlace>> WriteTable(ByteSpan encoded);
  // Last: emits the pack under construction.
  Status Flush();

 private:
  struct OpenNode {
    bool open = false;
    InnerNode node;
    std::shared_ptr<const InnerNode> before;
    std::optional<NodeRef> before_ref;
  };
  struct PendingNode {
    NodeHome home;
    std::uint64_t stored_blocks = 0;
    Bytes bytes;
  };

  Status OpenPath(std::uint64_t block);
  Status OpenNodeAt(int level, std::uint64_t first_block);
  Status CloseUpTo(int level);
  Status CloseNode(int level);
  Status AddPending(int level, std::uint64_t first_block, std::uint64_t stored_blocks, Bytes bytes);
  Status FlushPending(int level);
  void SetRef(int level, std::uint64_t first_block, std::optional<NodeRef> ref);
  Status MakeRoom(std::size_t payload_bytes, std::size_t units);
  void UseExtents(const Leaf& leaf);

  const Keyring& keyring_;
  Random& random_;
  const std::uint64_t size_bytes_;
  const int root_level_;
  MapReader* base_;
  const bool patch_;
  const Emit emit_;
  PackTable table_;
  RecordEncoder encoder_;
  std::optional<PackBuilder> builder_;
  std::array<OpenNode, kMaxLevel + 2> open_;
  std::array<std::vector<PendingNode>, kMaxLevel + 1> pending_;
  std::optional<NodeRef> root_;
  bool started_ = false;
  std::uint64_t next_block_ = 0;
};

}  // namespace thinsnap::repo
