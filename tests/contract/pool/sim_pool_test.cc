// What only the pool in memory can show: running full, faults, and the cost of a difference.
#include <atomic>

#include "base/core/runtime.h"
#include "csi/pool/guard.h"
#include "csi/pool/tags.h"
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

TEST(SimThinPoolTest, TroubleIsToldKindByKind) {
  SystemClock clock;
  SeededRandom random(1);
  SimThinPoolOptions options;
  PoolStatus spoiled;
  options.spoil_status = [&](PoolStatus& status) { status.needs_check = spoiled.needs_check; };
  const auto pool =
      OpenSimThinPool(NewSimPoolImage(random, 4 * kChunkBytes), clock, random, options);
  EXPECT_TRUE(pool->GetStatus()->Trouble().empty());
  const auto volume = pool->Create({.name = "v", .size_bytes = kMiB, .source = {}, .tags = {}});
  ASSERT_TRUE((*OpenVolume(*pool, volume->id))->WriteAt(0, Bytes(4 * kChunkBytes, 1)).ok());
  const PoolStatus full = *pool->GetStatus();
  EXPECT_TRUE(full.out_of_data_space);
  EXPECT_TRUE(full.healthy()) << "what is there is served, and can be deleted";
  EXPECT_NE(full.Trouble().find("full"), std::string::npos);
  spoiled.needs_check = true;
  EXPECT_FALSE(pool->GetStatus()->healthy());
  EXPECT_NE(pool->GetStatus()->Trouble().find("repaired"), std::string::npos);
}

TEST(GuardTest, RefusesWithTheFiguresAndTheKindOfSpace) {
  PoolStatus status;
  status.id = PoolId("abcdefghjkmnp");
  status.size_bytes = 100 * kGiB;
  status.free_bytes = 4 * kGiB;
  const auto refused = CheckRoom(status, {.size_bytes = kGiB}, {}, {});
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->space, Space::kData);
  EXPECT_EQ(refused->missing_bytes, kGiB);
  EXPECT_TRUE(refused->freeing_helps);
  EXPECT_TRUE(Status(refused->ToError()).Is(Code::kResourceExhausted));
  EXPECT_NE(refused->sentence.find("4.0 GiB free of 100.0 GiB"), std::string::npos);
  status.free_bytes = 50 * kGiB;
  EXPECT_FALSE(CheckRoom(status, {.size_bytes = kGiB}, {}, {}));
  // What a restore is about to write counts as taken, and what others have yet to write.
  const Wish restore{.size_bytes = kGiB, .fill_bytes = 40 * kGiB};
  EXPECT_FALSE(CheckRoom(status, restore, {}, {}));
  const auto behind = CheckRoom(status, restore, {.outstanding_bytes = 20 * kGiB}, {});
  ASSERT_TRUE(behind.has_value());
  EXPECT_EQ(behind->missing_bytes, 15 * kGiB);
  // Nothing of a snapshot can cure these.
  const auto large = CheckRoom(status, {.size_bytes = 101 * kGiB}, {}, {});
  ASSERT_TRUE(large.has_value());
  EXPECT_EQ(large->space, Space::kPool);
  EXPECT_FALSE(large->freeing_helps);
  const auto promises = CheckRoom(status, {.size_bytes = 20 * kGiB}, {.promised_bytes = 90 * kGiB},
                                  {.overprovision = 1});
  ASSERT_TRUE(promises.has_value());
  EXPECT_EQ(promises->space, Space::kPromises);
  EXPECT_EQ(promises->missing_bytes, 10 * kGiB);
  EXPECT_FALSE(promises->freeing_helps);
  status.metadata_size_bytes = kGiB;
  status.metadata_free_bytes = kMiB;
  const auto metadata = CheckRoom(status, {}, {}, {});
  ASSERT_TRUE(metadata.has_value());
  EXPECT_EQ(metadata->space, Space::kMetadata);
  EXPECT_FALSE(metadata->freeing_helps);
}

TEST(GuardTest, SaysBeforehandWhatItWouldLetThrough) {
  PoolStatus status;
  status.size_bytes = 100 * kGiB;
  status.free_bytes = 50 * kGiB;
  // Thin: a volume may be larger than what is free, never than the pool.
  const Offer plenty = WhatFits(status, {}, {});
  EXPECT_EQ(plenty.room_bytes, 45 * kGiB);
  EXPECT_EQ(plenty.largest_volume_bytes, 100 * kGiB);
  EXPECT_EQ(WhatFits(status, {.outstanding_bytes = 40 * kGiB}, {}).room_bytes, 5 * kGiB);
  EXPECT_EQ(WhatFits(status, {.outstanding_bytes = 60 * kGiB}, {}).room_bytes, 0U);
  for (const std::uint64_t promised : {0 * kGiB, 150 * kGiB, 200 * kGiB, 300 * kGiB}) {
    const GuardOptions options{.overprovision = 2};
    const Commitments others{.promised_bytes = promised};
    const std::uint64_t largest = WhatFits(status, others, options).largest_volume_bytes;
    EXPECT_FALSE(CheckRoom(status, {.size_bytes = largest}, others, options)) << promised;
    EXPECT_TRUE(CheckRoom(status, {.size_bytes = largest + 1}, others, options)) << promised;
  }
  status.free_bytes = kGiB;
  EXPECT_EQ(WhatFits(status, {}, {}).room_bytes, 0U);
  EXPECT_EQ(WhatFits(status, {}, {}).largest_volume_bytes, 0U);
}

TEST(GuardTest, ARestoreIsCountedUntilItIsWritten) {
  SystemClock clock;
  SeededRandom random(1);
  const auto pool = OpenSimThinPool(NewSimPoolImage(random, 1000 * kChunkBytes), clock, random);
  const GuardOptions options{.headroom_fraction = 0};
  Guard guard(*pool, options);
  const auto fits = [&](std::uint64_t chunks) {
    return guard.Reserve({.fill_bytes = chunks * kChunkBytes})->reservation != nullptr;
  };
  {
    const Wish wish{.name = "r", .size_bytes = 600 * kChunkBytes, .fill_bytes = 600 * kChunkBytes};
    const auto reserved = guard.Reserve(wish);
    ASSERT_TRUE(reserved.ok() && reserved->reservation != nullptr);
    EXPECT_TRUE(fits(400));
    EXPECT_FALSE(fits(401));
    ASSERT_TRUE(pool->Create({.name = "r",
                              .size_bytes = 600 * kChunkBytes,
                              .source = {},
                              .tags = {{tags::kImporting, "from"},
                                       {tags::kImportBytes, std::to_string(600 * kChunkBytes)}}})
                    .ok());
    EXPECT_TRUE(fits(400)) << "counted twice";
  }
  Guard later(*pool, options);
  EXPECT_TRUE(fits(400));
  EXPECT_FALSE(fits(401));
  EXPECT_TRUE(later.Reserve({.fill_bytes = 401 * kChunkBytes})->refusal.has_value());
  const VolumeId volume = (*pool->FindVolume("r"))->id;
  for (std::uint64_t chunk = 0; chunk < 600; chunk += 100) {
    ASSERT_TRUE((*OpenVolume(*pool, volume))
                    ->WriteAt(chunk * kChunkBytes, Bytes(100 * kChunkBytes, 1))
                    .ok());
    EXPECT_TRUE(fits(400)) << "after " << chunk;
    EXPECT_FALSE(fits(401)) << "after " << chunk;
  }
  ASSERT_TRUE(pool->TagVolume(volume, {{tags::kImporting, ""}}).ok());
  EXPECT_TRUE(fits(400));
}

// A hundred restores at once, of which seven fit: whoever was granted room finds it.
TEST(GuardTest, ManyAtOnceAreNeverGrantedTheSameRoom) {
  SystemClock clock;
  SeededRandom random(1);
  const auto pool = OpenSimThinPool(NewSimPoolImage(random, 1000 * kChunkBytes), clock, random);
  Guard guard(*pool, {.headroom_fraction = 0});
  ThreadRuntime runtime(clock);
  std::atomic<int> granted = 0;
  {
    TaskGroup callers(runtime);
    for (int caller = 0; caller < 10; ++caller) {
      callers.Spawn("restore", [&, caller] {
        for (int i = 0; i < 10; ++i) {
          const std::string name = std::to_string(caller) + "-" + std::to_string(i);
          const std::uint64_t bytes = 130 * kChunkBytes;
          const auto verdict =
              guard.Reserve({.name = name, .size_bytes = bytes, .fill_bytes = bytes});
          ASSERT_TRUE(verdict.ok());
          if (verdict->reservation == nullptr) continue;
          const auto made = pool->Create(
              {.name = name,
               .size_bytes = bytes,
               .source = {},
               .tags = {{tags::kImporting, "from"}, {tags::kImportBytes, std::to_string(bytes)}}});
          ASSERT_TRUE(made.ok());
          ++granted;
        }
      });
    }
    callers.Join();
  }
  EXPECT_EQ(granted, 7);
  for (const VolumeInfo& volume : *pool->ListVolumes()) {
    EXPECT_TRUE((*OpenVolume(*pool, volume.id))->WriteAt(0, Bytes(130 * kChunkBytes, 1)).ok());
  }
}

}  // namespace

PoolKind SimPoolKind() {
  return {"Sim", [](Clock& clock, Random& random) -> std::unique_ptr<PoolFixture> {
            return std::make_unique<SimFixture>(clock, random);
          }};
}

}  // namespace thinsnap::pool
