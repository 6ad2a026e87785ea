#include "base/core/bytes.h"
#include "tests/contract/pool/thin_pool_contract.h"

namespace thinsnap::pool {
namespace {

TEST_P(ThinPoolTest, HasAnIdThatStays) {
  const PoolStatus before = *pool_->GetStatus();
  EXPECT_EQ(before.id.str().size(), 13U);
  EXPECT_GT(before.size_bytes, 0U);
  EXPECT_LE(before.free_bytes, before.size_bytes);
  Reopen();
  EXPECT_EQ(pool_->GetStatus()->id, before.id);
}

TEST_P(ThinPoolTest, CreateIsIdempotentByName) {
  const VolumeInfo first = MakeVolume("pvc-1");
  EXPECT_TRUE(IsUlid(first.id.str()));
  EXPECT_EQ(MakeVolume("pvc-1").id, first.id);
  const auto other =
      pool_->Create({.name = "pvc-1", .size_bytes = 2 * kSize, .source = {}, .tags = {}});
  EXPECT_TRUE(other.Is(Code::kAlreadyExists));
  EXPECT_EQ(pool_->ListVolumes()->size(), 1U);
}

TEST_P(ThinPoolTest, CreateRefusesNoNameAndNoSize) {
  EXPECT_TRUE(pool_->Create({.name = "", .size_bytes = 1, .source = {}, .tags = {}})
                  .Is(Code::kInvalidArgument));
  EXPECT_TRUE(pool_->Create({.name = "x", .size_bytes = 0, .source = {}, .tags = {}})
                  .Is(Code::kInvalidArgument));
}

TEST_P(ThinPoolTest, NamesMayHoldAnyBytes) {
  const std::string name = "../\xc3\xbc\n\t/" + std::string(100, '/');
  const VolumeInfo volume = MakeVolume(name);
  Reopen();
  EXPECT_EQ(pool_->GetVolume(volume.id)->name, name);
}

TEST_P(ThinPoolTest, AReusedNameGetsANewId) {
  const VolumeInfo first = MakeVolume("pvc-1");
  ASSERT_TRUE(pool_->RemoveVolume(first.id).ok());
  EXPECT_NE(MakeVolume("pvc-1").id, first.id);
}

TEST_P(ThinPoolTest, RemoveIsIdempotent) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  EXPECT_TRUE(pool_->RemoveVolume(volume.id).ok());
  EXPECT_TRUE(pool_->RemoveVolume(volume.id).ok());
  EXPECT_TRUE(pool_->GetVolume(volume.id).Is(Code::kNotFound));
}

TEST_P(ThinPoolTest, EverythingSurvivesReopening) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  Write(volume.id, 0, Pattern(kBlock, 1));
  const SnapshotInfo snapshot = Cut("snap-1", volume.id);
  ASSERT_TRUE(pool_->TagSnapshot(snapshot.id, {{"state", "exported"}}).ok());
  Reopen();
  EXPECT_EQ(pool_->GetVolume(volume.id)->tags.at("owner"), "pvc-1");
  const SnapshotInfo again = *pool_->GetSnapshot(snapshot.id);
  EXPECT_EQ(again.tags.at("state"), "exported");
  EXPECT_EQ(again.cut, snapshot.cut);
  EXPECT_EQ(again.device_identity, snapshot.device_identity);
  EXPECT_EQ(ReadSnapshot(snapshot.id, 0, kBlock), Pattern(kBlock, 1));
}

TEST_P(ThinPoolTest, ASnapshotKeepsItsBytes) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  Write(volume.id, 0, Pattern(kBlock, 1));
  const SnapshotInfo snapshot = Cut("snap-1", volume.id);
  EXPECT_EQ(quiesce_.frozen, 1);
  EXPECT_EQ(quiesce_.thawed, 1);
  Write(volume.id, 0, Pattern(kBlock, 2));
  EXPECT_EQ(ReadSnapshot(snapshot.id, 0, kBlock), Pattern(kBlock, 1));
  auto device = OpenSnapshot(*pool_, snapshot.id);
  EXPECT_FALSE((*device)->WriteAt(0, Pattern(kBlock, 3)).ok());
}

TEST_P(ThinPoolTest, SnapshotIsIdempotentByNameAndSource) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  const VolumeInfo other = MakeVolume("pvc-2");
  const SnapshotInfo first = Cut("snap", volume.id);
  EXPECT_EQ(Cut("snap", volume.id).id, first.id);
  EXPECT_EQ(quiesce_.frozen, 1) << "a repeated call must not freeze again";
  EXPECT_TRUE(pool_->Snapshot({.name = "snap", .volume = other.id, .tags = {}}, quiesce_)
                  .Is(Code::kAlreadyExists));
  EXPECT_TRUE(
      pool_
          ->Snapshot({.name = "new", .volume = VolumeId("01arz3ndektsv4rrffq69g5fav"), .tags = {}},
                     quiesce_)
          .Is(Code::kNotFound));
}

TEST_P(ThinPoolTest, SnapshotIdsOfAVolumeAscend) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  SnapshotId last;
  for (int i = 0; i < 20; ++i) {
    const SnapshotId id = Cut("snap-" + std::to_string(i), volume.id).id;
    EXPECT_GT(id, last);
    last = id;
  }
}

TEST_P(ThinPoolTest, AFailedFreezeLeavesNothing) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  quiesce_.fail_freeze = true;
  EXPECT_FALSE(pool_->Snapshot({.name = "snap", .volume = volume.id, .tags = {}}, quiesce_).ok());
  EXPECT_TRUE(pool_->ListSnapshots()->empty());
  Reopen();
  EXPECT_TRUE(pool_->ListSnapshots()->empty());
}

TEST_P(ThinPoolTest, ASnapshotOutlivesItsVolume) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  Write(volume.id, kBlock, Pattern(kBlock, 5));
  const SnapshotInfo snapshot = Cut("snap", volume.id);
  ASSERT_TRUE(pool_->RemoveVolume(volume.id).ok());
  EXPECT_EQ(ReadSnapshot(snapshot.id, kBlock, kBlock), Pattern(kBlock, 5));
}

TEST_P(ThinPoolTest, ACloneStartsWithTheSnapshotsBytes) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  Write(volume.id, 0, Pattern(kBlock, 5));
  const SnapshotInfo snapshot = Cut("snap", volume.id);
  const auto clone =
      pool_->Create({.name = "clone", .size_bytes = 2 * kSize, .source = snapshot.id, .tags = {}});
  ASSERT_TRUE(clone.ok()) << clone.error().ToString();
  EXPECT_EQ(clone->size_bytes, 2 * kSize);
  EXPECT_EQ(clone->origin, snapshot.id);
  auto device = OpenVolume(*pool_, clone->id);
  EXPECT_EQ(Read(**device, 0, kBlock), Pattern(kBlock, 5));
  EXPECT_EQ(Read(**device, 2 * kSize - kBlock, kBlock), Pattern(kBlock, 0));
  Write(clone->id, 0, Pattern(kBlock, 6));
  EXPECT_EQ(ReadSnapshot(snapshot.id, 0, kBlock), Pattern(kBlock, 5));
  EXPECT_TRUE(
      pool_->Create({.name = "small", .size_bytes = kSize / 2, .source = snapshot.id, .tags = {}})
          .Is(Code::kOutOfRange));
}

TEST_P(ThinPoolTest, ResizeOnlyGrows) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  EXPECT_EQ(*pool_->Resize(volume.id, 2 * kSize), 2 * kSize);
  EXPECT_EQ(*pool_->Resize(volume.id, kSize), 2 * kSize);
  Reopen();
  EXPECT_EQ(pool_->GetVolume(volume.id)->size_bytes, 2 * kSize);
  Write(volume.id, 2 * kSize - kBlock, Pattern(kBlock, 9));
}

TEST_P(ThinPoolTest, TagsAreSetAndRemovedTogether) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  ASSERT_TRUE(pool_->TagVolume(volume.id, {{"owner", ""}, {"a", "1"}, {"b", "2"}}).ok());
  Reopen();
  const Tags expected = {{"a", "1"}, {"b", "2"}};
  EXPECT_EQ(pool_->GetVolume(volume.id)->tags, expected);
}

TEST_P(ThinPoolTest, DropDeviceKeepsTheRecord) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  const SnapshotInfo snapshot = Cut("snap", volume.id);
  ASSERT_TRUE(pool_->DropDevice(snapshot.id).ok());
  ASSERT_TRUE(pool_->DropDevice(snapshot.id).ok());
  Reopen();
  const SnapshotInfo record = *pool_->GetSnapshot(snapshot.id);
  EXPECT_FALSE(record.has_device);
  EXPECT_EQ(record.cut, snapshot.cut);
  EXPECT_TRUE(OpenSnapshot(*pool_, snapshot.id).Is(Code::kFailedPrecondition));
  EXPECT_EQ(Cut("snap", volume.id).id, snapshot.id) << "the name still stands for it";
  EXPECT_TRUE(pool_->RemoveSnapshot(snapshot.id).ok());
  EXPECT_TRUE(pool_->ListSnapshots()->empty());
}

TEST_P(ThinPoolTest, AGroupIsCutEntirelyOrNotAtAll) {
  const VolumeInfo a = MakeVolume("a");
  const VolumeInfo b = MakeVolume("b");
  const auto both = pool_->SnapshotGroup(
      {{.name = "ga", .volume = a.id, .tags = {}}, {.name = "gb", .volume = b.id, .tags = {}}},
      quiesce_);
  ASSERT_TRUE(both.ok());
  EXPECT_EQ(both->size(), 2U);
  const auto broken = pool_->SnapshotGroup(
      {{.name = "ha", .volume = a.id, .tags = {}},
       {.name = "hb", .volume = VolumeId("01arz3ndektsv4rrffq69g5fav"), .tags = {}}},
      quiesce_);
  EXPECT_TRUE(broken.Is(Code::kNotFound));
  EXPECT_EQ(pool_->ListSnapshots()->size(), 2U);
  EXPECT_EQ(quiesce_.frozen, quiesce_.thawed);
}

INSTANTIATE_TEST_SUITE_P(Pools, ThinPoolTest, testing::Values(SimPoolKind(), ReflinkPoolKind()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace thinsnap::pool
