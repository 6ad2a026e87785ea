#include "simulator/pool/block_tree.h"

#include <algorithm>
#include <cstring>

namespace thinsnap::pool {

struct BlockTree::Chunk {
  explicit Chunk(std::shared_ptr<ChunkBudget> owner) : budget(std::move(owner)) { ++budget->used; }
  Chunk(const Chunk& other) : budget(other.budget), bytes(other.bytes) { ++budget->used; }
  Chunk& operator=(const Chunk&) = delete;
  ~Chunk() { --budget->used; }

  std::shared_ptr<ChunkBudget> budget;
  std::array<std::uint8_t, kChunkBytes> bytes{};
};

// A child is a Node, or at level 0 a Chunk.
struct BlockTree::Node {
  std::array<Slot, 1U << kFanoutBits> children;
};

namespace {

std::size_t SlotAt(std::uint64_t index, int level) {
  return static_cast<std::size_t>((index >> (6 * level)) & 63);
}

}  // namespace

// Joins neighbouring chunks to one extent.
class BlockTree::Joiner {
 public:
  explicit Joiner(const block::ExtentVisitor& visit) : visit_(visit) {}

  Status Add(std::uint64_t chunk) {
    if (open_.length != 0 && open_.end() == chunk * kChunkBytes) {
      open_.length += kChunkBytes;
      return {};
    }
    TRY(Finish());
    open_ = {chunk * kChunkBytes, kChunkBytes};
    return {};
  }

  Status Finish() {
    if (open_.length == 0) return {};
    const block::Extent extent = std::exchange(open_, {});
    return visit_(extent);
  }

 private:
  const block::ExtentVisitor& visit_;
  block::Extent open_;
};

const BlockTree::Chunk* BlockTree::FindChunk(std::uint64_t index) const {
  const Node* node = root_.get();
  for (int level = kLevels - 1; level > 0 && node != nullptr; --level) {
    node = static_cast<const Node*>(node->children[SlotAt(index, level)].get());
  }
  return node == nullptr ? nullptr
                         : static_cast<const Chunk*>(node->children[SlotAt(index, 0)].get());
}

Result<BlockTree::Chunk*> BlockTree::OwnChunk(std::uint64_t index) {
  if (index >> (kFanoutBits * kLevels) != 0) {
    return Error(Code::kOutOfRange, "beyond the largest device of 64 TiB");
  }
  if (root_ == nullptr) {
    root_ = std::make_shared<Node>();
  } else if (root_.use_count() > 1) {
    root_ = std::make_shared<Node>(*root_);
  }
  Node* node = root_.get();
  for (int level = kLevels - 1; level > 0; --level) {
    Slot& slot = node->children[SlotAt(index, level)];
    if (slot == nullptr) {
      slot = std::make_shared<Node>();
    } else if (slot.use_count() > 1) {
      slot = std::make_shared<Node>(*static_cast<Node*>(slot.get()));
    }
    node = static_cast<Node*>(slot.get());
  }
  Slot& slot = node->children[SlotAt(index, 0)];
  if (slot != nullptr && slot.use_count() == 1) return static_cast<Chunk*>(slot.get());
  if (budget_->used >= budget_->capacity) {
    return Error(
        Code::kResourceExhausted,
        "the pool is full: all " + std::to_string(budget_->capacity) + " chunks are taken");
  }
  auto fresh = slot == nullptr ? std::make_shared<Chunk>(budget_)
                               : std::make_shared<Chunk>(*static_cast<Chunk*>(slot.get()));
  Chunk* chunk = fresh.get();
  slot = std::move(fresh);
  return chunk;
}

void BlockTree::DropChunk(std::uint64_t index) {
  if (FindChunk(index) == nullptr) return;
  if (root_.use_count() > 1) root_ = std::make_shared<Node>(*root_);
  Node* node = root_.get();
  for (int level = kLevels - 1; level > 0; --level) {
    Slot& slot = node->children[SlotAt(index, level)];
    if (slot.use_count() > 1) slot = std::make_shared<Node>(*static_cast<Node*>(slot.get()));
    node = static_cast<Node*>(slot.get());
  }
  node->children[SlotAt(index, 0)].reset();
}

void BlockTree::Read(std::uint64_t offset, MutableByteSpan into) const {
  while (!into.empty()) {
    const std::uint64_t inside = offset % kChunkBytes;
    const std::size_t n = std::min<std::size_t>(into.size(), kChunkBytes - inside);
    if (const Chunk* chunk = FindChunk(offset / kChunkBytes)) {
      std::memcpy(into.data(), chunk->bytes.data() + inside, n);
    } else {
      std::memset(into.data(), 0, n);
    }
    into = into.subspan(n);
    offset += n;
  }
}

Status BlockTree::Write(std::uint64_t offset, ByteSpan bytes) {
  while (!bytes.empty()) {
    const std::uint64_t inside = offset % kChunkBytes;
    const std::size_t n = std::min<std::size_t>(bytes.size(), kChunkBytes - inside);
    Chunk* chunk = TRY(OwnChunk(offset / kChunkBytes));
    std::memcpy(chunk->bytes.data() + inside, bytes.data(), n);
    bytes = bytes.subspan(n);
    offset += n;
  }
  return {};
}

Status BlockTree::Discard(std::uint64_t offset, std::uint64_t length) {
  while (length > 0) {
    const std::uint64_t inside = offset % kChunkBytes;
    const std::uint64_t n = std::min(length, kChunkBytes - inside);
    const std::uint64_t index = offset / kChunkBytes;
    if (n == kChunkBytes) {
      DropChunk(index);
    } else if (FindChunk(index) != nullptr) {
      Chunk* chunk = TRY(OwnChunk(index));
      std::memset(chunk->bytes.data() + inside, 0, n);
    }
    offset += n;
    length -= n;
  }
  return {};
}

Status BlockTree::Diff(const Node* base, const Node* target, int level, std::uint64_t first,
                       Joiner& joiner) {
  if (base == target) return {};
  for (std::size_t i = 0; i < (1U << kFanoutBits); ++i) {
    const void* before = base == nullptr ? nullptr : base->children[i].get();
    const void* after = target == nullptr ? nullptr : target->children[i].get();
    if (before == after) continue;
    const std::uint64_t index = first + (static_cast<std::uint64_t>(i) << (kFanoutBits * level));
    if (level == 0) {
      TRY(joiner.Add(index));
    } else {
      TRY(Diff(static_cast<const Node*>(before), static_cast<const Node*>(after), level - 1, index,
               joiner));
    }
  }
  return {};
}

Status BlockTree::VisitAllocated(const block::ExtentVisitor& visit) const {
  Joiner joiner(visit);
  TRY(Diff(nullptr, root_.get(), kLevels - 1, 0, joiner));
  return joiner.Finish();
}

Status BlockTree::VisitChanged(const BlockTree& base, const block::ExtentVisitor& visit) const {
  Joiner joiner(visit);
  TRY(Diff(base.root_.get(), root_.get(), kLevels - 1, 0, joiner));
  return joiner.Finish();
}

void BlockTree::AddChunks(const Node* node, int level, std::set<const void*>& chunks) {
  if (node == nullptr) return;
  for (const Slot& child : node->children) {
    if (child == nullptr) continue;
    if (level == 0) {
      chunks.insert(child.get());
    } else {
      AddChunks(static_cast<const Node*>(child.get()), level - 1, chunks);
    }
  }
}

void BlockTree::AddChunks(std::set<const void*>& chunks) const {
  AddChunks(root_.get(), kLevels - 1, chunks);
}

}  // namespace thinsnap::pool
