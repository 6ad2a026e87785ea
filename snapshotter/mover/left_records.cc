#include "snapshotter/mover/left_records.h"

#include <algorithm>
#include <utility>

#include "base/core/log.h"
#include "snapshotter/repo/pack.h"

namespace thinsnap::mover {

LeftRecords::LeftRecords(store::ObjectStore& store, const repo::Keyring& keyring,
                         std::vector<repo::SessionPack> packs)
    : store_(store), keyring_(keyring), packs_(std::move(packs)) {
  std::sort(packs_.begin(), packs_.end(),
            [](const auto& a, const auto& b) { return a.first_block < b.first_block; });
}

Status LeftRecords::Load(const repo::SessionPack& pack) {
  const std::string key = repo::PackKey(repo::PackKind::kData, pack.id);
  auto got = store_.Get(key, store::ByteRange{pack.trailer_offset, pack.trailer_length});
  if (got.Is(Code::kNotFound) || got.Is(Code::kOutOfRange)) {
    LogInfo("mover", "pack " + key + " of an interrupted export is gone; it is stored again");
    return {};
  }
  if (!got.ok()) return std::move(got).error().In("read the trailer of " + key);
  auto trailer = repo::OpenPackTrailer(keyring_, repo::PackKind::kData, pack.id, pack.epoch,
                                       pack.trailer_offset, got->bytes);
  if (!trailer.ok()) {
    LogWarning("mover", trailer.error().message() + "; what it holds is stored again");
    return {};
  }
  Active active;
  active.last_block = pack.last_block;
  for (repo::TrailerRecord& record : trailer->records) {
    const repo::RecordPlace place{pack.id, pack.epoch, record.offset, record.length};
    active.records.push_back(std::make_shared<LeftRecord>(
        LeftRecord{record.first_block, place, std::move(record.fingerprints)}));
  }
  active_.push_back(std::move(active));
  return {};
}

Result<std::vector<std::shared_ptr<const LeftRecord>>> LeftRecords::In(std::uint64_t first_block) {
  std::vector<std::shared_ptr<const LeftRecord>> found;
  const std::uint64_t end = first_block + kSegmentBlocks;
  std::erase_if(active_, [&](const Active& active) { return active.last_block < first_block; });
  for (; next_ < packs_.size() && packs_[next_].first_block < end; ++next_) {
    if (packs_[next_].last_block >= first_block) TRY(Load(packs_[next_]));
  }
  for (const Active& active : active_) {
    auto record = std::lower_bound(
        active.records.begin(), active.records.end(), first_block,
        [](const auto& left, std::uint64_t block) { return left->first_block < block; });
    for (; record != active.records.end() && (*record)->first_block < end; ++record) {
      found.push_back(*record);
    }
  }
  return found;
}

}  // namespace thinsnap::mover
