#include "snapshotter/repo/tombstone.h"

#include <utility>
#include <vector>

#include "snapshotter/repo/small_object.h"
#include "snapshotter/repo/wire.h"

namespace thinsnap::repo {
namespace {

constexpr std::uint64_t kTombstoneMaxBytes = 64 * kMiB;
constexpr std::uint64_t kMaxPacks = kTombstoneMaxBytes / 16;

}  // namespace

Bytes EncodeTombstone(const std::set<PackId>& packs) {
  Bytes payload;
  AppendVarint(payload, packs.size());
  for (const PackId& pack : packs) Append(payload, pack.bytes);
  return payload;
}

Result<std::set<PackId>> ParseTombstone(ByteSpan payload) {
  WireReader reader(payload);
  std::set<PackId> packs;
  const std::uint64_t count = reader.Count(16, kMaxPacks);
  for (std::uint64_t i = 0; i < count; ++i) {
    PackId id;
    reader.Fill(id.bytes);
    packs.insert(packs.end(), id);
  }
  if (!reader.done()) return Error(Code::kDataLoss, "the tombstone is not well formed");
  return packs;
}

Result<std::set<PackId>> ReadTombstones(store::ObjectStore& store, const Keyring& keyring) {
  std::vector<std::string> keys;
  TRY(store::ListAll(store, "gc/", [&](const store::ObjectInfo& info) -> Status {
    keys.push_back(info.key);
    return {};
  }));
  std::set<PackId> all;
  for (const std::string& key : keys) {
    auto object = GetSmallObject(store, key, kTombstoneMaxBytes);
    if (object.Is(Code::kNotFound)) continue;  // its collection ended meanwhile
    if (!object.ok()) return std::move(object).error();
    const Bytes payload = TRY(keyring.OpenObject(key, object->bytes));
    all.merge(TRY(ParseTombstone(payload).In(key)));
  }
  return all;
}

}  // namespace thinsnap::repo
