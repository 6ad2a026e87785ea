// What only the pool in memory can show: running full, faults, and the cost of a difference.
#include "csi/pool/guarded_pool.h"
#include "simulator/pool/block_tree.h"
#include "simulator/pool/sim_thin_pool.h"
#include "tests/contract/pool/thin_pool_contract.h"

namespace thinsnap::pool {
namespace {

class SimFixture final : public PoolFixture {
 public:
  SimFixture(Clock& clock, Random& random)
      : clock_(clock), random_(random), image_(NewSimPoolImage(random, kGiB)) {}
  std::string Prepare() override { return ""; }
  std::unique_ptr<ThinPool> Open() override { return OpenSimThinPool(image_, clock_, random_); }

 private:
  Clock& clock_;
  Random& random_;
  std::shared_ptr<SimPoolImage> image_;
};

TEST(SimThinPoolTest, RunsFullAndSaysSo) {
  SystemClock clock;
  SeededRandom random(1);
  const auto pool = OpenSimThinPool(NewSimPoolImage(random, 4 * kChunkBytes), clock, random);
  const auto volume = pool->Create({.name = "v", .size_bytes = kMiB, .source = {}, .tags = {}});
  auto device = OpenVolume(*pool, volume->id);
  EXPECT_TRUE((*device)->WriteAt(0, Bytes(4 * kChunkBytes, 1)).ok());
  EXPECT_TRUE((*device)->WriteAt(4 * kChunkBytes, Bytes(1, 1)).Is(Code::kResourceExhausted));
  // A snapshot makes the next write take a chunk although the volume does not grow.
  CountingQuiesce quiesce;
  const auto snapshot = pool->Snapshot({.name = "s", .volume = volume->id, .tags = {}}, quiesce);
  EXPECT_TRUE((*device)->WriteAt(0, Bytes(1, 2)).Is(Code::kResourceExhausted));
  ASSERT_TRUE(pool->RemoveSnapshot(snapshot->id).ok());
  EXPECT_TRUE((*device)->WriteAt(0, Bytes(1, 2)).ok());
  ASSERT_TRUE((*device)->Discard(kChunkBytes, kChunkBytes).ok());
  EXPECT_TRUE((*device)->WriteAt(8 * kChunkBytes, Bytes(1, 1)).ok());
}

TEST(SimThinPoolTest, ALostAnswerWasDone) {
  SystemClock clock;
  SeededRandom random(1);
  PoolFault next = PoolFault::kNone;
  const auto pool =
      OpenSimThinPool(NewSimPoolImage(random, kGiB), clock, random,
                      {.capacity_bytes = kGiB, .fault = [&next](std::string_view verb) {
                         return verb == "Create" ? next : PoolFault::kNone;
                       }});
  const CreateRequest request{.name = "v", .size_bytes = kMiB, .source = {}, .tags = {}};
  next = PoolFault::kFailBefore;
  EXPECT_TRUE(pool->Create(request).Is(Code::kUnavailable));
  EXPECT_TRUE(pool->ListVolumes()->empty());
  next = PoolFault::kLoseAnswer;
  EXPECT_TRUE(pool->Create(request).Is(Code::kUnavailable));
  next = PoolFault::kNone;
  const auto volumes = *pool->ListVolumes();
  ASSERT_EQ(volumes.size(), 1U);
  EXPECT_EQ(pool->Create(request)->id, volumes[0].id);
}

// Counted by visits, not by time: the difference of two large trees visits what changed.
TEST(BlockTreeTest, ADifferenceIsFoundWhereItIs) {
  auto budget = std::make_shared<ChunkBudget>();
  budget->capacity = 1000;
  BlockTree tree(budget);
  for (std::uint64_t i = 0; i < 500; ++i) {
    ASSERT_TRUE(tree.Write(i * 977 * kChunkBytes, Bytes(1, 1)).ok());
  }
  const BlockTree base = tree;
  EXPECT_EQ(budget->used, 500U) << "a copy shares everything";
  ASSERT_TRUE(tree.Write(977 * kChunkBytes * 3, Bytes(1, 2)).ok());
  EXPECT_EQ(budget->used, 501U);
  std::vector<block::Extent> extents;
  ASSERT_TRUE(tree.VisitChanged(base,
                                [&](const block::Extent& extent) -> Status {
                                  extents.push_back(extent);
                                  return {};
                                })
                  .ok());
  ASSERT_EQ(extents.size(), 1U);
  EXPECT_EQ(extents[0], (block::Extent{977 * kChunkBytes * 3, kChunkBytes}));
}

TEST(GuardTest, RefusesWithTheFigures) {
  PoolStatus status;
  status.id = PoolId("abcdefghjkmnp");
  status.size_bytes = 100 * kGiB;
  status.free_bytes = 4 * kGiB;
  const Status refused = CheckHeadroom(status, kGiB, 0, {});
  ASSERT_TRUE(refused.Is(Code::kResourceExhausted));
  EXPECT_NE(refused.error().message().find("4.0 GiB free of 100.0 GiB"), std::string::npos);
  status.free_bytes = 50 * kGiB;
  EXPECT_TRUE(CheckHeadroom(status, kGiB, 0, {}).ok());
  // What a restore is about to write counts as taken.
  EXPECT_TRUE(CheckHeadroom(status, kGiB, 0, {}, status.free_bytes).Is(Code::kResourceExhausted));
  EXPECT_TRUE(CheckHeadroom(status, kGiB, 0, {}, kMiB).ok());
  EXPECT_TRUE(CheckHeadroom(status, 101 * kGiB, 0, {}).Is(Code::kResourceExhausted));
  EXPECT_TRUE(CheckHeadroom(status, 20 * kGiB, 90 * kGiB, {.overprovision = 1})
                  .Is(Code::kResourceExhausted));
  status.metadata_size_bytes = kGiB;
  status.metadata_free_bytes = kMiB;
  EXPECT_TRUE(CheckHeadroom(status, 0, 0, {}).Is(Code::kResourceExhausted));
}

TEST(GuardTest, SaysBeforehandWhatItWouldLetThrough) {
  PoolStatus status;
  status.size_bytes = 100 * kGiB;
  status.free_bytes = 50 * kGiB;
  // Thin: a volume may be larger than what is free, never than the pool.
  SetCapacity(status, 0, {});
  EXPECT_EQ(status.room_bytes, 45 * kGiB);
  EXPECT_EQ(status.largest_volume_bytes, 100 * kGiB);
  for (const std::uint64_t promised : {0 * kGiB, 150 * kGiB, 200 * kGiB, 300 * kGiB}) {
    const GuardOptions options{.overprovision = 2};
    SetCapacity(status, promised, options);
    const std::uint64_t largest = *status.largest_volume_bytes;
    EXPECT_TRUE(largest == 0 || CheckHeadroom(status, largest, promised, options).ok());
    EXPECT_FALSE(CheckHeadroom(status, largest + 1, promised, options).ok()) << promised;
  }
  status.free_bytes = kGiB;
  SetCapacity(status, 0, {});
  EXPECT_EQ(status.room_bytes, 0U);
  EXPECT_EQ(status.largest_volume_bytes, 0U);
}

TEST(GuardTest, ARepeatedCallIsNotRefused) {
  SystemClock clock;
  SeededRandom random(1);
  auto pool = MakeGuardedThinPool(
      OpenSimThinPool(NewSimPoolImage(random, 16 * kChunkBytes), clock, random), {});
  const CreateRequest request{.name = "v", .size_bytes = kMiB, .source = {}, .tags = {}};
  const auto volume = pool->Create(request);
  ASSERT_TRUE(volume.ok());
  auto device = OpenVolume(*pool, volume->id);
  ASSERT_TRUE((*device)->WriteAt(0, Bytes(16 * kChunkBytes, 1)).ok());
  EXPECT_TRUE(pool->Create({.name = "w", .size_bytes = kMiB, .source = {}, .tags = {}})
                  .Is(Code::kResourceExhausted));
  EXPECT_EQ(pool->Create(request)->id, volume->id);
}

}  // namespace

PoolKind SimPoolKind() {
  return {"Sim", [](Clock& clock, Random& random) -> std::unique_ptr<PoolFixture> {
            return std::make_unique<SimFixture>(clock, random);
          }};
}

}  // namespace thinsnap::pool
