// Cases 40-57: snapshots.
#include <set>

#include "tests/sanity/sanity_fixture.h"

namespace thinsnap::driver {
namespace {

class SnapshotCasesTest : public SanityTest {
 protected:
  std::string Made(const std::string& name, const std::string& volume) {
    const auto created = Snapshot(name, volume);
    EXPECT_TRUE(created.ok()) << (created.ok() ? "" : created.error().ToString());
    return created.ok() ? created->snapshot().snapshot_id() : "";
  }
  csi::v1::ListSnapshotsResponse List(const std::string& snapshot, const std::string& volume = "") {
    csi::v1::ListSnapshotsRequest request;
    request.set_snapshot_id(snapshot);
    request.set_source_volume_id(volume);
    auto listed = csi().ListSnapshots({}, request);
    EXPECT_TRUE(listed.ok());
    return listed.ok() ? *listed : csi::v1::ListSnapshotsResponse();
  }
};
THINSNAP_SANITY_WORLDS(SnapshotCasesTest);

TEST_P(SnapshotCasesTest, EntriesAreComplete) {  // 40
  const std::string volume = Volume("v");
  Made("s", volume);
  const auto listed = List("");
  ASSERT_EQ(listed.entries_size(), 1);
  const auto& snapshot = listed.entries(0).snapshot();
  EXPECT_FALSE(snapshot.snapshot_id().empty());
  EXPECT_EQ(snapshot.source_volume_id(), volume);
  EXPECT_GT(snapshot.creation_time().seconds(), 0);
  EXPECT_TRUE(snapshot.ready_to_use());
  EXPECT_EQ(snapshot.size_bytes(), kSize);
}

TEST_P(SnapshotCasesTest, FiltersFindExactlyOneOrNothing) {  // 41-44
  const std::string one = Volume("v1"), two = Volume("v2");
  const std::string first = Made("s1", one);
  Made("s2", two);
  EXPECT_EQ(List(first).entries_size(), 1);
  EXPECT_EQ(List("none-exist-id").entries_size(), 0);
  EXPECT_EQ(List("", two).entries_size(), 1);
  EXPECT_EQ(List("", "none-exist-id").entries_size(), 0);
  EXPECT_EQ(List(first, one).entries_size(), 1);
  EXPECT_EQ(List(first, two).entries_size(), 0);
}

TEST_P(SnapshotCasesTest, ListShowsTheNewAndNotTheDeleted) {  // 45
  const std::string volume = Volume("v");
  const std::string snapshot = Made("s", volume);
  EXPECT_EQ(List("").entries_size(), 1);
  ASSERT_OK(DeleteSnapshot(snapshot));
  EXPECT_EQ(List("").entries_size(), 0);
}

TEST_P(SnapshotCasesTest, SecondPageHasAllTheRest) {  // 46
  const std::string volume = Volume("v");
  for (int i = 0; i < 5; ++i) Made("s" + std::to_string(i), volume);
  csi::v1::ListSnapshotsRequest request;
  request.set_max_entries(2);
  const auto first = csi().ListSnapshots({}, request);
  ASSERT_OK(first);
  ASSERT_EQ(first->entries_size(), 2);
  request.set_max_entries(0);
  request.set_starting_token(first->next_token());
  const auto rest = csi().ListSnapshots({}, request);
  ASSERT_OK(rest);
  EXPECT_EQ(rest->entries_size(), 3);
  EXPECT_TRUE(rest->next_token().empty());
  request.set_starting_token("invalid-token");
  EXPECT_CODE(csi().ListSnapshots({}, request), Code::kAborted);
}

TEST_P(SnapshotCasesTest, GetFindsItOrSaysThatItIsGone) {  // 47-49
  csi::v1::GetSnapshotRequest request;
  EXPECT_CODE(csi().GetSnapshot({}, request), Code::kInvalidArgument);
  request.set_snapshot_id("non-existing-snapshot-id");
  EXPECT_CODE(csi().GetSnapshot({}, request), Code::kNotFound);
  const std::string volume = Volume("v");
  request.set_snapshot_id(Made("s", volume));
  const auto found = csi().GetSnapshot({}, request);
  ASSERT_OK(found);
  EXPECT_EQ(found->snapshot().snapshot_id(), request.snapshot_id());
  EXPECT_EQ(found->snapshot().source_volume_id(), volume);
  ASSERT_OK(DeleteSnapshot(request.snapshot_id()));
  EXPECT_CODE(csi().GetSnapshot({}, request), Code::kNotFound);
}

TEST_P(SnapshotCasesTest, DeleteNeedsAnIdAndForgivesUnknownOnes) {  // 50, 51, 52
  EXPECT_CODE(DeleteSnapshot(""), Code::kInvalidArgument);
  EXPECT_TRUE(DeleteSnapshot("reallyfakesnapshotid").ok());
  const std::string snapshot = Made("s", Volume("v"));
  EXPECT_TRUE(DeleteSnapshot(snapshot).ok());
  EXPECT_TRUE(DeleteSnapshot(snapshot).ok());
}

TEST_P(SnapshotCasesTest, CreateNeedsNameAndSource) {  // 53, 54
  EXPECT_CODE(Snapshot("", "testId"), Code::kInvalidArgument);
  EXPECT_CODE(Snapshot("s", ""), Code::kInvalidArgument);
  EXPECT_CODE(Snapshot("s", "fake-vol-id"), Code::kNotFound);
}

TEST_P(SnapshotCasesTest, SameNameAndSourceIsTheSameSnapshot) {  // 55
  const std::string volume = Volume("v");
  EXPECT_EQ(Made("s", volume), Made("s", volume));
  EXPECT_EQ(List("").entries_size(), 1);
}

TEST_P(SnapshotCasesTest, SameNameAndAnotherSourceExists) {  // 56
  Made("s", Volume("v1"));
  EXPECT_CODE(Snapshot("s", Volume("v2")), Code::kAlreadyExists);
}

TEST_P(SnapshotCasesTest, LongestNameIsTakenAgainAndAgain) {  // 57
  const std::string volume = Volume("v"), name(128, 's');
  EXPECT_EQ(Made(name, volume), Made(name, volume));
}

TEST_P(SnapshotCasesTest, DeletedNameIsANewSnapshot) {
  const std::string volume = Volume("v");
  const std::string first = Made("s", volume);
  ASSERT_OK(DeleteSnapshot(first));
  EXPECT_NE(Made("s", volume), first);
}

}  // namespace
}  // namespace thinsnap::driver
