#include "csi/mount/mount_quiesce.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "simulator/pool/recording_mounter.h"

namespace thinsnap::mount {
namespace {

using testing::ElementsAre;

class MountQuiesceTest : public testing::Test {
 protected:
  MountQuiesceTest()
      : quiesce_(clock_, mounter_, &counters_, [](const pool::VolumeId& volume) {
          return volume.str() == "idle" ? std::nullopt : std::optional("/dev/" + volume.str());
        }) {}
  SystemClock clock_;
  Counters counters_;
  RecordingMounter mounter_;
  MountQuiesce quiesce_;
  const pool::VolumeId volume_{"v"};
  static constexpr Duration kMost = std::chrono::seconds(5);
};

TEST_F(MountQuiesceTest, FreezesAVolumeOnceHoweverOftenItIsMounted) {
  ASSERT_TRUE(mounter_.Mount("/dev/v", "/staging", "ext4", {}).ok());
  ASSERT_TRUE(mounter_.Bind("/staging", "/pod", false).ok());
  ASSERT_TRUE(mounter_.Mount("/dev/other", "/other", "ext4", {}).ok());
  auto held = quiesce_.Hold({&volume_, 1}, kMost);
  ASSERT_TRUE(held.ok());
  ASSERT_TRUE((*held)->Thaw().ok());
  ASSERT_TRUE((*held)->Thaw().ok());
  EXPECT_THAT(mounter_.log(),
              ElementsAre("mount /dev/v /staging ext4", "bind /staging /pod",
                          "mount /dev/other /other ext4", "freeze /staging", "thaw /staging"));
}

TEST_F(MountQuiesceTest, WhatIsNotMountedStandsStillByItself) {
  const std::vector<pool::VolumeId> volumes = {volume_, pool::VolumeId("idle")};
  const auto held = quiesce_.Hold(volumes, kMost);
  ASSERT_TRUE(held.ok());
  EXPECT_TRUE((*held)->Thaw().ok());
  EXPECT_TRUE(mounter_.log().empty());
}

TEST_F(MountQuiesceTest, SeveralAreWrittenOutBeforeAnyStandsStill) {
  const std::vector<pool::VolumeId> volumes = {pool::VolumeId("a"), pool::VolumeId("b")};
  ASSERT_TRUE(mounter_.Mount("/dev/a", "/a", "ext4", {}).ok());
  ASSERT_TRUE(mounter_.Mount("/dev/b", "/b", "xfs", {}).ok());
  {
    ASSERT_TRUE(quiesce_.Hold(volumes, kMost).ok());
  }
  EXPECT_THAT(mounter_.log(),
              ElementsAre("mount /dev/a /a ext4", "mount /dev/b /b xfs", "sync /a", "sync /b",
                          "freeze /a", "freeze /b", "thaw /a", "thaw /b"));
  EXPECT_THAT(counters_.Render(), testing::HasSubstr("thinsnap_freeze_seconds_count 2\n"));
  // One that cannot lets the others go.
  mounter_.FailNext("freeze /b", Error(Code::kAborted, "frozen already"));
  EXPECT_TRUE(quiesce_.Hold(volumes, kMost).Is(Code::kAborted));
  EXPECT_EQ(mounter_.log().back(), "thaw /a");
}

TEST_F(MountQuiesceTest, FailuresAreTold) {
  ASSERT_TRUE(mounter_.Mount("/dev/v", "/staging", "ext4", {}).ok());
  mounter_.FailNext("freeze", Error(Code::kAborted, "frozen already"));
  EXPECT_TRUE(quiesce_.Hold({&volume_, 1}, kMost).Is(Code::kAborted));
  auto held = quiesce_.Hold({&volume_, 1}, kMost);
  ASSERT_TRUE(held.ok());
  mounter_.FailNext("thaw", Error(Code::kAborted, "the deadline came first"));
  EXPECT_TRUE((*held)->Thaw().Is(Code::kAborted));
}

TEST_F(MountQuiesceTest, WhatLiesUponAMountIsNotFrozenInItsPlace) {
  ASSERT_TRUE(mounter_.Mount("/dev/v", "/staging", "ext4", {}).ok());
  ASSERT_TRUE(mounter_.Bind("/staging", "/pod", false).ok());
  ASSERT_TRUE(mounter_.Mount("/dev/other", "/staging", "ext4", {}).ok());
  {
    ASSERT_TRUE(quiesce_.Hold({&volume_, 1}, kMost).ok());
  }
  EXPECT_THAT(mounter_.log(), testing::Contains("freeze /pod"));
  EXPECT_THAT(mounter_.log(), testing::Not(testing::Contains("freeze /staging")));
  ASSERT_TRUE(mounter_.Mount("/dev/other", "/pod", "ext4", {}).ok());
  EXPECT_TRUE(quiesce_.Hold({&volume_, 1}, kMost).Is(Code::kFailedPrecondition));
}

}  // namespace
}  // namespace thinsnap::mount
