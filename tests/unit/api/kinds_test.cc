#include "snapshotter/api/kinds.h"

#include <gtest/gtest.h>

namespace thinsnap::backup {
namespace {

TEST(KindsTest, CarriesTheDomainEverywhere) {
  const Kinds kinds("kubestash.com");
  EXPECT_EQ(kinds.finalizer, "kubestash.com/cleanup");
  EXPECT_EQ(kinds.Key("invoker-name"), "kubestash.com/invoker-name");
  EXPECT_EQ(kinds.repository.api_version(), "storage.kubestash.com/v1alpha1");
  EXPECT_EQ(kinds.backup_session.api_version(), "core.kubestash.com/v1alpha1");
  EXPECT_FALSE(kinds.addon.namespaced);
}

TEST(NamesTest, CutTheMiddleOfLongNames) {
  // The name that KubeStash's StatefulSet guide shows.
  EXPECT_EQ(
      SnapshotName("gcs-repository", "statefulset-volume-snapshot-frequent-backup-1705405201"),
      "gcs-repository-statefulset-volumshot-frequent-backup-1705405201");
  EXPECT_EQ(ValidName("a", "b", "c"), "a-b-c");
  EXPECT_EQ(ValidName("", "b", ""), "b");
  EXPECT_EQ(ValidName("-a", "b-", ""), "a-b");
  EXPECT_EQ(ValidName(std::string(40, 'a'), std::string(40, 'b')).size(), 63u);
  EXPECT_LE(TriggerName(std::string(60, 'x'), "frequent-backup").size(), 52u);
}

TEST(NamesTest, FollowTheGuides) {
  EXPECT_EQ(TriggerName("pvc-volume-snapshot", "frequent-backup"),
            "trigger-pvc-volume-snapshot-frequent-backup");
  EXPECT_EQ(BackupSessionName("pvc-volume-snapshot", "frequent-backup", 1705402801),
            "pvc-volume-snapshot-frequent-backup-1705402801");
  EXPECT_EQ(VolumeSnapshotName("source-pvc", "1705402801"), "source-pvc-1705402801");
}

TEST(NamesTest, SplitsSecondsOff) {
  EXPECT_EQ(SplitAtSeconds("a-b-17").stem, "a-b");
  EXPECT_EQ(SplitAtSeconds("a-b-17").seconds, "17");
  EXPECT_EQ(SplitAtSeconds("a-b").seconds, "");
  EXPECT_EQ(SplitAtSeconds("a-").stem, "a-");
  EXPECT_EQ(SplitAtSeconds("17").seconds, "");
  // The parts are their own: the name may be gone before they are.
  const auto [stem, seconds] = SplitAtSeconds(std::string(40, 'x') + "-1705402801");
  EXPECT_EQ(stem, std::string(40, 'x'));
  EXPECT_EQ(seconds, "1705402801");
}

TEST(NamesTest, ReadsBothSpellingsOfTasks) {
  EXPECT_EQ(CanonicalTaskName("VolumeSnapshotRestore"), "volume-snapshot-restore");
  EXPECT_EQ(CanonicalTaskName("volume-snapshot-restore"), "volume-snapshot-restore");
  EXPECT_EQ(CanonicalTaskName("LogicalBackup"), "logical-backup");
}

TEST(SnapshotHandleTest, ReadsWhatItWrites) {
  const auto handle = ParseSnapshotHandle("ts1.pool.vol.snap@repo");
  ASSERT_TRUE(handle);
  EXPECT_EQ(handle->series(), "pool.vol");
  EXPECT_EQ(handle->snapshot, "snap");
  EXPECT_EQ(handle->repository, "repo");
  EXPECT_EQ(handle->ToString(), "ts1.pool.vol.snap@repo");
  const auto local = ParseSnapshotHandle("ts1.pool.vol.snap");
  ASSERT_TRUE(local);
  EXPECT_EQ(local->repository, "");
  EXPECT_TRUE(local->SameCut(*handle));
}

TEST(SnapshotHandleTest, RefusesOthers) {
  for (const char* text : {"", "ts1.a.b", "ts1.a.b.c.d", "ts2.a.b.c", "ts1..b.c", "ts1.a.b.c@",
                           "ts1.a.b.c@d.e", "projects/x/global/snapshots/y", "ts1.a.b.c@d@e"}) {
    EXPECT_FALSE(ParseSnapshotHandle(text)) << text;
  }
  EXPECT_FALSE(ParseSnapshotHandle("ts1.a.b." + std::string(110, 'x')));
}

}  // namespace
}  // namespace thinsnap::backup
