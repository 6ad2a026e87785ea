#include "snapshotter/repo/map_node.h"

#include <algorithm>

#include "snapshotter/repo/wire.h"

namespace thinsnap::repo {
namespace {

struct PackRef {
  PackId id;
  std::uint32_t epoch = 0;
  auto operator<=>(const PackRef&) const = default;
};

// The packs that a node names, once each, in the order of first use.
class PackList {
 public:
  std::size_t IndexOf(const RecordPlace& place) {
    const PackRef wanted{place.pack, place.epoch};
    const auto found = std::find(packs_.begin(), packs_.end(), wanted);
    if (found != packs_.end()) return static_cast<std::size_t>(found - packs_.begin());
    packs_.push_back(wanted);
    return packs_.size() - 1;
  }
  void AppendTo(Bytes& to) const {
    AppendVarint(to, packs_.size());
    for (const PackRef& pack : packs_) {
      Append(to, pack.id.bytes);
      AppendVarint(to, pack.epoch);
    }
  }
  void Read(WireReader& reader) {
    packs_.resize(reader.Count(17, kFanOut));
    for (PackRef& pack : packs_) {
      reader.Fill(pack.id.bytes);
      pack.epoch = static_cast<std::uint32_t>(reader.Varint(UINT32_MAX));
    }
  }
  std::size_t size() const { return packs_.size(); }
  const PackRef& at(std::size_t i) const { return packs_[i]; }

 private:
  std::vector<PackRef> packs_;
};

void AppendPlace(Bytes& to, PackList& packs, const RecordPlace& place) {
  AppendVarint(to, packs.IndexOf(place));
  AppendVarint(to, place.offset);
  AppendVarint(to, place.length);
}

RecordPlace ReadPlace(WireReader& reader, const PackList& packs) {
  RecordPlace place;
  const std::uint64_t index = reader.Varint();
  if (index >= packs.size()) {
    reader.Fail();
    return place;
  }
  place.pack = packs.at(index).id;
  place.epoch = packs.at(index).epoch;
  place.offset = static_cast<std::uint32_t>(reader.Varint(kPackMaxBytes));
  place.length = static_cast<std::uint32_t>(reader.Varint(kPackMaxBytes));
  if (place.length <= kTagBytes || place.offset + place.length > kPackMaxBytes) reader.Fail();
  return place;
}

void AppendHead(Bytes& to, int level, std::uint64_t first_block, std::uint64_t stored_blocks) {
  to.push_back(static_cast<std::uint8_t>(level));
  AppendVarint(to, first_block);
  AppendVarint(to, stored_blocks);
}

Status CheckHead(WireReader& reader, int level, std::uint64_t first_block,
                 std::uint64_t stored_blocks) {
  const int found_level = reader.U8();
  const std::uint64_t found_block = reader.Varint();
  const std::uint64_t found_stored = reader.Varint();
  if (reader.ok() && found_level == level && found_block == first_block &&
      found_stored == stored_blocks) {
    return {};
  }
  return Error(Code::kDataLoss,
               "a map node says it is level " + std::to_string(found_level) + ", block " +
                   std::to_string(found_block) + ", " + std::to_string(found_stored) +
                   " stored; expected here: level " + std::to_string(level) + ", block " +
                   std::to_string(first_block) + ", " + std::to_string(stored_blocks));
}

Error NotWellFormed(std::uint64_t first_block) {
  return Error(Code::kDataLoss,
               "the map node of block " + std::to_string(first_block) + " is not well formed");
}

}  // namespace

const MapExtent* Leaf::ExtentAt(unsigned position) const {
  for (const MapExtent& extent : extents) {
    if (position < extent.position) return nullptr;
    if (position < unsigned{extent.position} + extent.count) return &extent;
  }
  return nullptr;
}

std::uint64_t InnerNode::stored_blocks() const {
  std::uint64_t sum = 0;
  for (const auto& child : children) sum += child ? child->stored_blocks : 0;
  return sum;
}

Bytes EncodeLeaf(const Leaf& leaf) {
  Bytes places;
  PackList packs;
  for (const MapExtent& extent : leaf.extents) {
    places.push_back(extent.position);
    places.push_back(extent.count);
    places.push_back(extent.record_first);
    places.push_back(extent.record_blocks);
    AppendPlace(places, packs, extent.place);
  }
  Bytes bytes;
  AppendHead(bytes, 0, leaf.first_block, leaf.stored_blocks());
  packs.AppendTo(bytes);
  AppendVarint(bytes, leaf.extents.size());
  Append(bytes, places);
  for (unsigned i = 0; i < kFanOut; ++i) {
    if (leaf.Has(i)) Append(bytes, leaf.fingerprints[i]);
  }
  return bytes;
}

Result<Leaf> ParseLeaf(ByteSpan bytes, std::uint64_t first_block, std::uint64_t stored_blocks) {
  WireReader reader(bytes);
  TRY(CheckHead(reader, 0, first_block, stored_blocks));
  Leaf leaf;
  leaf.first_block = first_block;
  PackList packs;
  packs.Read(reader);
  leaf.extents.resize(reader.Count(7, kFanOut));
  unsigned next = 0;
  for (MapExtent& extent : leaf.extents) {
    extent.position = reader.U8();
    extent.count = reader.U8();
    extent.record_first = reader.U8();
    extent.record_blocks = reader.U8();
    extent.place = ReadPlace(reader, packs);
    const bool sane = extent.position >= next && extent.count > 0 &&
                      extent.position + extent.count <= int{kFanOut} &&
                      extent.record_blocks <= kRecordBlocks &&
                      extent.record_first + extent.count <= int{extent.record_blocks};
    if (!reader.ok() || !sane) return NotWellFormed(first_block);
    next = unsigned{extent.position} + extent.count;
    for (unsigned i = extent.position; i < next; ++i) leaf.stored |= std::uint64_t{1} << i;
  }
  for (unsigned i = 0; i < kFanOut; ++i) {
    if (leaf.Has(i)) reader.Fill(leaf.fingerprints[i]);
  }
  if (!reader.done() || leaf.stored_blocks() != stored_blocks) return NotWellFormed(first_block);
  return leaf;
}

Bytes EncodeInnerNode(const InnerNode& node) {
  Bytes places;
  PackList packs;
  std::uint64_t present = 0;
  for (unsigned i = 0; i < kFanOut; ++i) {
    const auto& child = node.children[i];
    if (!child) continue;
    present |= std::uint64_t{1} << i;
    AppendPlace(places, packs, child->place);
    places.push_back(child->index);
    AppendVarint(places, child->stored_blocks);
  }
  Bytes bytes;
  AppendHead(bytes, node.level, node.first_block, node.stored_blocks());
  packs.AppendTo(bytes);
  AppendLe(bytes, present);
  Append(bytes, places);
  return bytes;
}

Result<InnerNode> ParseInnerNode(ByteSpan bytes, int level, std::uint64_t first_block,
                                 std::uint64_t stored_blocks) {
  WireReader reader(bytes);
  TRY(CheckHead(reader, level, first_block, stored_blocks));
  InnerNode node;
  node.level = level;
  node.first_block = first_block;
  PackList packs;
  packs.Read(reader);
  const std::uint64_t present = reader.U64();
  const std::uint64_t below = BlocksOfLevel(level - 1);
  for (unsigned i = 0; i < kFanOut && reader.ok(); ++i) {
    if (((present >> i) & 1) == 0) continue;
    NodeRef ref;
    ref.place = ReadPlace(reader, packs);
    ref.index = reader.U8();
    ref.stored_blocks = reader.Varint(below);
    if (ref.index >= kMapRecordNodes || ref.stored_blocks == 0) reader.Fail();
    node.children[i] = ref;
  }
  if (!reader.done() || node.stored_blocks() != stored_blocks) return NotWellFormed(first_block);
  return node;
}

Bytes JoinNodes(std::span<const Bytes> nodes) {
  ASSERT(!nodes.empty() && nodes.size() <= kMapRecordNodes);
  Bytes bytes;
  bytes.push_back(static_cast<std::uint8_t>(nodes.size()));
  for (const Bytes& node : nodes) AppendSized(bytes, node);
  ASSERT(bytes.size() <= kMapRecordMaxBytes);
  return bytes;
}

Result<std::vector<Bytes>> SplitNodes(ByteSpan bytes) {
  WireReader reader(bytes);
  std::vector<Bytes> nodes(std::min<std::size_t>(reader.U8(), kMapRecordNodes));
  for (Bytes& node : nodes) {
    const ByteSpan found = reader.Sized();
    node.assign(found.begin(), found.end());
  }
  if (!reader.done() || nodes.empty()) {
    return Error(Code::kDataLoss, "the map record is not well formed");
  }
  return nodes;
}

}  // namespace thinsnap::repo
