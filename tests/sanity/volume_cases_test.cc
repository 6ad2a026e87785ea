// Cases 10-29 and 58-60: volumes as such.
#include <map>

#include "tests/sanity/sanity_fixture.h"

namespace thinsnap::driver {
namespace {

class VolumeCasesTest : public SanityTest {};
THINSNAP_SANITY_WORLDS(VolumeCasesTest);

TEST_P(VolumeCasesTest, CreateNeedsNameAndCapabilities) {  // 10, 11
  EXPECT_CODE(Create(VolumeRequest("")), Code::kInvalidArgument);
  auto request = VolumeRequest("v");
  request.clear_volume_capabilities();
  EXPECT_CODE(Create(request), Code::kInvalidArgument);
  request = VolumeRequest("v");
  request.mutable_volume_capabilities(0)->clear_access_mode();
  EXPECT_CODE(Create(request), Code::kInvalidArgument);
  request = VolumeRequest("v");
  request.mutable_volume_capabilities(0)->clear_mount();
  EXPECT_CODE(Create(request), Code::kInvalidArgument);
  EXPECT_EQ(CountVolumes(), 0);
}

TEST_P(VolumeCasesTest, CreateWithoutCapacityTakesADefault) {  // 12
  auto request = VolumeRequest("v");
  request.clear_capacity_range();
  const auto created = Create(request);
  ASSERT_OK(created);
  EXPECT_GT(created->volume().capacity_bytes(), 0);
}

TEST_P(VolumeCasesTest, CreateWithCapacityIsAtLeastThat) {  // 13
  const auto created = Create(VolumeRequest("v", kSize + 1));
  ASSERT_OK(created);
  EXPECT_GT(created->volume().capacity_bytes(), kSize);
  EXPECT_EQ(created->volume().accessible_topology_size(), 1);
  EXPECT_EQ(created->volume().accessible_topology(0).segments().at("topology.thinsnap.io/node"),
            "node-a");
}

TEST_P(VolumeCasesTest, SameNameAndCapacityIsTheSameVolume) {  // 14
  EXPECT_EQ(Volume("v"), Volume("v"));
  EXPECT_EQ(CountVolumes(), 1);
}

TEST_P(VolumeCasesTest, SameNameAndAnotherCapacityExists) {  // 15
  auto request = VolumeRequest("v");
  request.mutable_capacity_range()->set_limit_bytes(kSize);
  const auto created = Create(request);
  ASSERT_OK(created);
  EXPECT_EQ(created->volume().capacity_bytes(), kSize);
  request.mutable_capacity_range()->set_required_bytes(2 * kSize);
  request.mutable_capacity_range()->set_limit_bytes(2 * kSize);
  EXPECT_CODE(Create(request), Code::kAlreadyExists);
  auto block = VolumeRequest("v");
  *block.mutable_volume_capabilities(0) = BlockCapability();
  EXPECT_CODE(Create(block), Code::kAlreadyExists);
}

TEST_P(VolumeCasesTest, SameNameAndAnotherFilesystemExists) {
  auto request = VolumeRequest("v");
  *request.mutable_volume_capabilities(0) = MountCapability(Mode::SINGLE_NODE_WRITER, "ext4");
  const auto created = Create(request);
  ASSERT_OK(created);
  // A type that nobody asks for now, and any mode of access, is fine with every volume.
  for (const auto mode : {Mode::SINGLE_NODE_WRITER, Mode::SINGLE_NODE_READER_ONLY}) {
    for (const std::string fs_type : {"", "ext4"}) {
      *request.mutable_volume_capabilities(0) = MountCapability(mode, fs_type);
      EXPECT_EQ(Create(request)->volume().volume_id(), created->volume().volume_id());
    }
  }
  *request.mutable_volume_capabilities(0) = MountCapability(Mode::SINGLE_NODE_WRITER, "xfs");
  EXPECT_CODE(Create(request), Code::kAlreadyExists);
  ASSERT_OK(Stage(created->volume().volume_id()));
  EXPECT_CODE(Create(request), Code::kAlreadyExists);
  // Nobody asked for a type: it has the one that was made.
  const std::string any = Volume("any");
  ASSERT_OK(Unstage(created->volume().volume_id()));
  ASSERT_OK(Stage(any));
  request.set_name("any");
  EXPECT_CODE(Create(request), Code::kAlreadyExists);
  ASSERT_OK(Unstage(any));
}

TEST_P(VolumeCasesTest, LongestNameIsTaken) {  // 16
  Volume(std::string(128, 'n'));
  EXPECT_CODE(Create(VolumeRequest(std::string(129, 'n'))), Code::kInvalidArgument);
}

TEST_P(VolumeCasesTest, CreateFromSnapshotEchoesTheSource) {  // 17
  const auto snapshot = Snapshot("s", Volume("v"));
  ASSERT_OK(snapshot);
  auto request = VolumeRequest("r");
  request.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(
      snapshot->snapshot().snapshot_id());
  const auto created = Create(request);
  ASSERT_OK(created);
  EXPECT_EQ(created->volume().content_source().snapshot().snapshot_id(),
            snapshot->snapshot().snapshot_id());
  EXPECT_EQ(Create(request)->volume().volume_id(), created->volume().volume_id());
  EXPECT_CODE(Create(VolumeRequest("r")), Code::kAlreadyExists);
}

TEST_P(VolumeCasesTest, CreateFromMissingSourceIsNotFound) {  // 18, 20
  auto request = VolumeRequest("r");
  request.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(
      "non-existing-snapshot-id");
  EXPECT_CODE(Create(request), Code::kNotFound);
  request.mutable_volume_content_source()->mutable_volume()->set_volume_id(
      "non-existing-volume-id");
  EXPECT_CODE(Create(request), Code::kNotFound);
  request.mutable_volume_content_source()->Clear();
  EXPECT_CODE(Create(request), Code::kInvalidArgument);
}

TEST_P(VolumeCasesTest, CreateFromVolumeEchoesTheSourceAndLeavesNoSnapshot) {  // 19
  const std::string source = Volume("v");
  auto request = VolumeRequest("c");
  request.mutable_volume_content_source()->mutable_volume()->set_volume_id(source);
  const auto created = Create(request);
  ASSERT_OK(created);
  EXPECT_EQ(created->volume().content_source().volume().volume_id(), source);
  EXPECT_EQ(Create(request)->volume().volume_id(), created->volume().volume_id());
  EXPECT_TRUE(world_->pool->ListSnapshots()->empty());
  EXPECT_TRUE(csi().ListSnapshots({}, {})->entries().empty());
}

TEST_P(VolumeCasesTest, CreateFromSourceIsNeverSmallerThanIt) {
  const auto snapshot = Snapshot("s", Volume("v", 2 * kSize));
  ASSERT_OK(snapshot);
  auto request = VolumeRequest("r", kSize);
  request.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(
      snapshot->snapshot().snapshot_id());
  request.mutable_capacity_range()->set_limit_bytes(kSize);
  EXPECT_CODE(Create(request), Code::kOutOfRange);
  request.mutable_capacity_range()->clear_limit_bytes();
  const auto created = Create(request);
  ASSERT_OK(created);
  EXPECT_EQ(created->volume().capacity_bytes(), 2 * kSize);
}

TEST_P(VolumeCasesTest, ParametersThatNobodyKnowsAreNamed) {  // 21, 22
  auto request = VolumeRequest("v");
  (*request.mutable_mutable_parameters())["XXX_FakeKey"] = "x";
  EXPECT_CODE(Create(request), Code::kInvalidArgument);
  request.clear_mutable_parameters();
  (*request.mutable_parameters())["pool"] = "x";
  const auto refused = Create(request);
  EXPECT_CODE(refused, Code::kInvalidArgument);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("\"pool\""));
}

TEST_P(VolumeCasesTest, ModifyTakesTagsAndNothingElse) {  // 61-66
  const auto modify = [&](const std::string& volume,
                          const std::map<std::string, std::string>& parameters) {
    csi::v1::ControllerModifyVolumeRequest request;
    request.set_volume_id(volume);
    for (const auto& [key, value] : parameters) {
      (*request.mutable_mutable_parameters())[key] = value;
    }
    return csi().ControllerModifyVolume({}, request);
  };
  auto request = VolumeRequest("v");
  (*request.mutable_mutable_parameters())["tag/team"] = "orders";
  const auto created = Create(request);
  ASSERT_OK(created);
  const std::string volume = created->volume().volume_id();
  const auto tags = [&] {
    pool::Tags found = world_->pool->ListVolumes()->front().tags;
    std::erase_if(found, [](const auto& tag) { return !tag.first.starts_with("tag."); });
    return found;
  };
  EXPECT_CODE(modify("", {{"tag/team", "x"}}), Code::kInvalidArgument);
  EXPECT_CODE(modify("fake-vol-id", {{"tag/team", "x"}}), Code::kNotFound);
  const auto refused = modify(volume, {{"tag/team", "x"}, {"iops", "100"}});
  EXPECT_CODE(refused, Code::kInvalidArgument);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("\"iops\""));
  // Nothing of it was done.
  EXPECT_EQ(tags(), (pool::Tags{{"tag.team", "orders"}}));
  for (int i = 0; i < 2; ++i) ASSERT_OK(modify(volume, {{"tag/team", "x"}, {"tag/tier", "gold"}}));
  EXPECT_EQ(tags(), (pool::Tags{{"tag.team", "x"}, {"tag.tier", "gold"}}));
  ASSERT_OK(modify(volume, {{"tag/team", ""}}));
  EXPECT_EQ(tags(), (pool::Tags{{"tag.tier", "gold"}}));
  ASSERT_OK(modify(volume, {}));
  ASSERT_OK(modify(Volume("plain"), {{"tag/team", "x"}}));
}

TEST_P(VolumeCasesTest, GetShowsTheVolumeAndHowItIs) {
  csi::v1::ControllerGetVolumeRequest request;
  EXPECT_CODE(csi().ControllerGetVolume({}, request), Code::kInvalidArgument);
  request.set_volume_id("fake-vol-id");
  EXPECT_CODE(csi().ControllerGetVolume({}, request), Code::kNotFound);
  request.set_volume_id(Volume("v"));
  const auto shown = csi().ControllerGetVolume({}, request);
  ASSERT_OK(shown);
  EXPECT_EQ(shown->volume().volume_id(), request.volume_id());
  EXPECT_EQ(shown->volume().capacity_bytes(), kSize);
  EXPECT_FALSE(shown->status().volume_condition().abnormal());
  EXPECT_FALSE(shown->status().volume_condition().message().empty());
  const auto listed = csi().ListVolumes({}, {});
  ASSERT_OK(listed);
  for (const auto& entry : listed->entries()) {
    EXPECT_TRUE(entry.status().has_volume_condition());
  }
  ASSERT_OK(Delete(request.volume_id()));
  EXPECT_CODE(csi().ControllerGetVolume({}, request), Code::kNotFound);
}

TEST_P(VolumeCasesTest, DeleteNeedsAnIdAndForgivesUnknownOnes) {  // 23, 24, 25
  EXPECT_CODE(Delete(""), Code::kInvalidArgument);
  EXPECT_TRUE(Delete("fake-vol-id").ok());
  const std::string volume = Volume("v");
  EXPECT_TRUE(Delete(volume).ok());
  EXPECT_TRUE(Delete(volume).ok());
}

TEST_P(VolumeCasesTest, VolumeInUseIsNotDeleted) {
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume));
  EXPECT_CODE(Delete(volume), Code::kFailedPrecondition);
  EXPECT_EQ(CountVolumes(), 1);
}

TEST_P(VolumeCasesTest, SnapshotsOutliveTheirVolume) {
  const std::string volume = Volume("v");
  const auto snapshot = Snapshot("s", volume);
  ASSERT_OK(snapshot);
  ASSERT_OK(Delete(volume));
  EXPECT_EQ(csi().ListSnapshots({}, {})->entries_size(), 1);
  auto request = VolumeRequest("r");
  request.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(
      snapshot->snapshot().snapshot_id());
  ASSERT_OK(Create(request));
}

TEST_P(VolumeCasesTest, ValidateChecksItsArguments) {  // 26, 27, 28, 29
  csi::v1::ValidateVolumeCapabilitiesRequest request;
  *request.add_volume_capabilities() = MountCapability();
  EXPECT_CODE(csi().ValidateVolumeCapabilities({}, request), Code::kInvalidArgument);
  request.set_volume_id("fake-vol-id");
  EXPECT_CODE(csi().ValidateVolumeCapabilities({}, request), Code::kNotFound);
  request.set_volume_id(Volume("v"));
  const auto confirmed = csi().ValidateVolumeCapabilities({}, request);
  ASSERT_OK(confirmed);
  EXPECT_EQ(confirmed->confirmed().volume_capabilities_size(), 1);
  *request.mutable_volume_capabilities(0) = MountCapability(Mode::MULTI_NODE_MULTI_WRITER);
  const auto refused = csi().ValidateVolumeCapabilities({}, request);
  ASSERT_OK(refused);
  EXPECT_FALSE(refused->has_confirmed());
  EXPECT_FALSE(refused->message().empty());
  *request.mutable_volume_capabilities(0) = BlockCapability();
  EXPECT_FALSE(csi().ValidateVolumeCapabilities({}, request)->has_confirmed());
  request.clear_volume_capabilities();
  EXPECT_CODE(csi().ValidateVolumeCapabilities({}, request), Code::kInvalidArgument);
}

TEST_P(VolumeCasesTest, ExpandChecksItsArgumentsAndIsExact) {  // 58, 59, 60
  EXPECT_CODE(Expand("", 2 * kSize), Code::kInvalidArgument);
  EXPECT_CODE(csi().ControllerExpandVolume({}, {}), Code::kInvalidArgument);
  EXPECT_CODE(Expand("fake-vol-id", 2 * kSize), Code::kNotFound);
  const std::string volume = Volume("v");
  const auto grown = Expand(volume, 2 * kSize);
  ASSERT_OK(grown);
  EXPECT_EQ(grown->capacity_bytes(), 2 * kSize);
  EXPECT_TRUE(grown->node_expansion_required());
  EXPECT_EQ(Expand(volume, kSize)->capacity_bytes(), 2 * kSize);
  EXPECT_FALSE(Expand(BlockVolume("b"), 2 * kSize)->node_expansion_required());
}

TEST_P(VolumeCasesTest, ExpandKeepsToItsRange) {
  const std::string volume = Volume("v");
  const auto expand = [&](std::int64_t required, std::int64_t limit) {
    csi::v1::ControllerExpandVolumeRequest request;
    request.set_volume_id(volume);
    request.mutable_capacity_range()->set_required_bytes(required);
    request.mutable_capacity_range()->set_limit_bytes(limit);
    return csi().ControllerExpandVolume({}, request);
  };
  EXPECT_CODE(expand(0, 0), Code::kInvalidArgument);
  EXPECT_CODE(expand(-1, 0), Code::kInvalidArgument);
  EXPECT_CODE(expand(2 * kSize, kSize), Code::kOutOfRange);
  EXPECT_CODE(expand(0, kSize / 2), Code::kOutOfRange);
  // Rounded up it would pass the limit.
  EXPECT_CODE(expand(kSize + 1, kSize + 2), Code::kOutOfRange);
  // Final: the resizer lets the claim's user ask for less.
  EXPECT_CODE(expand(1000 * kSize, 0), Code::kOutOfRange);
  EXPECT_EQ(expand(0, kSize)->capacity_bytes(), kSize);
  EXPECT_EQ(expand(kSize, kSize)->capacity_bytes(), kSize);
}

TEST_P(VolumeCasesTest, ValidateKnowsTheFilesystem) {
  const std::string volume = Volume("v");
  const auto confirms = [&](const std::string& fs_type) {
    csi::v1::ValidateVolumeCapabilitiesRequest request;
    request.set_volume_id(volume);
    *request.add_volume_capabilities() = MountCapability(Mode::SINGLE_NODE_WRITER, fs_type);
    const auto answer = csi().ValidateVolumeCapabilities({}, request);
    EXPECT_TRUE(answer.ok());
    return answer.ok() && answer->has_confirmed();
  };
  EXPECT_TRUE(confirms("ext4") && confirms("xfs"));
  ASSERT_OK(Stage(volume, MountCapability(Mode::SINGLE_NODE_WRITER, "ext4")));
  EXPECT_TRUE(confirms("ext4") && confirms(""));
  EXPECT_FALSE(confirms("xfs"));
}

TEST_P(VolumeCasesTest, LimitThatNoSizeMeetsMakesNothing) {
  auto request = VolumeRequest("v", kSize + 1);
  request.mutable_capacity_range()->set_limit_bytes(kSize + 2);
  EXPECT_CODE(Create(request), Code::kOutOfRange);
  EXPECT_EQ(CountVolumes(), 0);
}

TEST_P(VolumeCasesTest, TopologyOfAnotherNodeIsRefused) {
  auto request = VolumeRequest("v");
  auto* topology = request.mutable_accessibility_requirements()->add_requisite();
  (*topology->mutable_segments())["topology.thinsnap.io/node"] = "node-b";
  EXPECT_CODE(Create(request), Code::kResourceExhausted);
  (*topology->mutable_segments())["topology.thinsnap.io/node"] = "node-a";
  EXPECT_TRUE(Create(request).ok());
}

TEST_P(VolumeCasesTest, LargerThanThePoolIsRefusedWithFigures) {
  const auto refused = Create(VolumeRequest("v", 1000 * kSize));
  EXPECT_CODE(refused, Code::kResourceExhausted);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("GiB"));
}

}  // namespace
}  // namespace thinsnap::driver
