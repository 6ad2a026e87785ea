#include "snapshotter/mover/import_slice.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "base/block/aligned_buffer.h"
#include "snapshotter/repo/keyring.h"
#include "snapshotter/repo/record.h"

namespace thinsnap::mover {
namespace {

constexpr unsigned kFetchers = 3;
constexpr Duration kReportEvery = std::chrono::milliseconds(200);

// The first block at or after `block` that is not in a hole of a whole leaf or more.
Result<std::uint64_t> SkipHoles(repo::MapReader& map, std::uint64_t block, std::uint64_t end) {
  while (block < end) {
    int level = 0;
    while (level < map.root().level() && block % repo::BlocksOfLevel(level + 1) == 0) ++level;
    for (; level >= 0; --level) {
      if (!TRY(map.RefAt(level, block))) break;
    }
    if (level < 0) return block;
    block += repo::BlocksOfLevel(level);
  }
  return end;
}

void AddHole(SlicePlan& plan, std::uint64_t first, std::uint64_t end) {
  if (first >= end) return;
  const block::Extent hole{first * repo::kBlockBytes, (end - first) * repo::kBlockBytes};
  if (!plan.holes.empty() && plan.holes.back().end() == hole.offset) {
    plan.holes.back().length += hole.length;
  } else {
    plan.holes.push_back(hole);
  }
}

// Fetches shares until none is left. One for each task.
class Fetcher {
 public:
  Fetcher(repo::Repository& repository, const SlicePlan& plan, std::uint64_t size_bytes,
          block::BlockDevice& target, ImportMeter& meter)
      : repository_(repository),
        plan_(plan),
        size_bytes_(size_bytes),
        target_(target),
        meter_(meter),
        fingerprinter_(repository.keyring().fingerprint_key()),
        plain_(repo::kRecordMaxBytes) {}

  Status Fetch(const Share& share) {
    const Piece& first = plan_.pieces[share.first];
    const SlicePack& pack = plan_.packs[first.pack];
    const std::string key = repo::PackKey(repo::PackKind::kData, pack.id);
    std::uint32_t end = 0;
    for (std::size_t i = share.first; i < share.end; ++i) {
      end = std::max(end, plan_.pieces[i].offset + plan_.pieces[i].length);
    }
    auto got = repository_.store().Get(key, store::ByteRange{first.offset, end - first.offset});
    if (got.Is(Code::kNotFound) || got.Is(Code::kOutOfRange)) {
      return Error(Code::kDataLoss, "pack " + key + " is missing or cut off");
    }
    if (!got.ok()) return std::move(got).error().In("read " + key);
    if (got->bytes.size() != end - first.offset) {
      return Error(Code::kDataLoss,
                   "pack " + key + " is cut off before byte " + std::to_string(end));
    }
    repo::PackCipher cipher =
        TRY(repository_.keyring().ForPack(repo::PackKind::kData, pack.id, pack.epoch));
    const Piece* decoded = nullptr;
    for (std::size_t i = share.first; i < share.end; ++i) {
      const Piece& piece = plan_.pieces[i];
      if (decoded == nullptr || decoded->offset != piece.offset ||
          decoded->length != piece.length || decoded->record_blocks != piece.record_blocks) {
        TRY(Decode(cipher, key, piece,
                   ByteSpan(got->bytes).subspan(piece.offset - first.offset, piece.length)));
        decoded = &piece;
      }
      TRY(Write(key, piece));
    }
    return {};
  }

 private:
  Status Decode(repo::PackCipher& cipher, const std::string& key, const Piece& piece,
                ByteSpan sealed) {
    payload_.resize(sealed.size() - repo::kTagBytes);
    const std::string where = "record at " + std::to_string(piece.offset) + " of pack " + key;
    if (!cipher.Open(repo::SealKind::kDataRecord, piece.offset, sealed, payload_)) {
      return Error(Code::kDataLoss, where + " is damaged: its seal does not open");
    }
    const std::size_t size = std::size_t{piece.record_blocks} * repo::kBlockBytes;
    return decoder_.Decode(payload_, plain_.span().first(size)).In(where);
  }

  Status Write(const std::string& key, const Piece& piece) {
    const ByteSpan bytes = ByteSpan(plain_.span())
                               .subspan(std::size_t{piece.record_first} * repo::kBlockBytes,
                                        std::size_t{piece.count} * repo::kBlockBytes);
    for (unsigned i = 0; i < piece.count; ++i) {
      const ByteSpan block = bytes.subspan(std::size_t{i} * repo::kBlockBytes, repo::kBlockBytes);
      if (fingerprinter_.Of(block) != plan_.fingerprints[piece.fingerprint + i]) {
        return Error(Code::kDataLoss,
                     "block " + std::to_string(plan_.first_block + piece.block + i) +
                         " from the record at " + std::to_string(piece.offset) + " of pack " + key +
                         " does not have the fingerprint that the map says");
      }
    }
    const std::uint64_t offset = (plan_.first_block + piece.block) * repo::kBlockBytes;
    ASSERT(offset < size_bytes_);
    const std::size_t length =
        static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), size_bytes_ - offset));
    TRY(target_.WriteAt(offset, bytes.first(length)));
    meter_.Add(bytes.size());
    return {};
  }

  repo::Repository& repository_;
  const SlicePlan& plan_;
  const std::uint64_t size_bytes_;
  block::BlockDevice& target_;
  ImportMeter& meter_;
  repo::Fingerprinter fingerprinter_;
  repo::RecordDecoder decoder_;
  Bytes payload_;
  block::AlignedBuffer plain_;
};

}  // namespace

void ImportMeter::Add(std::uint64_t bytes) {
  Progress progress;
  {
    std::lock_guard lock(mutex_);
    done_ += bytes;
    const MonoTime now = runtime_.clock().MonoNow();
    if (!progress_ || now - reported_ < kReportEvery) return;
    reported_ = now;
    progress.total_bytes = total_;
    progress.done_bytes = done_;
  }
  progress_(progress);
}

void ImportMeter::Finish() {
  if (progress_) progress_({total_, total_, 0, 0});
}

void CutShares(SlicePlan& plan) {
  plan.shares.clear();
  std::uint32_t share_end = 0;
  for (std::size_t i = 0; i < plan.pieces.size(); ++i) {
    const Piece& piece = plan.pieces[i];
    const bool joins = i > 0 && piece.pack == plan.pieces[i - 1].pack &&
                       piece.offset <= std::uint64_t{share_end} + kGapBytes;
    if (!joins) plan.shares.push_back({i, i});
    plan.shares.back().end = i + 1;
    share_end =
        joins ? std::max(share_end, piece.offset + piece.length) : piece.offset + piece.length;
  }
}

Result<SlicePlan> PlanSlice(repo::MapReader& map, std::uint64_t first_block,
                            std::uint64_t end_block) {
  SlicePlan plan;
  plan.first_block = first_block;
  std::unordered_map<repo::PackId, std::uint32_t> index;
  for (std::uint64_t block = first_block; block < end_block;) {
    const std::uint64_t next = TRY(SkipHoles(map, block, end_block));
    AddHole(plan, block, std::min(next, end_block));
    block = next;
    if (block >= end_block) break;
    const auto leaf = TRY(map.LeafAt(block));
    ASSERT(leaf != nullptr);
    if (leaf->stored_blocks() > 0 &&
        block + 63 - static_cast<unsigned>(__builtin_clzll(leaf->stored)) >= end_block) {
      return Error(Code::kDataLoss, "the map holds blocks beyond the volume's end");
    }
    std::uint64_t at = block;
    for (const repo::MapExtent& extent : leaf->extents) {
      AddHole(plan, at, block + extent.position);
      at = block + extent.position + extent.count;
      const auto [found, fresh] =
          index.try_emplace(extent.place.pack, static_cast<std::uint32_t>(plan.packs.size()));
      if (fresh) plan.packs.push_back({extent.place.pack, extent.place.epoch});
      plan.pieces.push_back({found->second, extent.place.offset, extent.place.length,
                             static_cast<std::uint32_t>(block + extent.position - first_block),
                             static_cast<std::uint32_t>(plan.fingerprints.size()), extent.count,
                             extent.record_first, extent.record_blocks});
      for (unsigned i = 0; i < extent.count; ++i) {
        plan.fingerprints.push_back(leaf->fingerprints[extent.position + i]);
      }
    }
    block += repo::kFanOut;
    AddHole(plan, at, std::min(block, end_block));
  }
  std::sort(plan.pieces.begin(), plan.pieces.end(), [](const Piece& a, const Piece& b) {
    return std::tie(a.pack, a.offset, a.block) < std::tie(b.pack, b.offset, b.block);
  });
  CutShares(plan);
  return plan;
}

Status DiscardHoles(const SlicePlan& plan, std::uint64_t size_bytes, block::BlockDevice& target) {
  for (const block::Extent& hole : plan.holes) {
    TRY(Runtime::CheckCancelled());
    const std::uint64_t end = std::min(hole.end(), size_bytes);
    if (hole.offset < end) TRY(target.Discard(hole.offset, end - hole.offset));
  }
  return {};
}

Status FetchSlice(repo::Repository& repository, Runtime& runtime, const SlicePlan& plan,
                  std::uint64_t size_bytes, block::BlockDevice& target, ImportMeter& meter) {
  if (plan.shares.empty()) return {};
  std::atomic<std::size_t> next = 0;
  Channel<std::optional<Error>> ended(runtime, kFetchers);
  TaskGroup group(runtime);
  for (unsigned i = 0; i < kFetchers; ++i) {
    group.Spawn("import fetch", [&] {
      Fetcher fetcher(repository, plan, size_bytes, target, meter);
      std::optional<Error> failure;
      while (!failure) {
        const std::size_t share = next++;
        if (share >= plan.shares.size()) break;
        Status fetched = Runtime::CheckCancelled();
        if (fetched.ok()) fetched = fetcher.Fetch(plan.shares[share]);
        if (!fetched.ok()) failure = std::move(fetched).error();
      }
      // There is room for every fetcher's word.
      ended.Send(std::move(failure)).IgnoreError();
    });
  }
  std::optional<Error> failure;
  for (unsigned i = 0; i < kFetchers && !failure; ++i) {
    auto word = ended.Receive();
    if (!word.ok()) {
      failure = std::move(word).error();
    } else if (*word && **word) {
      failure = ***word;
    }
  }
  if (failure) group.Stop();
  group.Join();
  if (failure) return *failure;
  return {};
}

}  // namespace thinsnap::mover
