// The controller role with two nodes: placement, forwarding, lists, nodes that do not answer.
#include <set>

#include "tests/unit/controller/controller_fixture.h"

namespace thinsnap::controller {
namespace {

using testing::HasSubstr;

class ControllerTest : public ControllerFixture {};

TEST_F(ControllerTest, GoesWhereTheTopologySays) {
  EXPECT_EQ(NodeOf(CreateVolume("a", {"node-a"})), "node-a");
  EXPECT_EQ(NodeOf(CreateVolume("b", {"node-b"})), "node-b");
  // A repeated call finds the name wherever it is, whatever the topology prefers now.
  EXPECT_EQ(NodeOf(CreateVolume("a", {"node-a", "node-b"})), "node-a");
  const auto listed = controller_->ListVolumes({}, {});
  ASSERT_TRUE(listed.ok());
  EXPECT_EQ(listed->entries_size(), 2);
}

TEST_F(ControllerTest, PagesGoAcrossNodes) {
  std::set<std::string> made, seen;
  for (int i = 0; i < 5; ++i) {
    const auto volume = CreateVolume("v" + std::to_string(i), {i % 2 == 0 ? "node-a" : "node-b"});
    made.insert(volume.volume_id());
  }
  csi::v1::ListVolumesRequest request;
  request.set_max_entries(2);
  for (int page = 0; page < 5; ++page) {
    const auto listed = controller_->ListVolumes({}, request);
    ASSERT_TRUE(listed.ok()) << listed.error().ToString();
    EXPECT_LE(listed->entries_size(), 2);
    for (const auto& entry : listed->entries()) {
      EXPECT_TRUE(seen.insert(entry.volume().volume_id()).second);
    }
    if (listed->next_token().empty()) break;
    request.set_starting_token(listed->next_token());
  }
  EXPECT_EQ(seen, made);
}

TEST_F(ControllerTest, LastPageHasNoToken) {
  for (int i = 0; i < 4; ++i) {
    const auto volume = CreateVolume("v" + std::to_string(i), {i % 2 == 0 ? "node-a" : "node-b"});
    CreateSnapshot("s" + std::to_string(i), volume.volume_id());
  }
  for (const int size : {2, 4}) {
    csi::v1::ListVolumesRequest volumes;
    csi::v1::ListSnapshotsRequest snapshots;
    volumes.set_max_entries(size);
    snapshots.set_max_entries(size);
    for (int page = 1; page <= 4 / size; ++page) {
      const auto volumes_page = controller_->ListVolumes({}, volumes);
      const auto snapshots_page = controller_->ListSnapshots({}, snapshots);
      ASSERT_TRUE(volumes_page.ok() && snapshots_page.ok());
      EXPECT_EQ(volumes_page->entries_size(), size);
      EXPECT_EQ(snapshots_page->entries_size(), size);
      EXPECT_EQ(volumes_page->next_token().empty(), page == 4 / size);
      EXPECT_EQ(snapshots_page->next_token().empty(), page == 4 / size);
      volumes.set_starting_token(volumes_page->next_token());
      snapshots.set_starting_token(snapshots_page->next_token());
    }
  }
}

TEST_F(ControllerTest, SnapshotsOfAVolumeNeedItsNodeOnly) {
  const auto volume = CreateVolume("v", {"node-a"});
  CreateSnapshot("s", volume.volume_id());
  nodes_["node-b"].running->Stop();
  csi::v1::ListSnapshotsRequest request;
  request.set_source_volume_id(volume.volume_id());
  const auto listed = controller_->ListSnapshots({}, request);
  ASSERT_TRUE(listed.ok()) << listed.error().ToString();
  EXPECT_EQ(listed->entries_size(), 1);
}

TEST_F(ControllerTest, VolumeLargerThanAnyPoolIsRefusedWithFigures) {
  auto request = VolumeRequest("big", {});
  request.mutable_capacity_range()->set_required_bytes(static_cast<std::int64_t>(kTiB));
  const auto made = controller_->CreateVolume({}, request);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code(), Code::kResourceExhausted);
  EXPECT_THAT(made.error().message(), HasSubstr(PoolOf("node-a")));
  EXPECT_THAT(made.error().message(), HasSubstr(PoolOf("node-b")));
  EXPECT_THAT(made.error().message(), HasSubstr("1.0 TiB"));
}

TEST_F(ControllerTest, CloneGoesToItsSourceAndNowhereElse) {
  const auto volume = CreateVolume("v", {"node-b"});
  const auto snapshot = CreateSnapshot("s", volume.volume_id());
  auto restore = VolumeRequest("r", {"node-a", "node-b"});
  restore.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(
      snapshot.snapshot_id());
  const auto restored = controller_->CreateVolume({}, restore);
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
  EXPECT_EQ(NodeOf(restored->volume()), "node-b");

  auto elsewhere = VolumeRequest("e", {"node-a"});
  elsewhere.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(
      snapshot.snapshot_id());
  const auto refused = controller_->CreateVolume({}, elsewhere);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code(), Code::kResourceExhausted);
  EXPECT_THAT(refused.error().message(), HasSubstr(PoolOf("node-b")));
  EXPECT_THAT(refused.error().message(), HasSubstr("node-b"));
}

TEST_F(ControllerTest, SilentNodeIsUnavailableNotLost) {
  const auto volume = CreateVolume("v", {"node-a"});
  nodes_["node-a"].running->Stop();
  csi::v1::DeleteVolumeRequest remove;
  remove.set_volume_id(volume.volume_id());
  EXPECT_TRUE(controller_->DeleteVolume({}, remove).Is(Code::kUnavailable));
  // It may have made the volume and lost the answer: nobody else makes it now.
  for (const auto& request :
       {VolumeRequest("w", {"node-a", "node-b"}), PreferringRequest("w", {"node-a", "node-b"})}) {
    const auto made = controller_->CreateVolume({}, request);
    ASSERT_TRUE(made.Is(Code::kUnavailable));
    EXPECT_THAT(made.error().message(), HasSubstr("node-a"));
  }
  EXPECT_TRUE(nodes_["node-b"].world->pool->ListVolumes()->empty());
  // Nor does it hold up a pod that is elsewhere, nor, once it counts as silent, what may go
  // anywhere.
  EXPECT_TRUE(controller_->CreateVolume({}, PreferringRequest("x", {"node-b", "node-a"})).ok());
  Until("the node to be passed over", [&] {
    const auto made = controller_->CreateVolume({}, VolumeRequest("w", {"node-a", "node-b"}));
    return made.ok() && NodeOf(made->volume()) == "node-b";
  });
  StartNode("node-a");
  Until("the node's new address", [&] { return controller_->DeleteVolume({}, remove).ok(); });
}

TEST_F(ControllerTest, PodsNodeIsTheOnlyOneThatIsTried) {
  StartNode("node-c", kTiB);
  WaitForPools(3);
  auto request = PreferringRequest("large", {"node-a", "node-c"});
  request.mutable_capacity_range()->set_required_bytes(static_cast<std::int64_t>(500 * kGiB));
  // The scheduler chooses again; it knows nothing of a volume elsewhere.
  EXPECT_TRUE(controller_->CreateVolume({}, request).Is(Code::kResourceExhausted));
  EXPECT_TRUE(nodes_["node-c"].world->pool->ListVolumes()->empty());
  request = PreferringRequest("large", {"node-c", "node-a"});
  request.mutable_capacity_range()->set_required_bytes(static_cast<std::int64_t>(500 * kGiB));
  const auto made = controller_->CreateVolume({}, request);
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ(NodeOf(made->volume()), "node-c");
  // Without a pod, the node that has room.
  request = VolumeRequest("anywhere", {"node-a", "node-c"});
  request.mutable_capacity_range()->set_required_bytes(static_cast<std::int64_t>(400 * kGiB));
  EXPECT_EQ(NodeOf(controller_->CreateVolume({}, request)->volume()), "node-c");
}

TEST_F(ControllerTest, SourceOfACopyDrawsThePodToItsNode) {
  const auto volume = CreateVolume("v", {"node-b"});
  auto clone = PreferringRequest("c", {"node-a", "node-b"});
  clone.mutable_volume_content_source()->mutable_volume()->set_volume_id(volume.volume_id());
  const auto made = controller_->CreateVolume({}, clone);
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ(NodeOf(made->volume()), "node-b");
  clone = PreferringRequest("d", {"node-a"});
  clone.mutable_volume_content_source()->mutable_volume()->set_volume_id(volume.volume_id());
  EXPECT_TRUE(controller_->CreateVolume({}, clone).Is(Code::kResourceExhausted));
}

TEST_F(ControllerTest, ListsGoOnWithoutTheSilent) {
  std::set<std::string> kept;
  for (int i = 0; i < 6; ++i) {
    const std::string node = i % 2 == 0 ? "node-a" : "node-b";
    const auto volume = CreateVolume("v" + std::to_string(i), {node});
    CreateSnapshot("s" + std::to_string(i), volume.volume_id());
    if (node == "node-a") kept.insert(volume.volume_id());
  }
  nodes_["node-b"].running->Stop();
  std::set<std::string> seen, snapshots_of;
  csi::v1::ListVolumesRequest volumes;
  csi::v1::ListSnapshotsRequest snapshots;
  volumes.set_max_entries(1);
  snapshots.set_max_entries(2);
  for (int page = 0; page < 4; ++page) {
    const auto listed = controller_->ListVolumes({}, volumes);
    ASSERT_TRUE(listed.ok()) << listed.error().ToString();
    for (const auto& entry : listed->entries()) {
      EXPECT_TRUE(seen.insert(entry.volume().volume_id()).second);
    }
    volumes.set_starting_token(listed->next_token());
    if (listed->next_token().empty()) break;
  }
  for (int page = 0; page < 3; ++page) {
    const auto listed = controller_->ListSnapshots({}, snapshots);
    ASSERT_TRUE(listed.ok()) << listed.error().ToString();
    for (const auto& entry : listed->entries()) {
      EXPECT_TRUE(snapshots_of.insert(entry.snapshot().source_volume_id()).second);
    }
    snapshots.set_starting_token(listed->next_token());
    if (listed->next_token().empty()) break;
  }
  EXPECT_EQ(seen, kept);
  EXPECT_EQ(snapshots_of, kept);
  // Nobody's word is no empty list.
  nodes_["node-a"].running->Stop();
  EXPECT_TRUE(controller_->ListVolumes({}, {}).Is(Code::kUnavailable));
}

TEST_F(ControllerTest, CapacityIsWhatTheGuardsWouldLetThrough) {
  csi::v1::GetCapacityRequest request;
  auto& node =
      (*request.mutable_accessible_topology()->mutable_segments())["topology.thinsnap.io/node"];
  node = "node-a";
  auto capacity = controller_->GetCapacity({}, request);
  ASSERT_TRUE(capacity.ok()) << capacity.error().ToString();
  // Less than what is free, but thin: one volume may be as large as the pool.
  EXPECT_LT(capacity->available_capacity(), static_cast<std::int64_t>(64 * kGiB));
  EXPECT_GT(capacity->available_capacity(), static_cast<std::int64_t>(60 * kGiB));
  EXPECT_EQ(capacity->maximum_volume_size().value(), static_cast<std::int64_t>(64 * kGiB));
  node = "node-x";
  capacity = controller_->GetCapacity({}, request);
  ASSERT_TRUE(capacity.ok());
  EXPECT_EQ(capacity->available_capacity(), 0);
  EXPECT_EQ(capacity->maximum_volume_size().value(), 0);
  // What does not answer has no room.
  node = "node-a";
  nodes_["node-a"].running->Stop();
  EXPECT_EQ(controller_->GetCapacity({}, request)->available_capacity(), 0);
}

TEST_F(ControllerTest, VolumesAreShownAndChangedWhereTheyAre) {
  const auto volume = CreateVolume("v", {"node-b"});
  const auto snapshot = CreateSnapshot("s", volume.volume_id());
  csi::v1::ControllerModifyVolumeRequest change;
  change.set_volume_id(volume.volume_id());
  (*change.mutable_mutable_parameters())["tag/team"] = "orders";
  const auto changed = controller_->ControllerModifyVolume({}, change);
  ASSERT_TRUE(changed.ok()) << changed.error().ToString();
  EXPECT_EQ(nodes_["node-b"].world->pool->ListVolumes()->front().tags.at("tag.team"), "orders");
  csi::v1::ControllerGetVolumeRequest look;
  look.set_volume_id(volume.volume_id());
  const auto shown = controller_->ControllerGetVolume({}, look);
  ASSERT_TRUE(shown.ok()) << shown.error().ToString();
  EXPECT_EQ(shown->volume().volume_id(), volume.volume_id());
  EXPECT_FALSE(shown->status().volume_condition().abnormal());
  csi::v1::GetSnapshotRequest get;
  get.set_snapshot_id(snapshot.snapshot_id());
  EXPECT_EQ(controller_->GetSnapshot({}, get)->snapshot().source_volume_id(), volume.volume_id());
  // A name is no id, though the roles speak of names between them.
  look.set_volume_id("by-name/v");
  EXPECT_TRUE(controller_->ControllerGetVolume({}, look).Is(Code::kNotFound));
  LoseNode("node-b");
  Until("the controller to know", [&] {
    return controller_->ControllerModifyVolume({}, change).Is(Code::kNotFound) &&
           controller_->GetSnapshot({}, get).Is(Code::kNotFound);
  });
}

TEST_F(ControllerTest, ConnectionsEndWithTheAddressesOfNodes) {
  PoolDirectory directory(runtime_, *admin_, kDriverNamespace,
                          [](const std::string&) { return std::make_shared<proto::CsiService>(); });
  TaskGroup group(runtime_);
  directory.Start(group);
  ASSERT_TRUE(directory.WaitForSync().ok());
  const pool::PoolId pool(PoolOf("node-a"));
  const std::weak_ptr<proto::CsiService> before = *directory.Node(pool);
  EXPECT_FALSE(before.expired());
  nodes_["node-a"].running.reset();
  StartNode("node-a");
  Until("the old connection to be closed",
        [&] { return directory.Node(pool).ok() && before.expired(); });
  group.Stop();
  group.Join();
}

TEST_F(ControllerTest, UnknownPoolIsUnavailable) {
  csi::v1::DeleteVolumeRequest remove;
  remove.set_volume_id("ts1.0123456789abc.01arz3ndektsv4rrffq69g5fav");
  EXPECT_TRUE(controller_->DeleteVolume({}, remove).Is(Code::kUnavailable));
}

TEST_F(ControllerTest, AGroupIsCutOnOneNodeOrNotAtAll) {
  const auto a = CreateVolume("a", {"node-a"}), b = CreateVolume("b", {"node-a"});
  const auto far = CreateVolume("far", {"node-b"});
  csi::v1::CreateVolumeGroupSnapshotRequest request;
  request.set_name("g");
  request.add_source_volume_ids(a.volume_id());
  request.add_source_volume_ids(far.volume_id());
  const auto spread = controller_->CreateVolumeGroupSnapshot({}, request);
  ASSERT_TRUE(spread.Is(Code::kFailedPrecondition)) << spread.error().ToString();
  EXPECT_THAT(spread.error().message(), HasSubstr("node-a"));
  EXPECT_THAT(spread.error().message(), HasSubstr("node-b"));
  request.set_source_volume_ids(1, b.volume_id());
  const auto made = controller_->CreateVolumeGroupSnapshot({}, request);
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  csi::v1::GetVolumeGroupSnapshotRequest get;
  csi::v1::DeleteVolumeGroupSnapshotRequest remove;
  get.set_group_snapshot_id(made->group_snapshot().group_snapshot_id());
  remove.set_group_snapshot_id(made->group_snapshot().group_snapshot_id());
  for (const auto& member : made->group_snapshot().snapshots()) {
    get.add_snapshot_ids(member.snapshot_id());
    remove.add_snapshot_ids(member.snapshot_id());
  }
  EXPECT_TRUE(controller_->GetVolumeGroupSnapshot({}, get).ok());
  ASSERT_TRUE(controller_->DeleteVolumeGroupSnapshot({}, remove).ok());
  EXPECT_TRUE(controller_->GetVolumeGroupSnapshot({}, get).Is(Code::kNotFound));
}

}  // namespace
}  // namespace thinsnap::controller
