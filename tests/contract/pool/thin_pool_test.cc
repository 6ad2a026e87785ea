#include <atomic>
#include <cstring>
#include <mutex>

#include "base/core/bytes.h"
#include "base/core/runtime.h"
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
  EXPECT_EQ(quiesce_.held, 1);
  EXPECT_EQ(quiesce_.let_go, 1);
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
  EXPECT_EQ(quiesce_.held, 1) << "a repeated call must not hold again";
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

TEST_P(ThinPoolTest, AFailedHoldLeavesNothing) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  quiesce_.fail_hold = true;
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

TEST_P(ThinPoolTest, WhatIsThereIsFoundByName) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  const VolumeInfo other = MakeVolume("pvc-2");
  std::vector<SnapshotId> cuts;
  for (int i = 0; i < 3; ++i) cuts.push_back(Cut("snap-" + std::to_string(i), volume.id).id);
  Cut("elsewhere", other.id);
  for (int life = 0; life < 2; ++life) {
    EXPECT_EQ((*pool_->FindVolume("pvc-1"))->id, volume.id);
    EXPECT_EQ((*pool_->FindSnapshot("snap-1"))->id, cuts[1]);
    EXPECT_FALSE(pool_->FindVolume("snap-1")->has_value());
    EXPECT_FALSE(pool_->FindSnapshot("pvc-1")->has_value());
    std::vector<SnapshotId> of;
    for (const SnapshotInfo& snapshot : *pool_->SnapshotsOf(volume.id)) of.push_back(snapshot.id);
    EXPECT_EQ(of, cuts);
    Reopen();
  }
  ASSERT_TRUE(pool_->RemoveSnapshot(cuts[1]).ok());
  EXPECT_FALSE(pool_->FindSnapshot("snap-1")->has_value());
  EXPECT_EQ(pool_->SnapshotsOf(volume.id)->size(), 2U);
}

TEST_P(ThinPoolTest, WhatIsMappedIsWhatWasWritten) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  EXPECT_EQ(*pool_->Mapped(volume.id), 0U);
  Write(volume.id, 0, Pattern(4 * kBlock, 1));
  EXPECT_GE(*pool_->Mapped(volume.id), 4 * kBlock);
  EXPECT_LE(*pool_->Mapped(volume.id), 8 * kBlock);
  EXPECT_TRUE(pool_->Mapped(VolumeId("01arz3ndektsv4rrffq69g5fav")).Is(Code::kNotFound));
}

TEST_P(ThinPoolTest, ReclaimableIsNeverMoreThanBecomesFree) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  std::vector<SnapshotId> cuts;
  for (std::uint8_t i = 0; i < 4; ++i) {
    // Each keeps 2 MiB that the volume has no more, and shares 2 MiB with it.
    Write(volume.id, 0, Pattern(2 * kMiB, static_cast<std::uint8_t>(i + 1)));
    if (i == 0) Write(volume.id, 4 * kMiB, Pattern(2 * kMiB, 9));
    cuts.push_back(Cut("snap-" + std::to_string(i), volume.id).id);
  }
  EXPECT_EQ(*pool_->Reclaimable({}), 0U);
  EXPECT_EQ(*pool_->Reclaimable(std::span(cuts).first(1)), 2 * kMiB);
  EXPECT_EQ(*pool_->Reclaimable(std::span(cuts).last(1)), 0U) << "the volume has it all";
  const std::uint64_t promised = *pool_->Reclaimable(cuts);
  EXPECT_EQ(promised, 6 * kMiB);
  ASSERT_TRUE(pool_->DropDevice(cuts[0]).ok());
  EXPECT_EQ(*pool_->Reclaimable(cuts), 4 * kMiB) << "what has no device gives nothing";
}

TEST_P(ThinPoolTest, TheTimeOfACutLiesInTheStillness) {
  const VolumeInfo a = MakeVolume("a");
  const VolumeInfo b = MakeVolume("b");
  WallTime held, thawed;
  quiesce_.on_hold = [&] { held = clock_.Now(); };
  quiesce_.on_thaw = [&] { thawed = clock_.Now(); };
  const SnapshotInfo alone = Cut("alone", a.id);
  EXPECT_GE(alone.cut, held);
  EXPECT_LE(alone.cut, thawed);
  const auto group = *pool_->SnapshotGroup(
      {"g",
       {{.name = "ga", .volume = a.id, .tags = {}}, {.name = "gb", .volume = b.id, .tags = {}}}},
      quiesce_);
  for (const SnapshotInfo& member : group.members) {
    EXPECT_EQ(member.cut, group.cut);
    EXPECT_GE(member.cut, held);
    EXPECT_LE(member.cut, thawed);
  }
}

// Nothing is locked while volumes come to rest: every other verb goes on, also on those volumes.
TEST_P(ThinPoolTest, OtherVerbsGoOnWhileVolumesComeToRest) {
  const VolumeInfo volume = MakeVolume("pvc-1");
  const VolumeInfo other = MakeVolume("pvc-2");
  CountingQuiesce inner;
  quiesce_.on_hold = [&] {
    EXPECT_TRUE(pool_->GetStatus().ok());
    EXPECT_TRUE(pool_->ListVolumes().ok());
    EXPECT_TRUE(pool_->Snapshot({.name = "in", .volume = other.id, .tags = {}}, inner).ok());
    EXPECT_TRUE(pool_->TagVolume(volume.id, {{"seen", "yes"}}).ok());
    Write(volume.id, 0, Pattern(kBlock, 3));
    // What would be at the same thing is told so.
    EXPECT_TRUE(pool_->Snapshot({.name = "snap", .volume = volume.id, .tags = {}}, inner)
                    .Is(Code::kAborted));
    EXPECT_TRUE(pool_->Snapshot({.name = "second", .volume = volume.id, .tags = {}}, inner)
                    .Is(Code::kAborted));
    EXPECT_TRUE(pool_->RemoveVolume(volume.id).Is(Code::kAborted));
  };
  const SnapshotInfo snapshot = Cut("snap", volume.id);
  quiesce_.on_hold = nullptr;
  EXPECT_EQ(inner.held, 1);
  EXPECT_EQ(ReadSnapshot(snapshot.id, 0, kBlock), Pattern(kBlock, 3));
  EXPECT_EQ(pool_->ListSnapshots()->size(), 2U);
}

TEST_P(ThinPoolTest, AVoidCutIsRemoved) {
  const VolumeInfo a = MakeVolume("a");
  const VolumeInfo b = MakeVolume("b");
  const GroupRequest request{
      "g",
      {{.name = "ga", .volume = a.id, .tags = {}}, {.name = "gb", .volume = b.id, .tags = {}}}};
  quiesce_.is_void = true;
  EXPECT_TRUE(
      pool_->Snapshot({.name = "s", .volume = a.id, .tags = {}}, quiesce_).Is(Code::kAborted));
  EXPECT_TRUE(pool_->SnapshotGroup(request, quiesce_).Is(Code::kAborted));
  EXPECT_TRUE(pool_->ListSnapshots()->empty());
  Reopen();
  EXPECT_TRUE(pool_->ListSnapshots()->empty());
  quiesce_.is_void = false;
  EXPECT_TRUE(pool_->SnapshotGroup(request, quiesce_).ok());
  EXPECT_EQ(quiesce_.held, quiesce_.let_go);
}

TEST_P(ThinPoolTest, AGroupIsCutEntirelyOrNotAtAll) {
  const VolumeInfo a = MakeVolume("a");
  const VolumeInfo b = MakeVolume("b");
  const VolumeInfo c = MakeVolume("c");
  const auto member = [](const std::string& name, const VolumeId& volume) {
    return SnapshotRequest{.name = name, .volume = volume, .tags = {{"of", name}}};
  };
  const GroupRequest request{"g", {member("ga", a.id), member("gb", b.id)}};
  const auto both = pool_->SnapshotGroup(request, quiesce_);
  ASSERT_TRUE(both.ok()) << both.error().ToString();
  ASSERT_EQ(both->members.size(), 2U);
  EXPECT_TRUE(IsUlid(both->id.str()));
  for (int life = 0; life < 2; ++life) {
    const auto again = pool_->SnapshotGroup(request, quiesce_);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(again->id, both->id);
    EXPECT_EQ(again->cut, both->cut);
    const auto found = *pool_->FindGroup("g");
    ASSERT_TRUE(found.has_value());
    ASSERT_EQ(found->members.size(), 2U);
    for (const SnapshotInfo& info : found->members) {
      EXPECT_EQ(info.group, both->id);
      EXPECT_EQ(info.group_name, "g");
      EXPECT_EQ(info.tags.at("of"), info.name);
    }
    Reopen();
  }
  EXPECT_EQ(quiesce_.held, 2) << "a repeated call holds nothing";
  // What the name stands for, and what cannot be a group, is said.
  EXPECT_TRUE(pool_->SnapshotGroup({"g", {member("ga", a.id), member("gc", c.id)}}, quiesce_)
                  .Is(Code::kAlreadyExists));
  EXPECT_TRUE(pool_->SnapshotGroup({"h", {member("ga", a.id), member("hb", b.id)}}, quiesce_)
                  .Is(Code::kAlreadyExists));
  EXPECT_TRUE(
      pool_->SnapshotGroup({"", {member("ha", a.id)}}, quiesce_).Is(Code::kInvalidArgument));
  EXPECT_TRUE(pool_->SnapshotGroup({"h", {}}, quiesce_).Is(Code::kInvalidArgument));
  EXPECT_TRUE(pool_->SnapshotGroup({"h", {member("ha", a.id), member("hb", a.id)}}, quiesce_)
                  .Is(Code::kInvalidArgument));
  EXPECT_TRUE(pool_->SnapshotGroup({"h", {member("ha", a.id), member("ha", b.id)}}, quiesce_)
                  .Is(Code::kInvalidArgument));
  EXPECT_TRUE(
      pool_
          ->SnapshotGroup(
              {"h", {member("ha", a.id), member("hb", VolumeId("01arz3ndektsv4rrffq69g5fav"))}},
              quiesce_)
          .Is(Code::kNotFound));
  EXPECT_EQ(pool_->ListSnapshots()->size(), 2U);
  EXPECT_EQ(quiesce_.held, quiesce_.let_go);
  // A group goes with its members.
  for (const SnapshotInfo& info : both->members) {
    ASSERT_TRUE(pool_->RemoveSnapshot(info.id).ok());
  }
  EXPECT_FALSE(pool_->FindGroup("g")->has_value());
}

// Writers that never rest write a number to one volume and then to the other. Whatever a group
// shows, the second volume is never ahead of the first, nor more than one number behind.
TEST_P(ThinPoolTest, AGroupIsOneInstantOfItsWriters) {
  constexpr int kPairs = 3, kGroups = 6;
  struct Pair {
    VolumeId first, second;
    std::mutex writing;  // held for each write: what a freeze takes away
  };
  Pair pairs[kPairs];
  for (int i = 0; i < kPairs; ++i) {
    pairs[i].first = MakeVolume("first-" + std::to_string(i), 4 * kMiB).id;
    pairs[i].second = MakeVolume("second-" + std::to_string(i), 4 * kMiB).id;
  }
  // Holds the writers of one pair between two writes of theirs, wherever that is.
  class Gate final : public Quiesce {
   public:
    explicit Gate(std::mutex& mutex) : mutex_(mutex) {}
    Result<std::unique_ptr<Stillness>> Hold(std::span<const VolumeId>, Duration) override {
      class Closed final : public Stillness {
       public:
        explicit Closed(std::mutex& mutex) : lock_(mutex) {}
        Status Thaw() override {
          if (lock_.owns_lock()) lock_.unlock();
          return {};
        }

       private:
        std::unique_lock<std::mutex> lock_;
      };
      return std::unique_ptr<Stillness>(std::make_unique<Closed>(mutex_));
    }

   private:
    std::mutex& mutex_;
  };
  ThreadRuntime runtime(clock_);
  std::atomic<bool> enough = false;
  TaskGroup writers(runtime), cutters(runtime);
  for (Pair& pair : pairs) {
    writers.Spawn("write", [&] {
      auto first = OpenVolume(*pool_, pair.first);
      auto second = OpenVolume(*pool_, pair.second);
      ASSERT_TRUE(first.ok() && second.ok());
      for (std::uint64_t number = 1; !enough; ++number) {
        Bytes block(4096);
        std::memcpy(block.data(), &number, sizeof number);
        for (auto* device : {&first, &second}) {
          {
            const std::lock_guard lock(pair.writing);
            EXPECT_TRUE((**device)->WriteAt(0, block).ok());
          }
          // Lets the other one have the lock, too.
          EXPECT_TRUE(runtime.SleepFor(std::chrono::microseconds(20)).ok());
        }
      }
    });
  }
  for (int i = 0; i < kPairs; ++i) {
    cutters.Spawn("cut", [&, i] {
      Pair& pair = pairs[i];
      Gate gate(pair.writing);
      for (int group = 0; group < kGroups; ++group) {
        const std::string name = std::to_string(i) + "-" + std::to_string(group);
        const auto cut =
            pool_->SnapshotGroup({name,
                                  {{.name = "a" + name, .volume = pair.first, .tags = {}},
                                   {.name = "b" + name, .volume = pair.second, .tags = {}}}},
                                 gate);
        ASSERT_TRUE(cut.ok()) << cut.error().ToString();
        std::uint64_t numbers[2] = {};
        for (const SnapshotInfo& member : cut->members) {
          const Bytes block = ReadSnapshot(member.id, 0, 4096);
          std::memcpy(&numbers[member.volume == pair.first ? 0 : 1], block.data(), 8);
        }
        EXPECT_LE(numbers[1], numbers[0]);
        EXPECT_LE(numbers[0], numbers[1] + 1);
      }
    });
  }
  cutters.Join();
  enough = true;
  writers.Join();
  EXPECT_EQ(pool_->ListSnapshots()->size(), 2U * kPairs * kGroups);
}

INSTANTIATE_TEST_SUITE_P(Pools, ThinPoolTest, testing::Values(SimPoolKind(), ReflinkPoolKind()),
                         [](const auto& instance) { return instance.param.name; });

}  // namespace
}  // namespace thinsnap::pool
