// Pools that are declared lost, and those that come back.
#include "csi/pool/tags.h"
#include "tests/contract/pool/no_quiesce.h"
#include "tests/unit/controller/controller_fixture.h"

namespace thinsnap::controller {
namespace {

class LostPoolTest : public ControllerFixture {
 protected:
  Status AskForBlocks(const std::string& snapshot) {
    csi::v1::GetMetadataAllocatedRequest request;
    request.set_snapshot_id(snapshot);
    return controller_->GetMetadataAllocated(
        {}, request, [](const csi::v1::GetMetadataAllocatedResponse& message) -> Status {
          EXPECT_GE(message.volume_capacity_bytes(), static_cast<std::int64_t>(4 * kMiB));
          return {};
        });
  }
};

TEST_F(LostPoolTest, LostPoolLetsEverythingGo) {
  const auto volume = CreateVolume("v", {"node-a"});
  const auto snapshot = CreateSnapshot("s", volume.volume_id());
  EXPECT_TRUE(AskForBlocks(snapshot.snapshot_id()).ok());
  nodes_["node-a"].running->Stop();
  EXPECT_TRUE(AskForBlocks(snapshot.snapshot_id()).Is(Code::kUnavailable));
  LoseNode("node-a");
  Until("the controller to know", [&] {
    csi::v1::DeleteSnapshotRequest remove;
    remove.set_snapshot_id(snapshot.snapshot_id());
    return controller_->DeleteSnapshot({}, remove).ok();
  });
  EXPECT_TRUE(AskForBlocks(snapshot.snapshot_id()).Is(Code::kNotFound));
  csi::v1::DeleteVolumeRequest remove;
  remove.set_volume_id(volume.volume_id());
  EXPECT_TRUE(controller_->DeleteVolume({}, remove).ok());
  csi::v1::CreateSnapshotRequest cut;
  cut.set_name("s2");
  cut.set_source_volume_id(volume.volume_id());
  EXPECT_TRUE(controller_->CreateSnapshot({}, cut).Is(Code::kNotFound));
  EXPECT_TRUE(
      controller_->CreateVolume({}, VolumeRequest("x", {"node-a"})).Is(Code::kResourceExhausted));
  auto restore = VolumeRequest("r", {"node-b"});
  restore.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(
      snapshot.snapshot_id());
  EXPECT_TRUE(controller_->CreateVolume({}, restore).Is(Code::kNotFound));
  const auto listed = controller_->ListVolumes({}, {});
  ASSERT_TRUE(listed.ok()) << listed.error().ToString();
  EXPECT_EQ(listed->entries_size(), 0);
  EXPECT_EQ(NodeOf(CreateVolume("y", {})), "node-b");
}

TEST_F(LostPoolTest, DeletedObjectOfALivingPoolIsWrittenAnew) {
  const std::string pool = PoolOf("node-a");
  const auto before = admin_->Get(kube::types::kThinPool, {"", pool});
  ASSERT_TRUE(before.ok());
  ASSERT_TRUE(admin_->Delete(kube::types::kThinPool, {"", pool}).ok());
  Until("the new object", [&] {
    const auto now = admin_->Get(kube::types::kThinPool, {"", pool});
    return now.ok() && kube::UidOf(*now) != kube::UidOf(*before);
  });
  EXPECT_FALSE(IsLost(pool));
}

TEST_F(LostPoolTest, NodeThatMayNotKnowWhetherItsPoolIsLostOnlyReadsIt) {
  const auto volume = CreateVolume("v", {"node-a"});
  Node& node = nodes_["node-a"];
  node.running.reset();
  node.kube = ClientOf("stranger");  // may not read the ConfigMap
  node.world->kube = node.kube.get();
  StartNode("node-a");
  proto::CsiService& driver = node.running->client();
  csi::v1::DeleteVolumeRequest remove;
  remove.set_volume_id(volume.volume_id());
  EXPECT_TRUE(driver.DeleteVolume({}, remove).Is(Code::kUnavailable));
  EXPECT_TRUE(driver.CreateVolume({}, VolumeRequest("w", {"node-a"})).Is(Code::kUnavailable));
  EXPECT_EQ(node.world->pool->ListVolumes()->size(), 1U);
}

TEST_F(LostPoolTest, LostPoolThatComesBackIsReadOnlyUntilTakenBack) {
  const auto volume = CreateVolume("v", {"node-a"});
  const std::string pool = PoolOf("node-a");
  LoseNode("node-a");
  // What a clone that was interrupted has left.
  pool::NoQuiesce none;
  pool::SnapshotRequest cut;
  cut.name = "clone";
  cut.volume = pool::VolumeHandle::Parse(volume.volume_id())->volume;
  cut.tags[tags::kInternal] = "1";
  ASSERT_TRUE(nodes_["node-a"].world->pool->Snapshot(cut, none).ok());
  ASSERT_TRUE(
      admin_->Create(kube::types::kNode, kube::NewObject(kube::types::kNode, {"", "node-a"})).ok());
  StartNode("node-a");
  EXPECT_EQ(nodes_["node-a"].world->pool->ListSnapshots()->size(), 1U);
  proto::CsiService& node = nodes_["node-a"].running->client();
  csi::v1::DeleteVolumeRequest remove;
  remove.set_volume_id(volume.volume_id());
  EXPECT_TRUE(node.DeleteVolume({}, remove).Is(Code::kFailedPrecondition));
  EXPECT_EQ(nodes_["node-a"].world->pool->ListVolumes()->size(), 1U);
  Until("the orphans to be told", [&] {
    const auto object = admin_->Get(kube::types::kThinPool, {"", pool});
    return object.ok() && StringAt(*object, "status.reason").find("orphans") != std::string::npos;
  });
  JsonObject patch;
  patch["data"] = JsonObject{{pool, nullptr}};
  ASSERT_TRUE(admin_
                  ->Patch(kube::types::kConfigMap, {kDriverNamespace, "thinsnap-lost-pools"},
                          kube::PatchType::kMerge, patch)
                  .ok());
  // While the controller has not seen it yet, the pool counts as lost, and OK says nothing of the
  // volume.
  Until("gone", [&] {
    return controller_->DeleteVolume({}, remove).ok() &&
           nodes_["node-a"].world->pool->ListVolumes()->empty();
  });
}

}  // namespace
}  // namespace thinsnap::controller
