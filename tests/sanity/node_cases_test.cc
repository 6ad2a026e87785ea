// Cases 67-90: the node service.
#include <sys/mount.h>

#include "simulator/pool/recording_mounter.h"
#include "tests/sanity/sanity_fixture.h"

namespace thinsnap::driver {
namespace {

class NodeCasesTest : public SanityTest {};
THINSNAP_SANITY_WORLDS(NodeCasesTest);

TEST_P(NodeCasesTest, CapabilitiesAreThoseOfTheInterface) {  // 67
  const auto answer = csi().NodeGetCapabilities({}, {});
  ASSERT_OK(answer);
  EXPECT_EQ(answer->capabilities_size(), 5);
  for (const auto& capability : answer->capabilities()) {
    EXPECT_TRUE(capability.rpc().type() >= 1 && capability.rpc().type() <= 6);
  }
}

TEST_P(NodeCasesTest, InfoNamesNodeAndTopology) {  // 68
  const auto info = csi().NodeGetInfo({}, {});
  ASSERT_OK(info);
  EXPECT_EQ(info->node_id(), "node-a");
  EXPECT_GE(info->max_volumes_per_node(), 0);
  EXPECT_EQ(info->accessible_topology().segments().at("topology.thinsnap.io/node"), "node-a");
}

TEST_P(NodeCasesTest, PublishChecksItsArgumentsFirst) {  // 69-71
  EXPECT_CODE(Publish("", target_), Code::kInvalidArgument);
  EXPECT_CODE(Publish("fake-vol-id", ""), Code::kInvalidArgument);
  EXPECT_CODE(Publish("fake-vol-id", target_, csi::v1::VolumeCapability()), Code::kInvalidArgument);
  csi::v1::NodePublishVolumeRequest request;
  request.set_volume_id("fake-vol-id");
  request.set_target_path(target_);
  EXPECT_CODE(csi().NodePublishVolume({}, request), Code::kInvalidArgument);
  *request.mutable_volume_capability() = MountCapability();
  request.set_volume_id(Volume("v"));
  EXPECT_CODE(csi().NodePublishVolume({}, request), Code::kFailedPrecondition);
}

TEST_P(NodeCasesTest, SingleWriterHasOneTarget) {  // 72
  const auto capability = MountCapability(Mode::SINGLE_NODE_SINGLE_WRITER);
  const std::string volume = Volume("v"), second = target_ + "-2";
  ASSERT_OK(Stage(volume, capability));
  ASSERT_OK(Publish(volume, target_, capability));
  ASSERT_OK(Publish(volume, target_, capability));
  EXPECT_CODE(Publish(volume, second, capability), Code::kFailedPrecondition);
}

TEST_P(NodeCasesTest, OtherModesShareTheNode) {
  for (const auto mode : {Mode::SINGLE_NODE_WRITER, Mode::SINGLE_NODE_MULTI_WRITER}) {
    const auto capability = MountCapability(mode);
    const std::string volume = Volume("v"), second = target_ + "-2";
    ASSERT_OK(Stage(volume, capability));
    ASSERT_OK(Publish(volume, target_, capability));
    ASSERT_OK(Publish(volume, second, capability));
    EXPECT_CODE(Publish(volume, second, capability, true), Code::kAlreadyExists);
    ASSERT_OK(Unpublish(volume, second));
    ASSERT_OK(Unpublish(volume, target_));
    ASSERT_OK(Unstage(volume));
  }
}

TEST_P(NodeCasesTest, UnpublishChecksItsArgumentsAndRemovesTheTarget) {  // 73-75
  EXPECT_CODE(Unpublish("", target_), Code::kInvalidArgument);
  EXPECT_CODE(Unpublish("fake-vol-id", ""), Code::kInvalidArgument);
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume));
  ASSERT_OK(Publish(volume, target_));
  EXPECT_EQ(*world_->mounter->Kind(target_), mount::PathKind::kFolder);
  ASSERT_OK(Unpublish(volume, target_));
  EXPECT_EQ(*world_->mounter->Kind(target_), mount::PathKind::kMissing);
  ASSERT_OK(Unpublish(volume, target_));
}

TEST_P(NodeCasesTest, StageChecksItsArguments) {  // 76-78
  csi::v1::NodeStageVolumeRequest request;
  EXPECT_CODE(csi().NodeStageVolume({}, request), Code::kInvalidArgument);
  request.set_volume_id("fake-vol-id");
  EXPECT_CODE(csi().NodeStageVolume({}, request), Code::kInvalidArgument);
  request.set_staging_target_path(staging_);
  EXPECT_CODE(csi().NodeStageVolume({}, request), Code::kInvalidArgument);
  *request.mutable_volume_capability() = MountCapability();
  EXPECT_CODE(csi().NodeStageVolume({}, request), Code::kNotFound);
  EXPECT_CODE(Stage(Volume("v"), MountCapability(Mode::MULTI_NODE_MULTI_WRITER)),
              Code::kInvalidArgument);
}

TEST_P(NodeCasesTest, StagedInAnotherWayExists) {
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume));
  ASSERT_OK(Stage(volume));
  EXPECT_CODE(Stage(volume, MountCapability(Mode::SINGLE_NODE_READER_ONLY)), Code::kAlreadyExists);
}

TEST_P(NodeCasesTest, UnstageChecksItsArguments) {  // 79, 80
  csi::v1::NodeUnstageVolumeRequest request;
  EXPECT_CODE(csi().NodeUnstageVolume({}, request), Code::kInvalidArgument);
  request.set_volume_id("fake-vol-id");
  EXPECT_CODE(csi().NodeUnstageVolume({}, request), Code::kInvalidArgument);
  const std::string volume = Volume("v");
  ASSERT_OK(Unstage(volume));
  ASSERT_OK(Stage(volume));
  ASSERT_OK(Unstage(volume));
  ASSERT_OK(Unstage(volume));
}

TEST_P(NodeCasesTest, StatsCheckTheirArguments) {  // 81-84
  EXPECT_CODE(Stats("", target_), Code::kInvalidArgument);
  EXPECT_CODE(Stats("fake-vol-id", ""), Code::kInvalidArgument);
  EXPECT_CODE(Stats("fake-vol-id", "some/path"), Code::kNotFound);
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume));
  ASSERT_OK(Publish(volume, target_));
  EXPECT_CODE(Stats(volume, "some/path"), Code::kNotFound);
}

TEST_P(NodeCasesTest, ExpandChecksItsArguments) {  // 85-87
  EXPECT_CODE(NodeExpand("", target_), Code::kInvalidArgument);
  EXPECT_CODE(NodeExpand(Volume("v"), ""), Code::kInvalidArgument);
  EXPECT_CODE(NodeExpand("fake-vol-id", "some/path"), Code::kNotFound);
  EXPECT_CODE(NodeExpand(Volume("v"), "some/path"), Code::kNotFound);
}

TEST_P(NodeCasesTest, ExpandWorksOnAPublishedVolume) {  // 88
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume));
  ASSERT_OK(Publish(volume, target_));
  const auto before = Stats(volume, target_);
  ASSERT_OK(before);
  ASSERT_OK(Expand(volume, 2 * kSize));
  auto grown = NodeExpand(volume, target_);
  // Without CAP_SYS_RESOURCE the kernel grows no mounted ext4: then it grows with the next staging.
  if (real() && grown.Is(Code::kFailedPrecondition)) {
    EXPECT_THAT(grown.error().message(), testing::HasSubstr("CAP_SYS_RESOURCE"));
    ASSERT_OK(Unpublish(volume, target_));
    ASSERT_OK(Unstage(volume));
    ASSERT_OK(Stage(volume));
    ASSERT_OK(Publish(volume, target_));
    grown = NodeExpand(volume, target_);
  }
  ASSERT_OK(grown);
  EXPECT_EQ(grown->capacity_bytes(), 2 * kSize);
  if (real()) {
    const auto after = Stats(volume, target_);
    ASSERT_OK(after);
    EXPECT_GT(after->usage(0).total(), before->usage(0).total() + kSize / 2);
  }
}

TEST_P(NodeCasesTest, WholeLifeHasStatistics) {  // 89
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume));
  ASSERT_OK(Publish(volume, target_));
  const auto stats = Stats(volume, target_);
  ASSERT_OK(stats);
  ASSERT_EQ(stats->usage_size(), 2);
  EXPECT_EQ(stats->usage(0).unit(), csi::v1::VolumeUsage::BYTES);
  EXPECT_EQ(stats->usage(1).unit(), csi::v1::VolumeUsage::INODES);
  for (const auto& usage : stats->usage()) {
    EXPECT_GT(usage.total(), 0);
    EXPECT_GT(usage.available(), 0);
    EXPECT_LE(usage.used() + usage.available(), usage.total());
  }
}

TEST_P(NodeCasesTest, AFailedStageLeavesNothingInUse) {
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume));
  EXPECT_CODE(Delete(volume), Code::kFailedPrecondition);
  ASSERT_OK(Unstage(volume));
  EXPECT_CODE(Stage(volume, MountCapability(Mode::SINGLE_NODE_WRITER, "xfs")),
              Code::kFailedPrecondition);
  ASSERT_OK(Delete(volume));
}

TEST_P(NodeCasesTest, WhatIsPublishedStaysStaged) {
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume));
  ASSERT_OK(Publish(volume, target_));
  EXPECT_CODE(Unstage(volume), Code::kFailedPrecondition);
  // Known also to a driver that starts again.
  StopNode();
  StartNode();
  EXPECT_CODE(Unstage(volume), Code::kFailedPrecondition);
  EXPECT_CODE(Delete(volume), Code::kFailedPrecondition);
  ASSERT_OK(Unpublish(volume, target_));
  ASSERT_OK(Unstage(volume));
  ASSERT_OK(Delete(volume));
}

TEST_P(NodeCasesTest, StagedElsewhereIsRefused) {
  const std::string volume = Volume("v"), first = staging_;
  ASSERT_OK(Stage(volume));
  staging_ = first + "-2";
  std::filesystem::create_directories(staging_);
  const auto refused = Stage(volume);
  EXPECT_CODE(refused, Code::kFailedPrecondition);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr(first));
  // Nor does it come loose there.
  ASSERT_OK(Unstage(volume));
  staging_ = first;
  EXPECT_CODE(Delete(volume), Code::kFailedPrecondition);
  ASSERT_OK(Publish(volume, target_));
}

TEST_P(NodeCasesTest, OnlyWhatTheVolumeMountedIsUnmounted) {
  const std::string mine = Volume("mine"), other = Volume("other");
  ASSERT_OK(Stage(mine));
  ASSERT_OK(Publish(mine, target_));
  // Never staged: it has nothing at this path.
  ASSERT_OK(Unstage(other));
  EXPECT_TRUE(world_->mounter->Find(staging_)->has_value());
  const std::string first = staging_;
  staging_ = first + "-2";
  std::filesystem::create_directories(staging_);
  ASSERT_OK(Stage(other));
  EXPECT_CODE(Unpublish(other, target_), Code::kFailedPrecondition);
  EXPECT_TRUE(world_->mounter->Find(target_)->has_value());
  ASSERT_OK(Unstage(other));
  staging_ = first;
}

TEST_P(NodeCasesTest, PublishedAsAnotherFilesystemIsRefused) {
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume, MountCapability(Mode::SINGLE_NODE_WRITER, "ext4")));
  EXPECT_CODE(Publish(volume, target_, MountCapability(Mode::SINGLE_NODE_WRITER, "xfs")),
              Code::kFailedPrecondition);
  EXPECT_CODE(Publish(volume, target_, BlockCapability()), Code::kFailedPrecondition);
  ASSERT_OK(Publish(volume, target_, MountCapability(Mode::SINGLE_NODE_WRITER, "ext4")));
}

TEST_P(NodeCasesTest, StagedWithOtherMountFlagsExists) {
  const std::string volume = Volume("v");
  auto capability = MountCapability();
  capability.mutable_mount()->add_mount_flags("noatime");
  ASSERT_OK(Stage(volume, capability));
  ASSERT_OK(Stage(volume, capability));
  capability.mutable_mount()->set_mount_flags(0, "nosuid");
  const auto refused = Stage(volume, capability);
  EXPECT_CODE(refused, Code::kAlreadyExists);
  // They may hold secrets.
  EXPECT_THAT(refused.error().message(), testing::Not(testing::HasSubstr("nosuid")));
}

TEST_P(NodeCasesTest, RawDeviceHasItsSizeWhereItIsStagedAndPublished) {
  const std::string volume = BlockVolume("b");
  EXPECT_CODE(Stage(volume), Code::kFailedPrecondition);
  ASSERT_OK(Stage(volume, BlockCapability()));
  ASSERT_OK(Publish(volume, target_, BlockCapability()));
  for (const std::string& path : {staging_, target_}) {
    const auto stats = Stats(volume, path);
    ASSERT_OK(stats);
    ASSERT_EQ(stats->usage_size(), 1);
    EXPECT_EQ(stats->usage(0).total(), kSize);
    ASSERT_OK(NodeExpand(volume, path));
  }
  EXPECT_CODE(Stats(volume, "some/path"), Code::kNotFound);
  EXPECT_CODE(NodeExpand(volume, "some/path"), Code::kNotFound);
}

TEST_P(NodeCasesTest, VolumeThatStandsInItsPodIsRefused) {
  csi::v1::NodePublishVolumeRequest request;
  request.set_volume_id("csi-0123");
  request.set_target_path(target_);
  *request.mutable_volume_capability() = MountCapability();
  (*request.mutable_volume_context())["csi.storage.k8s.io/ephemeral"] = "true";
  const auto refused = csi().NodePublishVolume({}, request);
  EXPECT_CODE(refused, Code::kInvalidArgument);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("spec.volumes[].ephemeral"));
  // That of a claim which a pod describes is a volume like others.
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume));
  request.set_volume_id(volume);
  request.set_staging_target_path(staging_);
  (*request.mutable_volume_context())["csi.storage.k8s.io/ephemeral"] = "false";
  ASSERT_OK(csi().NodePublishVolume({}, request));
}

TEST_P(NodeCasesTest, FilesystemThatTheKernelStoppedIsAbnormal) {
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume));
  ASSERT_OK(Publish(volume, target_));
  const auto before = Stats(volume, target_);
  ASSERT_OK(before);
  EXPECT_FALSE(before->volume_condition().abnormal());
  if (real()) {
    ASSERT_EQ(::mount(nullptr, staging_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
  } else {
    dynamic_cast<mount::RecordingMounter&>(*world_->mounter).StopWrites(staging_);
  }
  for (const std::string& path : {staging_, target_}) {
    const auto stats = Stats(volume, path);
    ASSERT_OK(stats);
    EXPECT_TRUE(stats->volume_condition().abnormal());
    EXPECT_THAT(stats->volume_condition().message(), testing::HasSubstr("read-only"));
    EXPECT_GT(stats->usage(0).total(), 0);
  }
  // One that is meant to be read only is well.
  ASSERT_OK(Unpublish(volume, target_));
  ASSERT_OK(Unstage(volume));
  const auto readers = MountCapability(Mode::MULTI_NODE_READER_ONLY);
  ASSERT_OK(Stage(volume, readers));
  ASSERT_OK(Publish(volume, target_, readers));
  EXPECT_FALSE(Stats(volume, target_)->volume_condition().abnormal());
}

TEST_P(NodeCasesTest, EverythingMayBeRepeated) {  // 90
  const std::string volume = Volume("v");
  for (int i = 0; i < 10; ++i) ASSERT_OK(Stage(volume));
  for (int i = 0; i < 10; ++i) ASSERT_OK(Publish(volume, target_));
  // Also by a driver that was started again.
  StopNode();
  StartNode();
  ASSERT_OK(Stage(volume));
  ASSERT_OK(Publish(volume, target_));
  EXPECT_CODE(Publish(volume, target_, MountCapability(), true), Code::kAlreadyExists);
}

}  // namespace
}  // namespace thinsnap::driver
