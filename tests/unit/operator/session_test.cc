#include "snapshotter/operator/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/data/yaml.h"
#include "base/kube/object.h"
#include "snapshotter/operator/reconcilers.h"

namespace thinsnap::backup {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(SessionTest, IsNamedOwnedAndLabelled) {
  const Kinds kinds("thinsnap.io");
  const auto configuration = *ParseYaml(R"(
apiVersion: core.thinsnap.io/v1alpha1
kind: BackupConfiguration
metadata: {name: bc, namespace: demo, uid: u1}
spec:
  sessions:
    - {name: daily, backupTimeout: 10m, retryConfig: {maxRetry: 2, delay: 1s}}
    - {name: plain}
)");
  const auto session =
      NewBackupSession(kinds, configuration, "daily", FromUnixSeconds(1705402801), 2);
  EXPECT_EQ(kube::NameOf(session), "bc-daily-1705402801");
  EXPECT_EQ(kube::LabelOf(session, "thinsnap.io/invoker-name"), "bc");
  EXPECT_TRUE(kube::IsOwnedBy(session, "u1"));
  EXPECT_EQ(StringAt(session, "spec.invoker.kind"), "BackupConfiguration");
  EXPECT_EQ(StringAt(session, "spec.backupTimeout"), "10m");
  EXPECT_EQ(IntAt(session, "spec.retryLeft"), 2);
  EXPECT_EQ(RetriesOf(configuration, "daily"), 2);
  EXPECT_EQ(RetriesOf(configuration, "plain"), 0);
}

TEST(HistoryTest, KeepsTheNewestEndedOnes) {
  EXPECT_THAT(
      PlanHistory({{"c", "3", true}, {"a", "1", true}, {"b", "2", true}, {"r", "0", false}}, 2),
      ElementsAre("a"));
  EXPECT_THAT(PlanHistory({{"a", "1", true}}, 3), IsEmpty());
  EXPECT_THAT(PlanHistory({{"a", "1", true}}, 0), ElementsAre("a"));
}

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
