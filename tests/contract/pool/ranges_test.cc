// What Allocated and Changed promise: nothing is left out, whatever is removed meanwhile.
#include <algorithm>
#include <atomic>
#include <vector>

#include "base/block/extent_spool.h"
#include "base/core/runtime.h"
#include "tests/contract/pool/thin_pool_contract.h"

namespace thinsnap::pool {
namespace {

class PoolRangesTest : public ThinPoolTest {
 protected:
  using ThinPoolTest::Read;

  // Reads a stream to its end and checks its order.
  static std::vector<block::Extent> Read(Result<std::unique_ptr<block::ExtentStream>> stream) {
    std::vector<block::Extent> extents;
    EXPECT_TRUE(stream.ok()) << stream.error().ToString();
    while (stream.ok()) {
      const Result<std::optional<block::Extent>> next = (*stream)->Next();
      EXPECT_TRUE(next.ok()) << next.error().ToString();
      if (!next.ok() || !next->has_value()) break;
      EXPECT_GT((*next)->length, 0U);
      if (!extents.empty()) {
        EXPECT_LT(extents.back().end(), (*next)->offset) << "neighbours are joined";
      }
      extents.push_back(**next);
    }
    return extents;
  }

  static bool Covers(const std::vector<block::Extent>& extents, std::uint64_t offset,
                     std::uint64_t length) {
    for (const block::Extent& extent : extents) {
      if (extent.offset <= offset && offset < extent.end()) {
        if (extent.end() >= offset + length) return true;
        length -= extent.end() - offset;
        offset = extent.end();
      }
    }
    return length == 0;
  }

  static std::uint64_t Total(const std::vector<block::Extent>& extents) {
    std::uint64_t total = 0;
    for (const block::Extent& extent : extents) total += extent.length;
    return total;
  }
};

TEST_P(PoolRangesTest, AllocatedCoversWhatWasWritten) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  Write(volume.id, 3 * kBlock, Pattern(kBlock, 1));
  Write(volume.id, 4 * kBlock, Pattern(kBlock, 1));
  Write(volume.id, kSize - kBlock, Pattern(kBlock, 1));
  const SnapshotInfo snapshot = Cut("snap", volume.id);
  const std::vector<block::Extent> extents = Read(pool_->Allocated(snapshot.id, 0));
  EXPECT_TRUE(Covers(extents, 3 * kBlock, 2 * kBlock));
  EXPECT_TRUE(Covers(extents, kSize - kBlock, kBlock));
  EXPECT_LE(Total(extents), 4 * kBlock);
}

TEST_P(PoolRangesTest, ChangedCoversEveryChangeAndLittleElse) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  Write(volume.id, 0, Pattern(16 * kBlock, 1));
  const SnapshotInfo base = Cut("base", volume.id);
  Write(volume.id, 5 * kBlock, Pattern(kBlock, 2));
  Write(volume.id, 100 * kBlock, Pattern(kBlock, 2));
  {
    auto device = OpenVolume(*pool_, volume.id);
    ASSERT_TRUE((*device)->Discard(8 * kBlock, kBlock).ok());
    ASSERT_TRUE((*device)->Flush().ok());
  }
  const SnapshotInfo target = Cut("target", volume.id);
  const std::vector<block::Extent> extents = Read(pool_->Changed(base.id, target.id, 0));
  EXPECT_TRUE(Covers(extents, 5 * kBlock, kBlock));
  EXPECT_TRUE(Covers(extents, 8 * kBlock, kBlock)) << "a discarded block has changed";
  EXPECT_TRUE(Covers(extents, 100 * kBlock, kBlock));
  EXPECT_LE(Total(extents), 4 * kBlock);
}

TEST_P(PoolRangesTest, ChangedIsEmptyWhenNothingChanged) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  Write(volume.id, 0, Pattern(4 * kBlock, 1));
  const SnapshotInfo base = Cut("base", volume.id);
  const SnapshotInfo target = Cut("target", volume.id);
  const std::vector<block::Extent> extents = Read(pool_->Changed(base.id, target.id, 0));
  EXPECT_TRUE(extents.empty());
}

TEST_P(PoolRangesTest, ChangedWorksFromACloneToItsOrigin) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  Write(volume.id, 0, Pattern(4 * kBlock, 1));
  const SnapshotInfo base = Cut("base", volume.id);
  const auto clone =
      pool_->Create({.name = "clone", .size_bytes = kSize, .source = base.id, .tags = {}});
  Write(clone->id, kBlock, Pattern(kBlock, 2));
  const SnapshotInfo target = Cut("target", clone->id);
  const std::vector<block::Extent> extents = Read(pool_->Changed(base.id, target.id, 0));
  EXPECT_TRUE(Covers(extents, kBlock, kBlock));
  EXPECT_LE(Total(extents), 2 * kBlock);
}

// The property behind every incremental export: base + changed ranges == target, under random
// writes and discards.
TEST_P(PoolRangesTest, ApplyingTheChangesToTheBaseGivesTheTarget) {
  const VolumeInfo volume = MakeVolume("pvc-1", 4 * kMiB);
  Bytes model(4 * kMiB, 0);
  Bytes at_base;
  SnapshotInfo base;
  for (int round = 0; round < 4; ++round) {
    {
      auto device = OpenVolume(*pool_, volume.id);
      for (int i = 0; i < 12; ++i) {
        const std::uint64_t offset = random_.Below(1000) * 4096;
        const std::uint64_t length =
            std::min<std::uint64_t>((1 + random_.Below(20)) * 4096, model.size() - offset);
        if (random_.Below(4) == 0) {
          ASSERT_TRUE((*device)->Discard(offset, length).ok());
          std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(offset), length, std::uint8_t{0});
        } else {
          const Bytes bytes = Pattern(length, static_cast<std::uint8_t>(1 + random_.Below(255)));
          ASSERT_TRUE((*device)->WriteAt(offset, bytes).ok());
          std::copy(bytes.begin(), bytes.end(),
                    model.begin() + static_cast<std::ptrdiff_t>(offset));
        }
      }
      ASSERT_TRUE((*device)->Flush().ok());
    }
    const SnapshotInfo target = Cut("round-" + std::to_string(round), volume.id);
    ASSERT_EQ(ReadSnapshot(target.id, 0, model.size()), model);
    if (round > 0) {
      Bytes rebuilt = at_base;
      auto device = OpenSnapshot(*pool_, target.id);
      for (const block::Extent& extent : Read(pool_->Changed(base.id, target.id, 0))) {
        const std::uint64_t end = std::min<std::uint64_t>(extent.end(), rebuilt.size());
        const Bytes bytes = Read(**device, extent.offset, end - extent.offset);
        std::copy(bytes.begin(), bytes.end(),
                  rebuilt.begin() + static_cast<std::ptrdiff_t>(extent.offset));
      }
      ASSERT_EQ(rebuilt, model);
    }
    base = target;
    at_base = model;
  }
}

// Ranges many enough for several looks at the map: every other block of the volume.
constexpr std::uint64_t kScattered = 1500;

std::vector<block::Extent> Scattered() {
  std::vector<block::Extent> extents;
  for (std::uint64_t i = 0; i < kScattered; ++i) extents.push_back({2 * i * kBlock, kBlock});
  return extents;
}

TEST_P(PoolRangesTest, RangesBeginWhereAskedFor) {
  const VolumeInfo volume = MakeVolume("pvc-1", 2 * kScattered * kBlock);
  {
    auto device = OpenVolume(*pool_, volume.id);
    for (const block::Extent& extent : Scattered()) {
      ASSERT_TRUE((*device)->WriteAt(extent.offset, Pattern(extent.length, 1)).ok());
    }
    ASSERT_TRUE((*device)->Flush().ok());
  }
  const SnapshotInfo snapshot = Cut("snap", volume.id);
  const std::vector<block::Extent> all = Scattered();
  EXPECT_EQ(Read(pool_->Allocated(snapshot.id, 0)), all);
  for (const std::size_t first : {std::size_t{1}, all.size() / 2, all.size() - 1}) {
    const std::vector<block::Extent> rest(all.begin() + static_cast<std::ptrdiff_t>(first),
                                          all.end());
    EXPECT_EQ(Read(pool_->Allocated(snapshot.id, all[first - 1].end())), rest);
    EXPECT_EQ(Read(pool_->Allocated(snapshot.id, all[first].offset)), rest);
    std::vector<block::Extent> cut = rest;
    cut.front().offset += 4096;
    cut.front().length -= 4096;
    EXPECT_EQ(Read(pool_->Allocated(snapshot.id, all[first].offset + 4096)), cut);
  }
  EXPECT_TRUE(Read(pool_->Allocated(snapshot.id, volume.size_bytes)).empty());
}

// A slow reader has what was collected, whatever became of the snapshots, the volume and the pool.
TEST_P(PoolRangesTest, RangesOutliveWhatTheyWereCollectedFrom) {
  const VolumeInfo volume = MakeVolume("pvc-1", 2 * kScattered * kBlock);
  {
    auto device = OpenVolume(*pool_, volume.id);
    for (const block::Extent& extent : Scattered()) {
      ASSERT_TRUE((*device)->WriteAt(extent.offset, Pattern(extent.length, 1)).ok());
    }
    ASSERT_TRUE((*device)->Flush().ok());
  }
  const SnapshotInfo base = Cut("base", volume.id);
  {
    auto device = OpenVolume(*pool_, volume.id);
    ASSERT_TRUE((*device)->Discard(0, volume.size_bytes).ok());
    ASSERT_TRUE((*device)->Flush().ok());
  }
  const SnapshotInfo target = Cut("target", volume.id);
  auto changed = pool_->Changed(base.id, target.id, 0);
  auto allocated = pool_->Allocated(base.id, 0);
  ASSERT_TRUE(changed.ok() && allocated.ok());
  ASSERT_TRUE((*changed)->Next().ok());
  ASSERT_TRUE(pool_->DropDevice(base.id).ok());
  ASSERT_TRUE(pool_->RemoveSnapshot(base.id).ok());
  ASSERT_TRUE(pool_->RemoveSnapshot(target.id).ok());
  ASSERT_TRUE(pool_->RemoveVolume(volume.id).ok());
  pool_.reset();
  std::vector<block::Extent> rest = Scattered();
  EXPECT_EQ(Read(std::move(allocated)), rest);
  rest.erase(rest.begin());
  EXPECT_EQ(Read(std::move(changed)), rest);
}

// What the base alone has is what a truncated base would hide: it is all named, or nothing is
// answered. The other verbs go on meanwhile.
TEST_P(PoolRangesTest, ABaseRemovedWhileItIsComparedIsNeverHalfSeen) {
  constexpr int kRounds = 6;
  constexpr int kReaders = 4;
  const std::vector<block::Extent> all = Scattered();
  ThreadRuntime runtime(clock_);
  std::atomic<int> answered = 0;
  std::atomic<int> ended = 0;
  for (int round = 0; round < kRounds; ++round) {
    const std::string name = std::to_string(round);
    const VolumeInfo volume = MakeVolume("pvc-" + name, 2 * kScattered * kBlock);
    {
      auto device = OpenVolume(*pool_, volume.id);
      for (const block::Extent& extent : all) {
        ASSERT_TRUE((*device)->WriteAt(extent.offset, Pattern(4096, 1)).ok());
      }
      ASSERT_TRUE((*device)->Flush().ok());
    }
    const SnapshotInfo base = Cut("base-" + name, volume.id);
    {
      auto device = OpenVolume(*pool_, volume.id);
      ASSERT_TRUE((*device)->Discard(0, volume.size_bytes).ok());
      ASSERT_TRUE((*device)->Flush().ok());
    }
    const SnapshotInfo target = Cut("target-" + name, volume.id);
    const std::uint64_t whole = Total(Read(pool_->Changed(base.id, target.id, 0)));
    EXPECT_GE(whole, all.size() * 4096);
    ended = 0;
    TaskGroup group(runtime);
    for (int reader = 0; reader < kReaders; ++reader) {
      group.Spawn("compare", [&] {
        for (;;) {
          auto changed = pool_->Changed(base.id, target.id, 0);
          if (!changed.ok()) {
            EXPECT_TRUE(changed.Is(Code::kNotFound) || changed.Is(Code::kFailedPrecondition))
                << changed.error().ToString();
            ++ended;
            return;
          }
          EXPECT_EQ(Total(Read(std::move(changed))), whole);
          ++answered;
        }
      });
    }
    const int before = answered;
    while (answered < before + kReaders && ended == 0) EXPECT_TRUE(pool_->GetStatus().ok());
    EXPECT_EQ(ended, 0) << "nothing is removed yet";
    ASSERT_TRUE(
        (round % 2 == 0 ? pool_->RemoveSnapshot(base.id) : pool_->DropDevice(base.id)).ok());
    group.Join();
    ASSERT_TRUE(pool_->RemoveSnapshot(base.id).ok());
    ASSERT_TRUE(pool_->RemoveSnapshot(target.id).ok());
    ASSERT_TRUE(pool_->RemoveVolume(volume.id).ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Pools, PoolRangesTest, testing::Values(SimPoolKind(), ReflinkPoolKind()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace thinsnap::pool
