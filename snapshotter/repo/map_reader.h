// MapReader: walks the map of one point. Fetches ranges of map packs with read-ahead, opens and
// checks every node.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/core/result.h"
#include "base/core/runtime.h"
#include "snapshotter/repo/keyring.h"
#include "snapshotter/repo/map_node.h"
#include "snapshotter/repo/record.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::repo {

struct MapRoot {
  std::uint64_t size_bytes = 0;
  std::optional<NodeRef> node;  // absent: nothing but holes
  int level() const { return RootLevel(size_bytes); }
  std::uint64_t stored_blocks() const { return node ? node->stored_blocks : 0; }
};

// Thread-safe (callers take turns). Holds at most about 16 MiB. kDataLoss names pack and node.
class MapReader {
 public:
  MapReader(store::ObjectStore& store, Runtime& runtime, const Keyring& keyring, MapRoot root);

  const MapRoot& root() const { return root_; }
  // Null: all holes. first_block is a multiple of what the level covers.
  Result<std::shared_ptr<const Leaf>> LeafAt(std::uint64_t first_block);
  Result<std::shared_ptr<const InnerNode>> NodeAt(int level, std::uint64_t first_block);
  // The reference that the tree has for that place; absent: all holes.
  Result<std::optional<NodeRef>> RefAt(int level, std::uint64_t first_block);

 private:
  struct Window {
    PackId pack;
    std::uint32_t offset = 0;
    Bytes bytes;
  };
  struct DecodedRecord {
    RecordPlace place;
    std::vector<Bytes> nodes;
  };
  class Turn;

  Result<std::optional<NodeRef>> Ref(int level, std::uint64_t first_block);
  Result<std::shared_ptr<const InnerNode>> Node(int level, std::uint64_t first_block);
  Result<ByteSpan> NodeBytes(int level, const NodeRef& ref);
  Result<const DecodedRecord*> Record(int level, const RecordPlace& place);
  Result<ByteSpan> Fetch(int level, const RecordPlace& place);

  store::ObjectStore& store_;
  const Keyring& keyring_;
  const MapRoot root_;
  Channel<char> turn_;
  RecordDecoder decoder_;
  std::list<Window> windows_;         // most recently used first
  std::list<DecodedRecord> records_;  // likewise
  std::set<PackId> packs_seen_;
  std::map<int, std::list<std::shared_ptr<const InnerNode>>> nodes_;
};

// Fetches, opens and decodes one map record that holds no nodes: a piece of a pack table.
Result<Bytes> ReadTablePiece(store::ObjectStore& store, const Keyring& keyring,
                             const RecordPlace& place);

}  // namespace thinsnap::repo
