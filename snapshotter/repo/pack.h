// Pack: bare records, a sealed trailer that says what they are, then in clear the checksum of each
// stripe and a tail. A pack is made in memory, put with one request, and never changes;
// docs/format.md has its bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/random.h"
#include "base/core/result.h"
#include "snapshotter/repo/format.h"
#include "snapshotter/repo/keyring.h"

namespace thinsnap::repo {

// Where a map node belongs in the tree.
struct NodeHome {
  int level = 0;
  std::uint64_t first_block = 0;
  auto operator<=>(const NodeHome&) const = default;
};

// One record as the trailer describes it.
struct TrailerRecord {
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
  // Data packs: the blocks from first_block on, one fingerprint for each.
  std::uint64_t first_block = 0;
  std::vector<Fingerprint> fingerprints;
  // Map packs: the nodes; none for a piece of a pack table.
  std::vector<NodeHome> nodes;
};

struct PackTrailer {
  std::vector<TrailerRecord> records;
  std::uint32_t units = 0;  // blocks or nodes
};

struct PackTail {
  PackId id;
  PackKind kind = PackKind::kData;
  Suite suite = Suite::kPlain;
  std::uint32_t epoch = 0;
  std::uint32_t trailer_offset = 0;
  std::uint32_t trailer_length = 0;
  std::uint32_t stripes = 0;
};

struct FinishedPack {
  PackId id;
  PackKind kind = PackKind::kData;
  std::uint32_t epoch = 0;
  std::uint32_t units = 0;
  std::uint32_t size = 0;
  std::uint32_t trailer_offset = 0;
  std::uint32_t trailer_length = 0;
  std::uint64_t first_block = 0;  // of its data records, which ascend
  std::uint64_t last_block = 0;
  Bytes buffer;  // the object is its first `size` bytes

  ByteSpan object() const { return ByteSpan(buffer).first(size); }
};

// Collects the records of one pack and seals them. Not thread-safe.
class PackBuilder {
 public:
  // `buffer` is reused; its content does not matter.
  PackBuilder(const Keyring& keyring, PackKind kind, Random& random, Bytes buffer = {});

  const PackId& id() const { return pack_.id; }
  bool empty() const { return record_count_ == 0; }
  std::uint32_t units() const { return pack_.units; }
  // Room for one more record of that payload and number of blocks or nodes. An empty pack has room
  // for any.
  bool HasRoom(std::size_t payload_bytes, std::size_t units) const;

  RecordPlace AddBlocks(ByteSpan payload, std::uint64_t first_block,
                        std::span<const Fingerprint> fingerprints);
  RecordPlace AddNodes(ByteSpan payload, std::span<const NodeHome> homes);
  RecordPlace AddTablePiece(ByteSpan payload);

  FinishedPack Finish() &&;

 private:
  RecordPlace Add(SealKind kind, ByteSpan payload);
  std::uint8_t* Grow(std::size_t bytes);

  Suite suite_;
  FinishedPack pack_;
  PackCipher cipher_;  // after the pack, whose id it is for
  Bytes trailer_;      // its records so far
  std::uint32_t record_count_ = 0;
};

// `end` is the last part of an object of object_bytes, with at least the stripe table and the tail
// in it (or all that there is). kDataLoss.
Result<PackTail> ParsePackTail(const std::string& name, ByteSpan end, std::uint64_t object_bytes);
inline constexpr std::size_t kPackTailReadBytes = 48 + 4 * (kPackMaxBytes / kStripeBytes + 1);

// Every check that needs no key, of a whole object: tail, name, each stripe. kDataLoss names the
// damaged stripe.
Result<PackTail> CheckPack(const std::string& name, ByteSpan object);

// `sealed`: the trailer's bytes at tail.trailer_offset. kDataLoss.
Result<PackTrailer> OpenPackTrailer(const Keyring& keyring, PackKind kind, const PackId& id,
                                    std::uint32_t epoch, std::uint32_t trailer_offset,
                                    ByteSpan sealed);
// The plaintext of a trailer whose records end at trailer_offset.
Result<PackTrailer> ParsePackTrailer(PackKind kind, std::uint32_t trailer_offset, ByteSpan plain);

}  // namespace thinsnap::repo
