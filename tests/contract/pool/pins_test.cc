// What pins and leases promise: nothing goes away under who uses it, and who it is is told.
#include <atomic>
#include <gmock/gmock.h>

#include "base/core/bytes.h"
#include "base/core/runtime.h"
#include "tests/contract/pool/thin_pool_contract.h"

namespace thinsnap::pool {
namespace {

using testing::HasSubstr;

class PoolPinsTest : public ThinPoolTest {
 protected:
  static void ExpectRefused(const Status& status, Code code, const std::string& holder) {
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code(), code) << status.error().ToString();
    EXPECT_THAT(status.error().message(), HasSubstr(holder));
  }
};

TEST_P(PoolPinsTest, WhatAUserHasStaysUntilHeLetsGo) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  const SnapshotInfo snapshot = Cut("snap", volume.id);
  auto mounted = *pool_->LeaseVolume(volume.id, {.name = "it is staged at /one"});
  auto compared = *pool_->PinSnapshot(snapshot.id, {.name = "a metadata call"});
  ExpectRefused(pool_->RemoveVolume(volume.id), Code::kFailedPrecondition, "staged at /one");
  ExpectRefused(pool_->RemoveSnapshot(snapshot.id), Code::kFailedPrecondition, "a metadata call");
  ExpectRefused(pool_->DropDevice(snapshot.id), Code::kFailedPrecondition, "a metadata call");
  // A refusal keeps nobody else out.
  auto second = *pool_->LeaseVolume(volume.id, {.name = "another"});
  EXPECT_EQ(*second->Node(), *mounted->Node());
  mounted.reset();
  ExpectRefused(pool_->RemoveVolume(volume.id), Code::kFailedPrecondition, "another");
  second.reset();
  compared.reset();
  EXPECT_TRUE(pool_->DropDevice(snapshot.id).ok());
  EXPECT_TRUE(pool_->RemoveSnapshot(snapshot.id).ok());
  EXPECT_TRUE(pool_->RemoveVolume(volume.id).ok());
}

TEST_P(PoolPinsTest, ARemovalEndsTheJobsInItsWay) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  const SnapshotInfo snapshot = Cut("snap", volume.id);
  int ended = 0;
  const Holder job{HolderKind::kJob, "the export to bucket b", [&] { ++ended; }};
  auto one = *pool_->LeaseSnapshot(snapshot.id, job);
  auto two = *pool_->PinSnapshot(snapshot.id, job);
  ExpectRefused(pool_->DropDevice(snapshot.id), Code::kAborted, "the export to bucket b");
  EXPECT_EQ(ended, 0) << "giving the device back disturbs nobody";
  EXPECT_TRUE(pool_->PinSnapshot(snapshot.id, job).ok());
  ExpectRefused(pool_->RemoveSnapshot(snapshot.id), Code::kAborted, "the export to bucket b");
  EXPECT_EQ(ended, 2);
  EXPECT_TRUE(pool_->PinSnapshot(snapshot.id, job).Is(Code::kAborted)) << "no other job begins";
  EXPECT_TRUE(pool_->LeaseSnapshot(snapshot.id, job).Is(Code::kAborted));
  one.reset();
  ExpectRefused(pool_->RemoveSnapshot(snapshot.id), Code::kAborted, "the export to bucket b");
  two.reset();
  EXPECT_TRUE(pool_->RemoveSnapshot(snapshot.id).ok());
  EXPECT_TRUE(pool_->PinSnapshot(snapshot.id, job).Is(Code::kNotFound));
}

TEST_P(PoolPinsTest, AUserInTheWayKeepsTheJobsToo) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  bool ended = false;
  const auto job =
      *pool_->LeaseVolume(volume.id, {HolderKind::kJob, "an import", [&] { ended = true; }});
  const auto user = *pool_->LeaseVolume(volume.id, {.name = "a pod"});
  ExpectRefused(pool_->RemoveVolume(volume.id), Code::kFailedPrecondition, "a pod");
  EXPECT_FALSE(ended) << "nothing is given up for a removal that cannot be";
}

TEST_P(PoolPinsTest, OnlyWhatIsThereCanBeHeld) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  const SnapshotInfo snapshot = Cut("snap", volume.id);
  ASSERT_TRUE(pool_->DropDevice(snapshot.id).ok());
  EXPECT_TRUE(pool_->PinSnapshot(snapshot.id, {.name = "x"}).Is(Code::kFailedPrecondition));
  EXPECT_TRUE(pool_->LeaseSnapshot(snapshot.id, {.name = "x"}).Is(Code::kFailedPrecondition));
  ASSERT_TRUE(pool_->RemoveVolume(volume.id).ok());
  EXPECT_TRUE(pool_->PinVolume(volume.id, {.name = "x"}).Is(Code::kNotFound));
  EXPECT_TRUE(pool_->LeaseVolume(volume.id, {.name = "x"}).Is(Code::kNotFound));
}

// Many read while others remove: whoever got a lease reads every byte of it, and each snapshot is
// gone in the end.
TEST_P(PoolPinsTest, NothingGoesUnderWhoReads) {
  constexpr int kSnapshots = 6, kReaders = 3;
  const VolumeInfo volume = MakeVolume("pvc-1", 4 * kMiB);
  std::vector<SnapshotId> snapshots;
  for (int i = 0; i < kSnapshots; ++i) {
    Write(volume.id, 0, Pattern(4 * kMiB, static_cast<std::uint8_t>(i + 1)));
    snapshots.push_back(Cut("snap-" + std::to_string(i), volume.id).id);
  }
  ThreadRuntime runtime(clock_);
  std::atomic<int> read_whole = 0, ended_early = 0;
  TaskGroup readers(runtime);
  for (int i = 0; i < kSnapshots * kReaders; ++i) {
    readers.Spawn("read", [&, number = i % kSnapshots] {
      std::atomic<bool> stop = false;
      while (!stop) {
        const auto lease = pool_->LeaseSnapshot(
            snapshots[static_cast<std::size_t>(number)],
            {HolderKind::kJob, "reader of " + std::to_string(number), [&stop] { stop = true; }});
        if (!lease.ok()) {
          EXPECT_TRUE(lease.Is(Code::kAborted) || lease.Is(Code::kNotFound))
              << lease.error().ToString();
          return;
        }
        const auto device = (*lease)->Open();
        ASSERT_TRUE(device.ok()) << device.error().ToString();
        for (std::uint64_t at = 0; at < 4 * kMiB && !stop; at += kMiB) {
          EXPECT_EQ(Read(**device, at, kMiB), Pattern(kMiB, static_cast<std::uint8_t>(number + 1)));
        }
        ++(stop ? ended_early : read_whole);
      }
    });
  }
  while (read_whole < kSnapshots * kReaders) EXPECT_TRUE(pool_->GetStatus().ok());
  TaskGroup removers(runtime);
  for (const SnapshotId& snapshot : snapshots) {
    removers.Spawn("remove", [&] {
      Status removed = pool_->RemoveSnapshot(snapshot);
      for (; removed.Is(Code::kAborted); removed = pool_->RemoveSnapshot(snapshot)) {
        EXPECT_TRUE(runtime.SleepFor(std::chrono::milliseconds(1)).ok());
      }
      EXPECT_TRUE(removed.ok()) << removed.error().ToString();
    });
  }
  removers.Join();
  readers.Join();
  EXPECT_TRUE(pool_->ListSnapshots()->empty());
}

INSTANTIATE_TEST_SUITE_P(Pools, PoolPinsTest, testing::Values(SimPoolKind(), ReflinkPoolKind()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace thinsnap::pool
