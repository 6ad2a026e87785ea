#include "snapshotter/repo/map_writer.h"

#include <algorithm>
#include <utility>

namespace thinsnap::repo {

MapWriter::MapWriter(const Keyring& keyring, Random& random, std::uint64_t size_bytes,
                     MapReader* base, bool patch, const PackTable& base_table, Emit emit)
    : keyring_(keyring),
      random_(random),
      size_bytes_(size_bytes),
      root_level_(RootLevel(size_bytes)),
      base_(base),
      patch_(patch && base != nullptr),
      emit_(std::move(emit)) {
  if (!patch_) return;
  ASSERT(base_->root().size_bytes <= size_bytes_);
  table_ = base_table;
  if (root_level_ == base_->root().level()) root_ = base_->root().node;
}

void MapWriter::UseExtents(const Leaf& leaf) {
  for (const MapExtent& extent : leaf.extents) {
    table_.Use(PackKind::kData, extent.place, extent.count);
  }
}

Status MapWriter::PutLeaf(const Leaf& leaf, const Leaf* before) {
  TRY(OpenPath(leaf.first_block));
  if (patch_ && before != nullptr) {
    for (const MapExtent& extent : before->extents) table_.Release(extent.place, extent.count);
    const auto ref = TRY(base_->RefAt(0, leaf.first_block));
    ASSERT(ref.has_value());
    table_.Release(ref->place, 1);
  }
  if (leaf.stored == 0) {
    SetRef(0, leaf.first_block, std::nullopt);
    return {};
  }
  UseExtents(leaf);
  return AddPending(0, leaf.first_block, leaf.stored_blocks(), EncodeLeaf(leaf));
}

Status MapWriter::ShareLeaf(const Leaf& leaf, const NodeRef& ref) {
  ASSERT(!patch_);
  TRY(OpenPath(leaf.first_block));
  UseExtents(leaf);
  table_.Use(PackKind::kMap, ref.place, 1);
  // Nodes before this one are pending; the order of children does not depend on when their places
  // become known.
  SetRef(0, leaf.first_block, ref);
  return {};
}

Status MapWriter::OpenPath(std::uint64_t block) {
  ASSERT(block % kFanOut == 0 && block >= next_block_);
  next_block_ = block + kFanOut;
  if (!started_) {
    started_ = true;
    // A volume that grew past its base's root: the base hangs below the new levels.
    if (patch_ && root_level_ > base_->root().level()) {
      for (int level = root_level_; level >= 1; --level) TRY(OpenNodeAt(level, 0));
    }
  }
  for (int level = root_level_; level >= 1; --level) {
    const std::uint64_t first = block / BlocksOfLevel(level) * BlocksOfLevel(level);
    const OpenNode& open = open_[static_cast<std::size_t>(level)];
    if (open.open && open.node.first_block == first) continue;
    TRY(CloseUpTo(level));
    TRY(OpenNodeAt(level, first));
  }
  return {};
}

Status MapWriter::OpenNodeAt(int level, std::uint64_t first_block) {
  OpenNode& open = open_[static_cast<std::size_t>(level)];
  ASSERT(!open.open);
  open = {};
  open.open = true;
  open.node.level = level;
  open.node.first_block = first_block;
  if (base_ == nullptr) return {};
  open.before_ref = TRY(base_->RefAt(level, first_block));
  if (open.before_ref) open.before = TRY(base_->NodeAt(level, first_block));
  if (!patch_) return {};
  if (open.before != nullptr) {
    open.node = *open.before;
    table_.Release(open.before_ref->place, 1);
  } else if (level == base_->root().level() + 1 && first_block == 0) {
    open.node.children[0] = base_->root().node;
  }
  return {};
}

Status MapWriter::CloseUpTo(int level) {
  for (int i = 1; i <= level; ++i) TRY(CloseNode(i));
  return {};
}

Status MapWriter::CloseNode(int level) {
  OpenNode& open = open_[static_cast<std::size_t>(level)];
  if (!open.open) return {};
  TRY(FlushPending(level - 1));
  const std::uint64_t stored = open.node.stored_blocks();
  if (stored == 0) {
    SetRef(level, open.node.first_block, std::nullopt);
  } else if (open.before != nullptr && *open.before == open.node) {
    table_.Use(PackKind::kMap, open.before_ref->place, 1);
    SetRef(level, open.node.first_block, open.before_ref);
  } else {
    TRY(AddPending(level, open.node.first_block, stored, EncodeInnerNode(open.node)));
  }
  open = {};
  return {};
}

Status MapWriter::AddPending(int level, std::uint64_t first_block, std::uint64_t stored_blocks,
                             Bytes bytes) {
  auto& pending = pending_[static_cast<std::size_t>(level)];
  pending.push_back({{level, first_block}, stored_blocks, std::move(bytes)});
  if (pending.size() == kMapRecordNodes) return FlushPending(level);
  return {};
}

Status MapWriter::FlushPending(int level) {
  auto& pending = pending_[static_cast<std::size_t>(level)];
  if (pending.empty()) return {};
  std::vector<Bytes> nodes;
  std::vector<NodeHome> homes;
  for (PendingNode& node : pending) {
    nodes.push_back(std::move(node.bytes));
    homes.push_back(node.home);
  }
  const ByteSpan payload = encoder_.Encode(JoinNodes(nodes));
  TRY(MakeRoom(payload.size(), homes.size()));
  NodeRef ref;
  ref.place = builder_->AddNodes(payload, homes);
  table_.Use(PackKind::kMap, ref.place, static_cast<std::uint32_t>(homes.size()));
  for (std::size_t i = 0; i < pending.size(); ++i) {
    ref.index = static_cast<std::uint8_t>(i);
    ref.stored_blocks = pending[i].stored_blocks;
    SetRef(level, pending[i].home.first_block, ref);
  }
  pending.clear();
  return {};
}

void MapWriter::SetRef(int level, std::uint64_t first_block, std::optional<NodeRef> ref) {
  if (level == root_level_) {
    root_ = ref;
    return;
  }
  OpenNode& parent = open_[static_cast<std::size_t>(level) + 1];
  ASSERT(parent.open);
  const std::uint64_t covers = BlocksOfLevel(level + 1);
  ASSERT(parent.node.first_block == first_block / covers * covers);
  parent.node.children[first_block / BlocksOfLevel(level) % kFanOut] = ref;
}

Status MapWriter::MakeRoom(std::size_t payload_bytes, std::size_t units) {
  if (builder_ && !builder_->HasRoom(payload_bytes, units)) TRY(Flush());
  if (!builder_) builder_.emplace(keyring_, PackKind::kMap, random_);
  return {};
}

Status MapWriter::Flush() {
  if (!builder_ || builder_->empty()) return {};
  FinishedPack pack = std::move(*builder_).Finish();
  builder_.reset();
  table_.SetTotal(pack.id, pack.units);
  return emit_(std::move(pack));
}

Result<MapRoot> MapWriter::Finish() {
  if (patch_ && !started_ && root_level_ > base_->root().level() && base_->root().node) {
    TRY(OpenPath(0));
  }
  TRY(CloseUpTo(root_level_));
  TRY(FlushPending(root_level_));
  if (builder_) table_.SetTotal(builder_->id(), builder_->units());
  MapRoot root{size_bytes_, root_};
  if (root.stored_blocks() != table_.UsedBlocks()) {
    return Error(Code::kInternal, "the map's root counts " + std::to_string(root.stored_blocks()) +
                                      " stored blocks, the pack table " +
                                      std::to_string(table_.UsedBlocks()) +
                                      "; the point is not committed");
  }
  return root;
}

Result<std::vector<RecordPlace>> MapWriter::WriteTable(ByteSpan encoded) {
  std::vector<RecordPlace> places;
  constexpr std::size_t kPiece = kMapRecordMaxBytes;
  for (std::size_t start = 0; start < encoded.size(); start += kPiece) {
    const ByteSpan piece = encoded.subspan(start, std::min(kPiece, encoded.size() - start));
    const ByteSpan payload = encoder_.Encode(piece);
    TRY(MakeRoom(payload.size(), 0));
    places.push_back(builder_->AddTablePiece(payload));
  }
  return places;
}

}  // namespace thinsnap::repo
