#include "snapshotter/repo/pack_table.h"

#include <algorithm>

#include "snapshotter/repo/wire.h"

namespace thinsnap::repo {

void PackTable::Use(PackKind kind, const RecordPlace& place, std::uint32_t units) {
  const auto [found, fresh] = entries_.try_emplace(place.pack);
  Entry& entry = found->second;
  if (fresh) {
    entry.kind = kind;
    entry.epoch = place.epoch;
  }
  ASSERT(entry.kind == kind);
  entry.used += units;
}

void PackTable::Release(const RecordPlace& place, std::uint32_t units) {
  const auto found = entries_.find(place.pack);
  ASSERT(found != entries_.end() && found->second.used >= units);
  found->second.used -= units;
}

void PackTable::SetTotal(const PackId& pack, std::uint32_t total) {
  const auto found = entries_.find(pack);
  if (found != entries_.end()) found->second.total = total;
}

const PackTable::Entry* PackTable::Find(const PackId& pack) const {
  const auto found = entries_.find(pack);
  return found == entries_.end() ? nullptr : &found->second;
}

std::uint64_t PackTable::UsedBlocks() const {
  std::uint64_t sum = 0;
  for (const auto& [id, entry] : entries_) {
    if (entry.kind == PackKind::kData) sum += entry.used;
  }
  return sum;
}

std::vector<PackId> PackTable::Incomplete() const {
  std::vector<PackId> incomplete;
  for (const auto& [id, entry] : entries_) {
    if (entry.used > 0 && entry.total < entry.used) incomplete.push_back(id);
  }
  return incomplete;
}

Bytes PackTable::Encode() const { return EncodeDifference(PackTable()); }

Bytes PackTable::EncodeDifference(const PackTable& base) const {
  std::vector<std::pair<PackId, Entry>> sorted;
  for (const auto& [id, entry] : entries_) {
    const Entry* before = base.Find(id);
    const bool was_used = before != nullptr && before->used > 0;
    if (entry.used > 0 ? before == nullptr || *before != entry : was_used) {
      sorted.emplace_back(id, entry);
    }
  }
  for (const auto& [id, entry] : base.entries_) {
    if (entry.used == 0 || Find(id) != nullptr) continue;
    sorted.emplace_back(id, entry);
    sorted.back().second.used = 0;
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  Bytes bytes;
  AppendVarint(bytes, sorted.size());
  for (const auto& [id, entry] : sorted) {
    Append(bytes, id.bytes);
    bytes.push_back(static_cast<std::uint8_t>(entry.kind));
    AppendVarint(bytes, entry.epoch);
    AppendVarint(bytes, entry.total);
    AppendVarint(bytes, entry.used);
  }
  return bytes;
}

Result<PackTable> PackTable::Parse(ByteSpan bytes) {
  PackTable table;
  TRY(table.Apply(bytes));
  return table;
}

Status PackTable::Apply(ByteSpan difference) {
  WireReader reader(difference);
  const std::uint64_t count = reader.Count(20, UINT32_MAX);
  entries_.reserve(entries_.size() + count);
  PackId previous;
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
    PackId id;
    reader.Fill(id.bytes);
    Entry entry;
    const std::uint8_t kind = reader.U8();
    entry.kind = static_cast<PackKind>(kind);
    entry.epoch = static_cast<std::uint32_t>(reader.Varint(UINT32_MAX));
    entry.total = static_cast<std::uint32_t>(reader.Varint(kPackMaxUnits + kRecordBlocks));
    entry.used = static_cast<std::uint32_t>(reader.Varint(entry.total));
    if (kind < 1 || kind > 2 || (i > 0 && id <= previous)) reader.Fail();
    previous = id;
    if (!reader.ok()) break;
    if (entry.used > 0) {
      entries_[id] = entry;
    } else if (entries_.erase(id) == 0) {
      reader.Fail();  // what was not there cannot go
    }
  }
  if (!reader.done()) return Error(Code::kDataLoss, "the pack table is not well formed");
  return {};
}

}  // namespace thinsnap::repo
