#include "snapshotter/repo/map_reader.h"

#include <algorithm>
#include <utility>

namespace thinsnap::repo {
namespace {

constexpr std::uint32_t kWindowBytes = 1 * kMiB;
constexpr std::uint32_t kSmallWindowBytes = 256 * kKiB;  // when the map lies in many packs
constexpr std::size_t kFewPacks = 8;
constexpr std::size_t kWindowBudget = 10 * kMiB;
constexpr std::size_t kRecordsKept = 24;
constexpr std::size_t kNodesKept = 4;  // of each level

Error NotOpened(const RecordPlace& place) {
  return Error(Code::kDataLoss, "record at " + std::to_string(place.offset) + " of pack " +
                                    PackKey(PackKind::kMap, place.pack) +
                                    " is damaged: its seal does not open");
}

Result<Bytes> OpenRecord(const Keyring& keyring, RecordDecoder& decoder, const RecordPlace& place,
                         ByteSpan sealed, std::size_t max_bytes) {
  PackCipher cipher = TRY(keyring.ForPack(PackKind::kMap, place.pack, place.epoch));
  Bytes payload(sealed.size() - kTagBytes);
  if (!cipher.Open(SealKind::kMapRecord, place.offset, sealed, payload)) return NotOpened(place);
  return decoder.Decode(payload, max_bytes).In(PackKey(PackKind::kMap, place.pack));
}

}  // namespace

// One caller at a time, waiting through Runtime because a store request may run meanwhile.
class MapReader::Turn {
 public:
  explicit Turn(Channel<char>& channel) : channel_(channel) {}
  ~Turn() {
    if (taken_) channel_.Send(0).IgnoreError();  // there is room: we took the one item
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  Status Take() {
    const std::optional<char> token = TRY(channel_.Receive());
    ASSERT(token.has_value());
    taken_ = true;
    return {};
  }

 private:
  Channel<char>& channel_;
  bool taken_ = false;
};

MapReader::MapReader(store::ObjectStore& store, Runtime& runtime, const Keyring& keyring,
                     MapRoot root)
    : store_(store), keyring_(keyring), root_(root), turn_(runtime, 1) {
  turn_.Send(0).IgnoreError();  // an empty channel has room
}

Result<std::shared_ptr<const Leaf>> MapReader::LeafAt(std::uint64_t first_block) {
  Turn turn(turn_);
  TRY(turn.Take());
  const std::optional<NodeRef> ref = TRY(Ref(0, first_block));
  if (!ref) return std::shared_ptr<const Leaf>();
  const ByteSpan bytes = TRY(NodeBytes(0, *ref));
  Leaf leaf = TRY(ParseLeaf(bytes, first_block, ref->stored_blocks)
                      .In(PackKey(PackKind::kMap, ref->place.pack)));
  return std::make_shared<const Leaf>(std::move(leaf));
}

Result<std::shared_ptr<const InnerNode>> MapReader::NodeAt(int level, std::uint64_t first_block) {
  Turn turn(turn_);
  TRY(turn.Take());
  return Node(level, first_block);
}

Result<std::optional<NodeRef>> MapReader::RefAt(int level, std::uint64_t first_block) {
  Turn turn(turn_);
  TRY(turn.Take());
  return Ref(level, first_block);
}

Result<std::optional<NodeRef>> MapReader::Ref(int level, std::uint64_t first_block) {
  ASSERT(first_block % BlocksOfLevel(level) == 0);
  if (level > root_.level()) return std::optional<NodeRef>();
  if (level == root_.level()) return first_block == 0 ? root_.node : std::nullopt;
  const std::uint64_t parent_covers = BlocksOfLevel(level + 1);
  const auto parent = TRY(Node(level + 1, first_block / parent_covers * parent_covers));
  if (parent == nullptr) return std::optional<NodeRef>();
  return parent->children[first_block / BlocksOfLevel(level) % kFanOut];
}

Result<std::shared_ptr<const InnerNode>> MapReader::Node(int level, std::uint64_t first_block) {
  ASSERT(level >= 1);
  auto& kept = nodes_[level];
  for (auto it = kept.begin(); it != kept.end(); ++it) {
    if ((*it)->first_block != first_block) continue;
    kept.splice(kept.begin(), kept, it);
    return kept.front();
  }
  const std::optional<NodeRef> ref = TRY(Ref(level, first_block));
  if (!ref) return std::shared_ptr<const InnerNode>();
  const ByteSpan bytes = TRY(NodeBytes(level, *ref));
  const InnerNode node = TRY(ParseInnerNode(bytes, level, first_block, ref->stored_blocks)
                                 .In(PackKey(PackKind::kMap, ref->place.pack)));
  kept.push_front(std::make_shared<const InnerNode>(node));
  if (kept.size() > kNodesKept) kept.pop_back();
  return kept.front();
}

Result<ByteSpan> MapReader::NodeBytes(int level, const NodeRef& ref) {
  const DecodedRecord* record = TRY(Record(level, ref.place));
  if (ref.index >= record->nodes.size()) {
    return Error(Code::kDataLoss, "a map record of pack " +
                                      PackKey(PackKind::kMap, ref.place.pack) +
                                      " has fewer nodes than its parent says");
  }
  return ByteSpan(record->nodes[ref.index]);
}

Result<const MapReader::DecodedRecord*> MapReader::Record(int level, const RecordPlace& place) {
  for (auto it = records_.begin(); it != records_.end(); ++it) {
    if (it->place != place) continue;
    records_.splice(records_.begin(), records_, it);
    return &records_.front();
  }
  const ByteSpan sealed = TRY(Fetch(level, place));
  const Bytes joined = TRY(OpenRecord(keyring_, decoder_, place, sealed, kMapRecordMaxBytes));
  std::vector<Bytes> nodes = TRY(SplitNodes(joined).In(PackKey(PackKind::kMap, place.pack)));
  records_.push_front({place, std::move(nodes)});
  if (records_.size() > kRecordsKept) records_.pop_back();
  return &records_.front();
}

// Leaves are read onwards, since their neighbours follow; nodes are written after what is below
// them, so there the window ends with the record.
Result<ByteSpan> MapReader::Fetch(int level, const RecordPlace& place) {
  const std::uint32_t end = place.offset + place.length;
  for (auto it = windows_.begin(); it != windows_.end(); ++it) {
    if (it->pack != place.pack || it->offset > place.offset ||
        it->offset + it->bytes.size() < end) {
      continue;
    }
    windows_.splice(windows_.begin(), windows_, it);
    return ByteSpan(windows_.front().bytes).subspan(place.offset - it->offset, place.length);
  }
  packs_seen_.insert(place.pack);
  const std::uint32_t size =
      std::max(place.length, packs_seen_.size() <= kFewPacks ? kWindowBytes : kSmallWindowBytes);
  const std::uint32_t start = level == 0 ? place.offset : end - std::min(end, size);
  const std::uint32_t length = level == 0 ? size : end - start;
  const std::string key = PackKey(PackKind::kMap, place.pack);
  auto got = store_.Get(key, store::ByteRange{start, length});
  if (got.Is(Code::kNotFound) || got.Is(Code::kOutOfRange)) {
    return Error(Code::kDataLoss, "pack " + key + " is missing or cut off");
  }
  if (!got.ok()) return std::move(got).error().In("read " + key);
  if (got->bytes.size() < end - start) {
    return Error(Code::kDataLoss, "pack " + key + " ends before byte " + std::to_string(end));
  }
  std::size_t held = got->bytes.size();
  windows_.push_front({place.pack, start, std::move(got->bytes)});
  for (auto it = std::next(windows_.begin()); it != windows_.end();) {
    held += it->bytes.size();
    it = held > kWindowBudget ? windows_.erase(it) : std::next(it);
  }
  return ByteSpan(windows_.front().bytes).subspan(place.offset - start, place.length);
}

Result<Bytes> ReadTablePiece(store::ObjectStore& store, const Keyring& keyring,
                             const RecordPlace& place) {
  const std::string key = PackKey(PackKind::kMap, place.pack);
  auto got = store.Get(key, store::ByteRange{place.offset, place.length});
  if (got.Is(Code::kNotFound) || got.Is(Code::kOutOfRange)) {
    return Error(Code::kDataLoss, "pack " + key + " is missing or cut off");
  }
  if (!got.ok()) return std::move(got).error().In("read " + key);
  if (got->bytes.size() != place.length) {
    return Error(Code::kDataLoss, "pack " + key + " is cut off");
  }
  RecordDecoder decoder;
  return OpenRecord(keyring, decoder, place, got->bytes, kMapRecordMaxBytes);
}

}  // namespace thinsnap::repo
