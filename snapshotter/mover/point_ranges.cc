#include "snapshotter/mover/point_ranges.h"

#include <algorithm>
#include <utility>

#include "snapshotter/repo/map_reader.h"
#include "snapshotter/repo/point_store.h"

namespace thinsnap::mover {
namespace {

// Two maps side by side. The older one may be absent, and may be of a smaller volume: what it does
// not reach counts as holes.
class Comparison {
 public:
  Comparison(repo::MapReader* base, repo::MapReader& target, block::ExtentSpool& into)
      : base_(base), target_(target), into_(into) {}

  Status Run() {
    // The taller of the two covers both.
    const int base_level = base_ == nullptr ? 0 : base_->root().level();
    return Visit(std::max(base_level, target_.root().level()), 0);
  }

 private:
  // NOLINTNEXTLINE(misc-no-recursion): as deep as a map
  Status Visit(int level, std::uint64_t first_block) {
    if (first_block >= repo::BlocksOf(target_.root().size_bytes)) return {};
    TRY(Runtime::CheckCancelled());
    if (level == 0) return CompareLeaves(first_block);
    // Above its root a map has no nodes; what it holds is all below the first.
    const bool both = base_ == nullptr || level <= base_->root().level();
    if (both && level <= target_.root().level()) {
      const auto before = base_ == nullptr ? std::nullopt : TRY(base_->RefAt(level, first_block));
      const auto after = TRY(target_.RefAt(level, first_block));
      if (before == after) return {};
    }
    const std::uint64_t step = repo::BlocksOfLevel(level - 1);
    for (unsigned child = 0; child < repo::kFanOut; ++child) {
      TRY(Visit(level - 1, first_block + child * step));
    }
    return {};
  }

  Status CompareLeaves(std::uint64_t first_block) {
    const auto before_ref = base_ == nullptr ? std::nullopt : TRY(base_->RefAt(0, first_block));
    const auto after_ref = TRY(target_.RefAt(0, first_block));
    if (before_ref == after_ref) return {};
    const auto before = base_ == nullptr ? nullptr : TRY(base_->LeafAt(first_block));
    const auto after = TRY(target_.LeafAt(first_block));
    for (unsigned position = 0; position < repo::kFanOut; ++position) {
      const bool had = before != nullptr && before->Has(position);
      const bool has = after != nullptr && after->Has(position);
      if (!had && !has) continue;
      if (had && has && before->fingerprints[position] == after->fingerprints[position]) continue;
      const std::uint64_t offset = (first_block + position) * repo::kBlockBytes;
      const std::uint64_t size = target_.root().size_bytes;
      if (offset >= size) return {};
      TRY(into_.Add({offset, std::min<std::uint64_t>(repo::kBlockBytes, size - offset)}));
    }
    return {};
  }

  repo::MapReader* const base_;
  repo::MapReader& target_;
  block::ExtentSpool& into_;
};

Result<repo::MapRoot> RootOf(repo::Repository& repository, const repo::PointName& name) {
  return TRY(repo::ReadPoint(repository.store(), repository.keyring(), name))
  .root;
}

Result<PointRanges> Compare(repo::Repository& repository, Runtime& runtime,
                            const repo::PointName* base, const repo::PointName& target,
                            std::uint64_t from_offset) {
  const repo::MapRoot root = TRY(RootOf(repository, target));
  repo::MapReader map(repository.store(), runtime, repository.keyring(), root);
  std::unique_ptr<repo::MapReader> older;
  if (base != nullptr) {
    older = std::make_unique<repo::MapReader>(repository.store(), runtime, repository.keyring(),
                                              TRY(RootOf(repository, *base)));
  }
  block::ExtentSpool spool(from_offset);
  TRY(Comparison(older.get(), map, spool).Run());
  return PointRanges { root.size_bytes, TRY(std::move(spool).Finish()) };
}

}  // namespace

Result<PointRanges> StoredRanges(repo::Repository& repository, Runtime& runtime,
                                 const repo::PointName& point, std::uint64_t from_offset) {
  return Compare(repository, runtime, nullptr, point, from_offset);
}

Result<PointRanges> ChangedRanges(repo::Repository& repository, Runtime& runtime,
                                  const repo::PointName& base, const repo::PointName& target,
                                  std::uint64_t from_offset) {
  return Compare(repository, runtime, &base, target, from_offset);
}

}  // namespace thinsnap::mover
