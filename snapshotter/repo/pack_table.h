// Pack table: for every pack that a map names, how many blocks or nodes the pack holds and how many
// of them this map uses. Every point carries one, so that marking what is alive reads tables and
// never maps.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/result.h"
#include "snapshotter/repo/format.h"

namespace thinsnap::repo {

class PackTable {
 public:
  struct Entry {
    PackKind kind = PackKind::kData;
    std::uint32_t epoch = 0;
    std::uint32_t total = 0;  // 0: not known yet
    std::uint32_t used = 0;
    bool operator==(const Entry&) const = default;
  };

  void Use(PackKind kind, const RecordPlace& place, std::uint32_t units);
  // What was used before; a broken invariant if it was not.
  void Release(const RecordPlace& place, std::uint32_t units);
  // The total of a pack that may or may not be named.
  void SetTotal(const PackId& pack, std::uint32_t total);

  const Entry* Find(const PackId& pack) const;
  const std::unordered_map<PackId, Entry>& entries() const { return entries_; }
  // Used blocks of all data packs: must be what the map's root says.
  std::uint64_t UsedBlocks() const;
  // Packs that are still used and whose total is unknown or too small.
  std::vector<PackId> Incomplete() const;

  // Ascending by id; packs of which nothing is used are left out.
  Bytes Encode() const;
  static Result<PackTable> Parse(ByteSpan bytes);
  // What makes this table of `base`: entries that are new or other, and those of which nothing is
  // used any more.
  Bytes EncodeDifference(const PackTable& base) const;
  Status Apply(ByteSpan difference);
  bool operator==(const PackTable& other) const { return Encode() == other.Encode(); }

 private:
  std::unordered_map<PackId, Entry> entries_;
};

}  // namespace thinsnap::repo
