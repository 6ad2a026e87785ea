#include <algorithm>
#include <map>

#include "base/core/bytes.h"
#include "tests/contract/pool/thin_pool_contract.h"

namespace thinsnap::pool {
namespace {

constexpr std::uint64_t kSize = 64 * kMiB;
constexpr std::uint64_t kBlock = 64 * kKiB;

class ThinPoolTest : public testing::TestWithParam<PoolKind> {
 protected:
  void SetUp() override {
    fixture_ = GetParam().make(clock_, random_);
    if (const std::string missing = fixture_->Prepare(); !missing.empty()) {
      GTEST_SKIP() << GetParam().name << ": " << missing;
    }
    pool_ = fixture_->Open();
    ASSERT_NE(pool_, nullptr);
  }

  void Reopen() {
    pool_.reset();
    pool_ = fixture_->Open();
    ASSERT_NE(pool_, nullptr);
  }

  VolumeInfo MakeVolume(const std::string& name, std::uint64_t size = kSize) {
    auto made =
        pool_->Create({.name = name, .size_bytes = size, .source = {}, .tags = {{"owner", name}}});
    EXPECT_TRUE(made.ok()) << made.error().ToString();
    return *made;
  }

  SnapshotInfo Cut(const std::string& name, const VolumeId& volume) {
    auto made = pool_->Snapshot({.name = name, .volume = volume, .tags = {}}, quiesce_);
    EXPECT_TRUE(made.ok()) << made.error().ToString();
    return *made;
  }

  static Bytes Pattern(std::uint64_t length, std::uint8_t value) { return Bytes(length, value); }

  void Write(const VolumeId& volume, std::uint64_t offset, const Bytes& bytes) {
    auto device = pool_->OpenVolume(volume);
    ASSERT_TRUE(device.ok()) << device.error().ToString();
    ASSERT_TRUE((*device)->WriteAt(offset, bytes).ok());
    ASSERT_TRUE((*device)->Flush().ok());
  }

  static Bytes Read(block::BlockDevice& device, std::uint64_t offset, std::uint64_t length) {
    Bytes bytes(length, 0xee);
    const Status read = device.ReadAt(offset, bytes);
    EXPECT_TRUE(read.ok()) << read.error().ToString();
    return bytes;
  }

  Bytes ReadSnapshot(const SnapshotId& snapshot, std::uint64_t offset, std::uint64_t length) {
    auto device = pool_->OpenSnapshot(snapshot);
    EXPECT_TRUE(device.ok()) << device.error().ToString();
    return Read(**device, offset, length);
  }

  // Collects a stream and checks its order.
  static block::ExtentVisitor Into(std::vector<block::Extent>& extents) {
    return [&extents](const block::Extent& extent) -> Status {
      EXPECT_GT(extent.length, 0U);
      if (!extents.empty()) {
        EXPECT_LE(extents.back().end(), extent.offset);
      }
      extents.push_back(extent);
      return {};
    };
  }

  static bool Covers(const std::vector<block::Extent>& extents, std::uint64_t offset,
                     std::uint64_t length) {
    for (const block::Extent& extent : extents) {
      if (extent.offset <= offset && offset < extent.end()) {
        if (extent.end() >= offset + length) return true;
        length -= extent.end() - offset;
        offset = extent.end();
      }
    }
    return length == 0;
  }

  static std::uint64_t Total(const std::vector<block::Extent>& extents) {
    std::uint64_t total = 0;
    for (const block::Extent& extent : extents) total += extent.length;
    return total;
  }

  SystemClock clock_;
  SeededRandom random_{7};
  CountingQuiesce quiesce_;
  std::unique_ptr<PoolFixture> fixture_;
  std::unique_ptr<ThinPool> pool_;
};

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
  auto device = pool_->OpenSnapshot(snapshot.id);
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
  auto device = pool_->OpenVolume(clone->id);
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
  EXPECT_TRUE(pool_->OpenSnapshot(snapshot.id).Is(Code::kFailedPrecondition));
  EXPECT_EQ(Cut("snap", volume.id).id, snapshot.id) << "the name still stands for it";
  EXPECT_TRUE(pool_->RemoveSnapshot(snapshot.id).ok());
  EXPECT_TRUE(pool_->ListSnapshots()->empty());
}

TEST_P(ThinPoolTest, AllocatedCoversWhatWasWritten) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  Write(volume.id, 3 * kBlock, Pattern(kBlock, 1));
  Write(volume.id, 4 * kBlock, Pattern(kBlock, 1));
  Write(volume.id, kSize - kBlock, Pattern(kBlock, 1));
  const SnapshotInfo snapshot = Cut("snap", volume.id);
  std::vector<block::Extent> extents;
  ASSERT_TRUE(pool_->Allocated(snapshot.id, Into(extents)).ok());
  EXPECT_TRUE(Covers(extents, 3 * kBlock, 2 * kBlock));
  EXPECT_TRUE(Covers(extents, kSize - kBlock, kBlock));
  EXPECT_LE(Total(extents), 4 * kBlock);
}

TEST_P(ThinPoolTest, ChangedCoversEveryChangeAndLittleElse) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  Write(volume.id, 0, Pattern(16 * kBlock, 1));
  const SnapshotInfo base = Cut("base", volume.id);
  Write(volume.id, 5 * kBlock, Pattern(kBlock, 2));
  Write(volume.id, 100 * kBlock, Pattern(kBlock, 2));
  {
    auto device = pool_->OpenVolume(volume.id);
    ASSERT_TRUE((*device)->Discard(8 * kBlock, kBlock).ok());
    ASSERT_TRUE((*device)->Flush().ok());
  }
  const SnapshotInfo target = Cut("target", volume.id);
  std::vector<block::Extent> extents;
  ASSERT_TRUE(pool_->Changed(base.id, target.id, Into(extents)).ok());
  EXPECT_TRUE(Covers(extents, 5 * kBlock, kBlock));
  EXPECT_TRUE(Covers(extents, 8 * kBlock, kBlock)) << "a discarded block has changed";
  EXPECT_TRUE(Covers(extents, 100 * kBlock, kBlock));
  EXPECT_LE(Total(extents), 4 * kBlock);
}

TEST_P(ThinPoolTest, ChangedIsEmptyWhenNothingChanged) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  Write(volume.id, 0, Pattern(4 * kBlock, 1));
  const SnapshotInfo base = Cut("base", volume.id);
  const SnapshotInfo target = Cut("target", volume.id);
  std::vector<block::Extent> extents;
  ASSERT_TRUE(pool_->Changed(base.id, target.id, Into(extents)).ok());
  EXPECT_TRUE(extents.empty());
}

TEST_P(ThinPoolTest, ChangedWorksFromACloneToItsOrigin) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  Write(volume.id, 0, Pattern(4 * kBlock, 1));
  const SnapshotInfo base = Cut("base", volume.id);
  const auto clone =
      pool_->Create({.name = "clone", .size_bytes = kSize, .source = base.id, .tags = {}});
  Write(clone->id, kBlock, Pattern(kBlock, 2));
  const SnapshotInfo target = Cut("target", clone->id);
  std::vector<block::Extent> extents;
  ASSERT_TRUE(pool_->Changed(base.id, target.id, Into(extents)).ok());
  EXPECT_TRUE(Covers(extents, kBlock, kBlock));
  EXPECT_LE(Total(extents), 2 * kBlock);
}

// The property behind every incremental export: base + changed ranges == target, under random
// writes and discards.
TEST_P(ThinPoolTest, ApplyingTheChangesToTheBaseGivesTheTarget) {
  const VolumeInfo volume = MakeVolume("pvc-1", 4 * kMiB);
  Bytes model(4 * kMiB, 0);
  Bytes at_base;
  SnapshotInfo base;
  for (int round = 0; round < 4; ++round) {
    {
      auto device = pool_->OpenVolume(volume.id);
      for (int i = 0; i < 12; ++i) {
        const std::uint64_t offset = random_.Below(1000) * 4096;
        const std::uint64_t length =
            std::min<std::uint64_t>((1 + random_.Below(20)) * 4096, model.size() - offset);
        if (random_.Below(4) == 0) {
          ASSERT_TRUE((*device)->Discard(offset, length).ok());
          std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(offset), length, std::uint8_t{0});
        } else {
          const Bytes bytes = Pattern(length, static_cast<std::uint8_t>(1 + random_.Below(255)));
          ASSERT_TRUE((*device)->WriteAt(offset, bytes).ok());
          std::copy(bytes.begin(), bytes.end(),
                    model.begin() + static_cast<std::ptrdiff_t>(offset));
        }
      }
      ASSERT_TRUE((*device)->Flush().ok());
    }
    const SnapshotInfo target = Cut("round-" + std::to_string(round), volume.id);
    ASSERT_EQ(ReadSnapshot(target.id, 0, model.size()), model);
    if (round > 0) {
      Bytes rebuilt = at_base;
      auto device = pool_->OpenSnapshot(target.id);
      ASSERT_TRUE(
          pool_
              ->Changed(base.id, target.id,
                        [&](const block::Extent& extent) -> Status {
                          const std::uint64_t end =
                              std::min<std::uint64_t>(extent.end(), rebuilt.size());
                          const Bytes bytes = Read(**device, extent.offset, end - extent.offset);
                          std::copy(bytes.begin(), bytes.end(),
                                    rebuilt.begin() + static_cast<std::ptrdiff_t>(extent.offset));
                          return {};
                        })
              .ok());
      ASSERT_EQ(rebuilt, model);
    }
    base = target;
    at_base = model;
  }
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

TEST_P(ThinPoolTest, VisitorErrorsEndTheStream) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  Write(volume.id, 0, Pattern(kBlock, 1));
  const SnapshotInfo snapshot = Cut("snap", volume.id);
  const Status ended = pool_->Allocated(
      snapshot.id, [](const block::Extent&) -> Status { return Error(Code::kAborted, "enough"); });
  EXPECT_TRUE(ended.Is(Code::kAborted));
}

INSTANTIATE_TEST_SUITE_P(Pools, ThinPoolTest, testing::Values(SimPoolKind(), ReflinkPoolKind()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace thinsnap::pool
