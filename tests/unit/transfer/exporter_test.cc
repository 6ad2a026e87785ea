// Many volumes and repositories on virtual time: one repository refuses, one is slow, and the
// others are not to feel it.
#include "csi/transfer/exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/core/bytes.h"
#include "csi/pool/handle.h"
#include "csi/pool/tags.h"
#include "simulator/pool/sim_thin_pool.h"
#include "tests/contract/pool/leased_device.h"
#include "tests/contract/pool/no_quiesce.h"
#include "tests/unit/transfer/buckets.h"
#include "tests/virtual_time.h"

namespace thinsnap::transfer {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

class ExporterTest : public ::testing::Test {
 protected:
  // Runs `body` with an exporter over 8 volumes of 96 MiB, each with one snapshot for each of the
  // given repositories.
  void With(int buckets, const std::function<void(Exporter&, const std::vector<Bucket*>&)>& body) {
    FiberRuntime runtime(7);
    RunWell(runtime, [&] {
      runtime_ = &runtime;
      image_ = pool::NewSimPoolImage(random_, 16 * kGiB);
      pool::SimThinPoolOptions options;
      options.fault = [this](std::string_view verb) {
        if (const auto look = on_verb_) look(verb);
        return pool::PoolFault::kNone;
      };
      pool_ = pool::OpenSimThinPool(image_, runtime.clock(), random_, options);
      std::vector<Bucket*> made;
      for (int i = 0; i < buckets; ++i) made.push_back(&buckets_.Add(runtime, random_));
      for (int i = 0; i < 8; ++i) AddVolume(i, made);
      Repositories repositories(runtime, random_, buckets_, buckets_.Opener(runtime));
      TaskGroup group(runtime);
      Exporter exporter(runtime, group, random_, *pool_, repositories, {.node_name = "node-a"});
      ASSERT_TRUE(exporter.Resume().ok());
      body(exporter, made);
      group.Stop();
      group.Join();
    });
  }

  void AddVolume(int number, const std::vector<Bucket*>& buckets) {
    pool::CreateRequest create;
    create.name = "v" + std::to_string(number);
    create.size_bytes = 96 * kMiB;
    const auto volume = pool_->Create(create);
    ASSERT_TRUE(volume.ok());
    Write(volume->id, number);
    volumes_.push_back(volume->id);
    Cut(volume->id, "s" + std::to_string(number), buckets);
  }

  void Write(const pool::VolumeId& volume, int seed) {
    const auto device = pool::OpenVolume(*pool_, volume);
    ASSERT_TRUE(device.ok());
    SeededRandom bytes(static_cast<std::uint64_t>(seed));
    Bytes block(64 * kKiB);
    for (int i = 0; i < 8; ++i) {
      bytes.Fill(block);
      ASSERT_TRUE((*device)->WriteAt(static_cast<std::uint64_t>(i) * 8 * kMiB, block).ok());
    }
  }

  pool::SnapshotId Cut(const pool::VolumeId& volume, const std::string& name,
                       const std::vector<Bucket*>& buckets) {
    pool::SnapshotRequest cut;
    cut.name = name;
    cut.volume = volume;
    std::vector<std::string> ids;
    for (const Bucket* bucket : buckets) ids.push_back(bucket->id);
    cut.tags[tags::kRepositories] = tags::JoinList(ids);
    pool::NoQuiesce none;
    const auto made = pool_->Snapshot(cut, none);
    EXPECT_TRUE(made.ok());
    return made.ok() ? made->id : pool::SnapshotId();
  }

  int PointsIn(const Bucket& bucket) {
    int points = 0;
    const auto snapshots = pool_->ListSnapshots();
    for (const pool::SnapshotInfo& snapshot : *snapshots) {
      if (!tags::PointIn(snapshot, bucket.id).empty()) ++points;
    }
    return points;
  }
  void Pass(Duration time) { ASSERT_TRUE(runtime_->SleepFor(time).ok()); }

  SeededRandom random_{3};
  Runtime* runtime_ = nullptr;
  std::function<void(std::string_view verb)> on_verb_;  // of the pool, before it is done
  std::shared_ptr<pool::SimPoolImage> image_;
  std::unique_ptr<pool::ThinPool> pool_;
  std::vector<pool::VolumeId> volumes_;
  Buckets buckets_;
};

TEST_F(ExporterTest, ARepositoryThatRefusesIsAskedSeldomAndHoldsNobodyUp) {
  With(3, [&](Exporter& exporter, const std::vector<Bucket*>& buckets) {
    Bucket& healthy = *buckets[0];
    Bucket& refusing = *buckets[1];
    Bucket& slow = *buckets[2];
    refusing.manners.refuses = Code::kPermissionDenied;
    slow.manners.pause = seconds(2);
    Pass(minutes(30));
    EXPECT_EQ(PointsIn(healthy), 8);
    EXPECT_EQ(PointsIn(slow), 8);
    EXPECT_EQ(PointsIn(refusing), 0);
    // Pauses of half a second to 30 s, doubling, then at least 30 s: at most 66 tries in half an
    // hour, whatever the number of volumes, and each may begin and end a session.
    EXPECT_LE(refusing.manners.puts, 2 * 66);
    // What it answers is known of every snapshot that waits for it, at every second call.
    for (const pool::SnapshotInfo& snapshot : *pool_->ListSnapshots()) {
      EXPECT_FALSE(exporter.FailureToReport(snapshot));
      const auto failure = exporter.FailureToReport(snapshot);
      ASSERT_TRUE(failure);
      EXPECT_EQ(failure->code(), Code::kPermissionDenied);
    }
    // And it is taken up as soon as its configuration changes.
    refusing.manners.refuses.reset();
    exporter.OnRepositoryChange(refusing.id, false);
    Pass(seconds(29));
    EXPECT_EQ(PointsIn(refusing), 8);
  });
}

TEST_F(ExporterTest, ARepositoryThatIsBeingWipedIsNotWrittenTo) {
  With(2, [&](Exporter& exporter, const std::vector<Bucket*>& buckets) {
    buckets[1]->wiping = true;
    exporter.OnRepositoryChange(buckets[1]->id, true);
    Pass(minutes(10));
    EXPECT_EQ(PointsIn(*buckets[0]), 8);
    EXPECT_EQ(PointsIn(*buckets[1]), 0);
  });
}

TEST_F(ExporterTest, ABaseStaysUntilItIsComparedWith) {
  With(1, [&](Exporter& exporter, const std::vector<Bucket*>& buckets) {
    Pass(minutes(1));
    const pool::VolumeId volume = volumes_.front();
    pool::SnapshotId base;
    for (const pool::SnapshotInfo& snapshot : *pool_->ListSnapshots()) {
      if (snapshot.volume == volume) base = snapshot.id;
    }
    Write(volume, 100);
    // Hidden, so that a pool that is short of space would take it.
    ASSERT_TRUE(pool_->TagSnapshot(base, {{tags::kHidden, "1"}}).ok());
    int compared = 0;
    on_verb_ = [&](std::string_view verb) {
      if (verb != "Changed") return;
      ++compared;
      on_verb_ = nullptr;
      EXPECT_TRUE(exporter.GiveUp(base).Is(Code::kAborted));
      EXPECT_TRUE(exporter.MakeRoom(0).ok());
      EXPECT_TRUE(pool_->GetSnapshot(base).ok());
    };
    buckets[0]->manners.pause = seconds(5);
    const pool::SnapshotId next = Cut(volume, "next", buckets);
    exporter.Add(volume);
    Pass(seconds(30));
    EXPECT_EQ(compared, 1);
    // What is being read is not dropped, and the export goes on.
    EXPECT_TRUE(pool_->DropDevice(next).Is(Code::kAborted));
    Pass(minutes(10));
    EXPECT_FALSE(tags::PointIn(*pool_->GetSnapshot(next), buckets[0]->id).empty());
    EXPECT_TRUE(pool_->GetSnapshot(base).Is(Code::kNotFound));
  });
}

TEST_F(ExporterTest, ARemovalEndsTheExportThatReads) {
  With(1, [&](Exporter& exporter, const std::vector<Bucket*>& buckets) {
    buckets[0]->manners.pause = seconds(5);
    Pass(seconds(7));
    std::vector<pool::SnapshotId> removed;
    for (const pool::SnapshotInfo& snapshot : *pool_->ListSnapshots()) {
      const Status first = pool_->RemoveSnapshot(snapshot.id);
      if (first.ok()) continue;
      EXPECT_TRUE(first.Is(Code::kAborted)) << first.error().ToString();
      EXPECT_NE(first.error().message().find(buckets[0]->id), std::string::npos)
          << first.error().message();
      removed.push_back(snapshot.id);
    }
    ASSERT_FALSE(removed.empty()) << "no export was under way";
    Pass(seconds(30));
    for (const pool::SnapshotId& snapshot : removed) {
      const Status again = pool_->RemoveSnapshot(snapshot);
      EXPECT_TRUE(again.ok()) << again.error().ToString();
      EXPECT_TRUE(exporter.Forget(snapshot).ok());
    }
    Pass(minutes(10));
    EXPECT_EQ(PointsIn(*buckets[0]), static_cast<int>(pool_->ListSnapshots()->size()));
  });
}

TEST_F(ExporterTest, NothingIsGivenUpForWhatThatCannotCure) {
  With(1, [&](Exporter& exporter, const std::vector<Bucket*>&) {
    Pass(minutes(5));
    std::map<pool::VolumeId, pool::SnapshotId> bases;
    for (const pool::SnapshotInfo& snapshot : *pool_->ListSnapshots()) {
      ASSERT_TRUE(pool_->TagSnapshot(snapshot.id, {{tags::kHidden, "1"}}).ok());
      bases[snapshot.volume] = snapshot.id;
    }
    // The base of volume i alone has i + 1 chunks that its volume has written over since.
    for (std::size_t i = 0; i < volumes_.size(); ++i) {
      const auto device = pool::OpenVolume(*pool_, volumes_[i]);
      ASSERT_TRUE(device.ok());
      for (std::uint64_t block = 0; block <= i; ++block) {
        ASSERT_TRUE((*device)->WriteAt(block * 8 * kMiB, Bytes(64 * kKiB, 7)).ok());
      }
    }
    const auto enough = exporter.MakeRoom((1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 1) * 64 * kKiB);
    ASSERT_TRUE(enough.ok());
    EXPECT_FALSE(*enough);
    EXPECT_EQ(pool_->ListSnapshots()->size(), 8U);
    // What can be cured is cured with those that give most, and no others.
    const std::uint64_t before = pool_->GetStatus()->free_bytes;
    EXPECT_TRUE(*exporter.MakeRoom(10 * 64 * kKiB));
    EXPECT_GE(pool_->GetStatus()->free_bytes, before + 10 * 64 * kKiB);
    for (std::size_t i = 0; i < volumes_.size(); ++i) {
      EXPECT_EQ(pool_->GetSnapshot(bases[volumes_[i]]).ok(), i < 6) << "volume " << i;
    }
  });
}

TEST_F(ExporterTest, WhatIsCancelledIsNotTakenUpAgain) {
  With(1, [&](Exporter& exporter, const std::vector<Bucket*>& buckets) {
    buckets[0]->manners.pause = seconds(5);
    Pass(seconds(3));
    const auto snapshots = pool_->ListSnapshots();
    for (const pool::SnapshotInfo& snapshot : *snapshots) {
      ASSERT_TRUE(exporter.Cancel(snapshot.id).ok());
    }
    // Still there for a while: whoever cancelled it may be slow to remove it.
    Pass(minutes(1));
    for (const pool::SnapshotInfo& snapshot : *snapshots) {
      ASSERT_TRUE(pool_->RemoveSnapshot(snapshot.id).ok());
      ASSERT_TRUE(exporter.Forget(snapshot.id).ok());
      exporter.Add(snapshot.volume);
    }
    buckets[0]->manners.pause = Duration::zero();
    Pass(minutes(10));
    EXPECT_TRUE(pool_->ListSnapshots()->empty());
    const auto keys = buckets[0]->store.List("points/", "");
    ASSERT_TRUE(keys.ok());
    EXPECT_TRUE(keys->objects.empty());
  });
}

TEST_F(ExporterTest, APoolThatDoesNotServeIsOnlyRead) {
  With(1, [&](Exporter& exporter, const std::vector<Bucket*>& buckets) {
    exporter.SetServing(false);
    Pass(minutes(10));
    EXPECT_EQ(PointsIn(*buckets[0]), 0);
    exporter.SetServing(true);
    Pass(minutes(10));
    EXPECT_EQ(PointsIn(*buckets[0]), 8);
  });
}

}  // namespace
}  // namespace thinsnap::transfer
