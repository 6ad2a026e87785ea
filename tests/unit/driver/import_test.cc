// CreateVolume from an exported snapshot: import in the background, damage, wrong keys, restarts.
#include <gmock/gmock.h>

#include "tests/unit/driver/fixture.h"

namespace thinsnap::driver {
namespace {

using testing::HasSubstr;

class ImportTest : public DriverFixture {
 protected:
  // An exported snapshot of another pool, which is gone.
  std::string ExportElsewhere(TestRepository& repository) {
    const std::string volume = CreateVolume("v");
    Write(volume, 0, "from the bucket");
    Write(volume, 3 * kMiB, "and more");
    const auto snapshot = SnapshotUntilReady(SnapshotRequest("s", volume, repository.id));
    StopNode();
    auto options = world_->options;
    folder_ = std::make_unique<TestFolder>();
    elsewhere_ = std::move(world_);
    world_ = MakeSimWorld();
    world_->options.repositories_folder = options.repositories_folder;
    world_->options.open_store = options.open_store;
    world_->options.node_name = "node-b";
    StartNode();
    return snapshot.snapshot_id();
  }

  std::unique_ptr<TestFolder> folder_;
  std::unique_ptr<NodeWorld> elsewhere_;
};

TEST_F(ImportTest, BringsTheBytesBack) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string snapshot = ExportElsewhere(repository);
  const auto restored = CreateUntilDone(RestoreRequest("r", snapshot, 16 * kMiB));
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
  EXPECT_EQ(restored->volume().content_source().snapshot().snapshot_id(), snapshot);
  EXPECT_EQ(restored->volume().capacity_bytes(), static_cast<std::int64_t>(16 * kMiB));
  EXPECT_EQ(Read(restored->volume().volume_id(), 0, 15), "from the bucket");
  EXPECT_EQ(Read(restored->volume().volume_id(), 3 * kMiB, 8), "and more");
  // Repeating answers the same.
  const auto again = csi().CreateVolume({}, RestoreRequest("r", snapshot, 16 * kMiB));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->volume().volume_id(), restored->volume().volume_id());
}

TEST_F(ImportTest, SmallerLimitThanTheSourceIsOutOfRange) {
  TestRepository& repository = AddRepository();
  StartNode();
  auto request = RestoreRequest("r", ExportElsewhere(repository), kMiB);
  request.mutable_capacity_range()->set_limit_bytes(static_cast<std::int64_t>(2 * kMiB));
  EXPECT_TRUE(csi().CreateVolume({}, request).Is(Code::kOutOfRange));
  EXPECT_TRUE(world_->pool->ListVolumes()->empty());
}

TEST_F(ImportTest, MissingPointIsFinal) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string snapshot = ExportElsewhere(repository);
  ASSERT_TRUE(repository.opened->Forget(repository.opened->ListPoints()->front().name).ok());
  const auto restored = csi().CreateVolume({}, RestoreRequest("r", snapshot));
  ASSERT_FALSE(restored.ok());
  EXPECT_EQ(restored.error().code(), Code::kNotFound);
  EXPECT_THAT(restored.error().message(), HasSubstr(repository.id));
  EXPECT_TRUE(world_->pool->ListVolumes()->empty());
}

TEST_F(ImportTest, NetworkTroubleIsAborted) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string snapshot = ExportElsewhere(repository);
  repository.store.Cut(true);
  const auto restored = csi().CreateVolume({}, RestoreRequest("r", snapshot));
  ASSERT_FALSE(restored.ok());
  EXPECT_EQ(restored.error().code(), Code::kAborted);
  repository.store.Cut(false);
  EXPECT_TRUE(CreateUntilDone(RestoreRequest("r", snapshot)).ok());
}

TEST_F(ImportTest, DamageIsFinalAndTheHalfVolumeGoes) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string snapshot = ExportElsewhere(repository);
  // One bit of every pack.
  std::vector<std::string> packs;
  ASSERT_TRUE(store::ListAll(repository.store, "packs/", [&](const store::ObjectInfo& info) {
                packs.push_back(info.key);
                return Status();
              }).ok());
  ASSERT_FALSE(packs.empty());
  for (const std::string& key : packs) {
    auto object = repository.store.Get(key);
    ASSERT_TRUE(object.ok());
    // Everywhere: any record that is read is hit.
    for (std::size_t i = 0; i < object->bytes.size(); i += 16) object->bytes[i] ^= 1;
    ASSERT_TRUE(repository.store.Put(key, object->bytes).ok());
  }
  const auto restored = CreateUntilDone(RestoreRequest("r", snapshot));
  ASSERT_FALSE(restored.ok());
  EXPECT_EQ(restored.error().code(), Code::kDataLoss) << restored.error().ToString();
  EXPECT_TRUE(world_->pool->ListVolumes()->empty());
}

TEST_F(ImportTest, RestartGoesOnByItself) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string snapshot = ExportElsewhere(repository);
  repository.packs_unreadable = true;
  proto::Call call;
  call.deadline = world_->clock.MonoNow() + std::chrono::milliseconds(1500);
  const auto interrupted = csi().CreateVolume(call, RestoreRequest("r", snapshot));
  ASSERT_FALSE(interrupted.ok());
  EXPECT_EQ(interrupted.error().code(), Code::kAborted) << interrupted.error().ToString();
  ASSERT_EQ(world_->pool->ListVolumes()->size(), 1U);
  const pool::VolumeId volume = world_->pool->ListVolumes()->front().id;
  EXPECT_TRUE(world_->pool->GetVolume(volume)->tags.contains("importing"));
  StopNode();
  repository.packs_unreadable = false;
  StartNode();
  // Nobody calls: the driver itself fills it.
  for (int i = 0; i < kPolls && world_->pool->GetVolume(volume)->tags.contains("importing"); ++i) {
    ASSERT_TRUE(world_->runtime.SleepFor(kPollPause).ok());
  }
  const auto restored = csi().CreateVolume({}, RestoreRequest("r", snapshot));
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
  EXPECT_EQ(VolumeOf(restored->volume().volume_id()), volume);
  EXPECT_EQ(Read(restored->volume().volume_id(), 0, 15), "from the bucket");
}

TEST_F(ImportTest, DeleteEndsARunningImport) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string snapshot = ExportElsewhere(repository);
  repository.packs_unreadable = true;
  proto::Call call;
  call.deadline = world_->clock.MonoNow() + std::chrono::milliseconds(1500);
  ASSERT_TRUE(csi().CreateVolume(call, RestoreRequest("r", snapshot)).Is(Code::kAborted));
  csi::v1::DeleteVolumeRequest remove;
  remove.set_volume_id(csi().ListVolumes({}, {})->entries(0).volume().volume_id());
  const auto removed = csi().DeleteVolume({}, remove);
  ASSERT_TRUE(removed.ok()) << removed.error().ToString();
  EXPECT_TRUE(world_->pool->ListVolumes()->empty());
}

TEST_F(ImportTest, ImportingVolumeCannotBeStaged) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string volume = CreateVolume("v");
  ASSERT_TRUE(world_->pool
                  ->TagVolume(VolumeOf(volume), {{"importing",
                                                  "ts1.0123456789abc.01arz3ndektsv4rrffq69g5fav."
                                                  "01arz3ndektsv4rrffq69g5faw@" +
                                                      repository.id}})
                  .ok());
  csi::v1::NodeStageVolumeRequest stage;
  stage.set_volume_id(volume);
  stage.set_staging_target_path("/staging");
  stage.mutable_volume_capability()->mutable_mount();
  stage.mutable_volume_capability()->mutable_access_mode()->set_mode(
      csi::v1::VolumeCapability::AccessMode::SINGLE_NODE_WRITER);
  EXPECT_TRUE(csi().NodeStageVolume({}, stage).Is(Code::kAborted));
}

TEST_F(ImportTest, UnexportedSnapshotOfAnotherPoolIsNotFound) {
  StartNode();
  const auto restored =
      csi().CreateVolume({}, RestoreRequest("r",
                                            "ts1.0123456789abc.01arz3ndektsv4rrffq69g5fav."
                                            "01arz3ndektsv4rrffq69g5faw"));
  EXPECT_TRUE(restored.Is(Code::kNotFound));
}

}  // namespace
}  // namespace thinsnap::driver
