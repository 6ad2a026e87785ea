#include "csi/transfer/local_copies.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>

#include "csi/pool/tags.h"

namespace thinsnap::transfer {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

pool::SnapshotInfo Snapshot(const std::string& id, const std::string& repositories,
                            const std::string& exported_to, const std::string& copies = "1") {
  pool::SnapshotInfo snapshot;
  snapshot.id = pool::SnapshotId(id);
  snapshot.volume = pool::VolumeId("v");
  snapshot.tags[tags::kRepositories] = repositories;
  snapshot.tags[tags::kLocalCopies] = copies;
  for (const std::string& repository : tags::SplitList(exported_to)) {
    snapshot.tags[tags::kPointPrefix + repository] = "point";
  }
  return snapshot;
}

pool::SnapshotInfo Hidden(pool::SnapshotInfo snapshot) {
  snapshot.tags[tags::kHidden] = "1";
  return snapshot;
}

std::vector<std::string> Names(const std::vector<pool::SnapshotId>& ids) {
  std::vector<std::string> names;
  for (const auto& id : ids) names.push_back(id.str());
  return names;
}

TEST(LocalCopiesTest, NewestExportedOneStays) {
  const auto plan = PlanLocalCopies(
      {Snapshot("1", "r", "r"), Snapshot("2", "r", "r"), Snapshot("3", "r", "")}, true, false);
  EXPECT_THAT(Names(plan.drop), ElementsAre("1"));
  EXPECT_THAT(plan.remove, IsEmpty());
}

TEST(LocalCopiesTest, NewestClassDecidesHowMany) {
  const auto plan = PlanLocalCopies({Snapshot("1", "r", "r"), Snapshot("2", "r", "r"),
                                     Snapshot("3", "r", "r"), Snapshot("4", "r", "r", "2")},
                                    true, false);
  EXPECT_THAT(Names(plan.drop), ElementsAre("2", "1"));
}

TEST(LocalCopiesTest, BaseStaysEvenIfNoCopyIsWanted) {
  const auto plan = PlanLocalCopies({Snapshot("1", "r", "r", "0")}, true, false);
  EXPECT_THAT(plan.drop, IsEmpty());
  EXPECT_THAT(Names(PlanLocalCopies({Snapshot("1", "r", "r", "0")}, false, false).drop),
              ElementsAre("1"));
}

TEST(LocalCopiesTest, EachRepositoryKeepsItsOwnBase) {
  const auto plan =
      PlanLocalCopies({Snapshot("1", "r", "r"), Snapshot("2", "s", "s")}, true, false);
  EXPECT_THAT(plan.drop, IsEmpty());
}

TEST(LocalCopiesTest, SnapshotsThatAreNotExportedAreNeverTouched) {
  const auto plan = PlanLocalCopies(
      {Snapshot("1", "", ""), Snapshot("2", "", ""), Snapshot("3", "r", "")}, true, true);
  EXPECT_THAT(plan.drop, IsEmpty());
  EXPECT_THAT(plan.remove, IsEmpty());
}

TEST(LocalCopiesTest, HiddenBaseGoesWithTheNextExportOrTheVolumeOrWhenItIsTight) {
  const auto base = Hidden(Snapshot("1", "r", "r"));
  EXPECT_THAT(PlanLocalCopies({base}, true, false).remove, IsEmpty());
  EXPECT_THAT(Names(PlanLocalCopies({base, Snapshot("2", "r", "r")}, true, false).remove),
              ElementsAre("1"));
  EXPECT_THAT(Names(PlanLocalCopies({base}, false, false).remove), ElementsAre("1"));
  EXPECT_THAT(Names(PlanLocalCopies({base}, true, true).remove), ElementsAre("1"));
}

TEST(LocalCopiesTest, BaseIsTheNewestOlderOneWithADevice) {
  std::vector<pool::SnapshotInfo> snapshots = {Snapshot("1", "r", "r"), Snapshot("2", "r", "r"),
                                               Snapshot("3", "r", ""), Snapshot("4", "r", "")};
  ASSERT_NE(ChooseBase(snapshots, snapshots[3], "r"), nullptr);
  EXPECT_EQ(ChooseBase(snapshots, snapshots[3], "r")->id.str(), "2");
  snapshots[1].has_device = false;
  EXPECT_EQ(ChooseBase(snapshots, snapshots[3], "r")->id.str(), "1");
  EXPECT_EQ(ChooseBase(snapshots, snapshots[3], "s"), nullptr);
  EXPECT_EQ(ChooseBase(snapshots, snapshots[0], "r"), nullptr);
}

}  // namespace
}  // namespace thinsnap::transfer
