#include "snapshotter/api/snapshot.h"

#include <gtest/gtest.h>

#include "base/data/yaml.h"

namespace thinsnap::backup {
namespace {

Json Snapshot(const std::string& status) {
  return *ParseYaml("metadata: {name: s}\nstatus: " + status);
}

TEST(SnapshotPhaseTest, FollowsComponentsAndConditions) {
  EXPECT_EQ(SnapshotPhase(Snapshot("{}")), "Pending");
  EXPECT_EQ(SnapshotPhase(Snapshot("{totalComponents: 1, components: {a: {phase: Running}}}")),
            "Running");
  const std::string uploaded = "conditions: [{type: SnapshotMetadataUploaded, status: 'True'}]";
  EXPECT_EQ(SnapshotPhase(Snapshot("{totalComponents: 1, components: {a: {phase: Succeeded}}}")),
            "Running");
  EXPECT_EQ(SnapshotPhase(Snapshot("{totalComponents: 1, components: {a: {phase: Succeeded}}, " +
                                   uploaded + "}")),
            "Succeeded");
  EXPECT_EQ(SnapshotPhase(Snapshot("{totalComponents: 2, components: {a: {phase: Succeeded}}, " +
                                   uploaded + "}")),
            "Running");
  EXPECT_EQ(SnapshotPhase(Snapshot(
                "{totalComponents: 2, components: {a: {phase: Succeeded}, b: {phase: Failed}}, " +
                uploaded + "}")),
            "Failed");
  EXPECT_EQ(SnapshotPhase(Snapshot("{conditions: [{type: BackupIncomplete, status: 'True'}]}")),
            "Failed");
  EXPECT_EQ(SnapshotPhase(Snapshot("{components: {a: {phase: Succeeded}}, conditions: [{type: "
                                   "SnapshotMetadataUploaded, status: 'False'}]}")),
            "Failed");
}

TEST(RepositorySummaryTest, CountsAndListsTheNewest) {
  Json repository = JsonObject();
  std::vector<Json> snapshots;
  for (int i = 0; i < 7; ++i) {
    snapshots.push_back(Snapshot("{phase: Succeeded, snapshotTime: '2026-01-0" +
                                 std::to_string(i + 1) +
                                 "T00:00:00Z', components: {a: {path: repository/v1/d/a}}}"));
  }
  Set(snapshots.back(), "status.phase", "Failed");
  SummarizeSnapshots(repository, snapshots);
  EXPECT_EQ(IntAt(repository, "status.snapshotCount"), 7);
  EXPECT_EQ(ArrayAt(repository, "status.recentSnapshots").size(), 5u);
  EXPECT_EQ(StringAt(repository, "status.lastBackupTime"), "2026-01-06T00:00:00Z");
  EXPECT_EQ(ArrayAt(repository, "status.componentPaths").size(), 1u);
  SummarizeSnapshots(repository, {});
  EXPECT_EQ(IntAt(repository, "status.snapshotCount"), 0);
  EXPECT_EQ(Find(repository, "status.lastBackupTime"), nullptr);
}

}  // namespace
}  // namespace thinsnap::backup
