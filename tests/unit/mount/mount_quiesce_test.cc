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
      : quiesce_(mounter_, [](const pool::VolumeId& volume) {
          return volume.str() == "idle" ? std::nullopt : std::optional("/dev/" + volume.str());
        }) {}
  RecordingMounter mounter_;
  MountQuiesce quiesce_;
  const pool::VolumeId volume_{"v"};
};

TEST_F(MountQuiesceTest, FreezesAVolumeOnceHoweverOftenItIsMounted) {
  ASSERT_TRUE(mounter_.Mount("/dev/v", "/staging", "ext4", {}).ok());
  ASSERT_TRUE(mounter_.Bind("/staging", "/pod", false).ok());
  ASSERT_TRUE(mounter_.Mount("/dev/other", "/other", "ext4", {}).ok());
  ASSERT_TRUE(quiesce_.Freeze(volume_).ok());
  ASSERT_TRUE(quiesce_.Thaw(volume_).ok());
  ASSERT_TRUE(quiesce_.Thaw(volume_).ok());
  EXPECT_THAT(mounter_.log(),
              ElementsAre("mount /dev/v /staging ext4", "bind /staging /pod",
                          "mount /dev/other /other ext4", "freeze /staging", "thaw /staging"));
}

TEST_F(MountQuiesceTest, WhatIsNotMountedStandsStillByItself) {
  ASSERT_TRUE(quiesce_.Freeze(volume_).ok());
  ASSERT_TRUE(quiesce_.Thaw(volume_).ok());
  ASSERT_TRUE(quiesce_.Freeze(pool::VolumeId("idle")).ok());
  ASSERT_TRUE(quiesce_.Thaw(pool::VolumeId("idle")).ok());
  EXPECT_TRUE(mounter_.log().empty());
}

TEST_F(MountQuiesceTest, FailuresAreTold) {
  ASSERT_TRUE(mounter_.Mount("/dev/v", "/staging", "ext4", {}).ok());
  mounter_.FailNext("freeze", Error(Code::kAborted, "frozen already"));
  EXPECT_TRUE(quiesce_.Freeze(volume_).Is(Code::kAborted));
  ASSERT_TRUE(quiesce_.Thaw(volume_).ok());
  ASSERT_TRUE(quiesce_.Freeze(volume_).ok());
  mounter_.FailNext("thaw", Error(Code::kAborted, "the deadline came first"));
  EXPECT_TRUE(quiesce_.Thaw(volume_).Is(Code::kAborted));
}

}  // namespace
}  // namespace thinsnap::mount
