#include "csi/pool/volume_locks.h"

#include <atomic>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <optional>

#include "base/core/runtime.h"

namespace thinsnap::pool {
namespace {

using testing::HasSubstr;

TEST(VolumeLocksTest, WhoComesSecondIsToldWhoIsThere) {
  VolumeLocks locks;
  const VolumeId volume("v");
  {
    const auto staging = locks.Take(volume, LockMode::kExclusive, "NodeStageVolume");
    ASSERT_TRUE(staging.ok());
    for (const LockMode mode : {LockMode::kShared, LockMode::kExclusive}) {
      const auto refused = locks.Take(volume, mode, "DeleteVolume");
      ASSERT_TRUE(refused.Is(Code::kAborted));
      EXPECT_THAT(refused.error().message(), HasSubstr("volume v"));
      EXPECT_THAT(refused.error().message(), HasSubstr("NodeStageVolume"));
    }
    EXPECT_TRUE(locks.Take(VolumeId("w"), LockMode::kExclusive, "DeleteVolume").ok());
    // A name is not an id, and a snapshot's not a volume's.
    const auto name = locks.TakeName("v", "CreateVolume");
    EXPECT_TRUE(name.ok());
    EXPECT_TRUE(locks.TakeSnapshotName("v", "CreateSnapshot").ok());
    EXPECT_TRUE(locks.TakeName("v", "CreateVolume").Is(Code::kAborted));
  }
  EXPECT_TRUE(locks.Take(volume, LockMode::kExclusive, "DeleteVolume").ok());
}

TEST(VolumeLocksTest, SharedHoldersKeepOnlyTheExclusiveOut) {
  VolumeLocks locks;
  const VolumeId volume("v");
  auto first = locks.Take(volume, LockMode::kShared, "export");
  auto second = locks.Take(volume, LockMode::kShared, "export");
  ASSERT_TRUE(first.ok() && second.ok());
  {
    const VolumeLocks::Lock moved = std::move(*first);
  }
  EXPECT_TRUE(locks.Take(volume, LockMode::kExclusive, "DeleteVolume").Is(Code::kAborted));
  {
    const VolumeLocks::Lock moved = std::move(*second);
  }
  EXPECT_TRUE(locks.Take(volume, LockMode::kExclusive, "DeleteVolume").ok());
}

TEST(VolumeLocksTest, ManyCallersNeverShareWhatIsExclusive) {
  SystemClock clock;
  ThreadRuntime runtime(clock);
  TaskGroup group(runtime);
  VolumeLocks locks;
  std::atomic<int> inside = 0, worst = 0, taken = 0;
  for (int caller = 0; caller < 8; ++caller) {
    group.Spawn("caller", [&] {
      for (int round = 0; round < 5000; ++round) {
        const VolumeId volume("v");
        const auto lock = locks.Take(volume, LockMode::kExclusive, "verb");
        if (!lock.ok()) continue;
        worst = std::max(worst.load(), ++inside);
        ++taken;
        --inside;
      }
    });
  }
  group.Join();
  EXPECT_EQ(worst, 1);
  EXPECT_GT(taken, 0);
  EXPECT_TRUE(locks.Take(VolumeId("v"), LockMode::kExclusive, "verb").ok());
}

}  // namespace
}  // namespace thinsnap::pool
