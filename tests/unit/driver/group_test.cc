// Group snapshots through the driver: several volumes cut at one instant, under one name.
#include <gmock/gmock.h>

#include "tests/unit/driver/fixture.h"

namespace thinsnap::driver {
namespace {

using testing::HasSubstr;

class GroupTest : public DriverFixture {
 protected:
  static csi::v1::CreateVolumeGroupSnapshotRequest Request(const std::string& name,
                                                           const std::vector<std::string>& volumes,
                                                           const std::string& repositories = "") {
    csi::v1::CreateVolumeGroupSnapshotRequest request;
    request.set_name(name);
    for (const std::string& volume : volumes) request.add_source_volume_ids(volume);
    auto& parameters = *request.mutable_parameters();
    if (!repositories.empty()) parameters["repositories"] = repositories;
    parameters["csi.storage.k8s.io/volumegroupsnapshot/name"] = "group-" + name;
    parameters["csi.storage.k8s.io/volumegroupsnapshot/namespace"] = "shop";
    return request;
  }
  Result<csi::v1::VolumeGroupSnapshot> Cut(
      const csi::v1::CreateVolumeGroupSnapshotRequest& request) {
    auto made = csi().CreateVolumeGroupSnapshot({}, request);
    if (!made.ok()) return made.error();
    return made->group_snapshot();
  }
  Status Delete(const csi::v1::VolumeGroupSnapshot& group, bool with_members = true) {
    csi::v1::DeleteVolumeGroupSnapshotRequest request;
    request.set_group_snapshot_id(group.group_snapshot_id());
    for (const auto& member : group.snapshots()) {
      if (with_members) request.add_snapshot_ids(member.snapshot_id());
    }
    const auto deleted = csi().DeleteVolumeGroupSnapshot({}, request);
    return deleted.ok() ? Status() : Status(deleted.error());
  }
  Result<csi::v1::VolumeGroupSnapshot> Get(const std::string& id,
                                           const std::vector<std::string>& members) {
    csi::v1::GetVolumeGroupSnapshotRequest request;
    request.set_group_snapshot_id(id);
    for (const std::string& member : members) request.add_snapshot_ids(member);
    auto found = csi().GetVolumeGroupSnapshot({}, request);
    if (!found.ok()) return found.error();
    return found->group_snapshot();
  }
  static std::vector<std::string> IdsOf(const csi::v1::VolumeGroupSnapshot& group) {
    std::vector<std::string> ids;
    for (const auto& member : group.snapshots()) ids.push_back(member.snapshot_id());
    return ids;
  }
};

TEST_F(GroupTest, MembersAreSnapshotsOfOneInstant) {
  StartNode();
  const std::string a = CreateVolume("a"), b = CreateVolume("b");
  Write(a, 0, "log 1");
  Write(b, 0, "data 1");
  const auto group = Cut(Request("g", {a, b}));
  ASSERT_TRUE(group.ok()) << group.error().ToString();
  Write(b, 0, "data 2");
  ASSERT_EQ(group->snapshots_size(), 2);
  EXPECT_TRUE(group->ready_to_use());
  for (const auto& member : group->snapshots()) {
    EXPECT_EQ(member.group_snapshot_id(), group->group_snapshot_id());
    EXPECT_EQ(member.creation_time().nanos(), group->creation_time().nanos());
    EXPECT_TRUE(member.ready_to_use());
    const bool is_a = member.source_volume_id() == a;
    const auto restored = CreateUntilDone(RestoreRequest(is_a ? "ra" : "rb", member.snapshot_id()));
    ASSERT_TRUE(restored.ok()) << restored.error().ToString();
    EXPECT_EQ(Read(restored->volume().volume_id(), 0, 6),
              is_a ? std::string("log 1\0", 6) : "data 1");
  }
  // Repeated, in another order.
  const auto again = Cut(Request("g", {b, a}));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->group_snapshot_id(), group->group_snapshot_id());
  const auto found = Get(group->group_snapshot_id(), IdsOf(*group));
  ASSERT_TRUE(found.ok()) << found.error().ToString();
  EXPECT_THAT(IdsOf(*found), testing::UnorderedElementsAreArray(IdsOf(*group)));
  csi::v1::ListSnapshotsRequest list;
  EXPECT_EQ(csi().ListSnapshots({}, list)->entries_size(), 2);
  // A start forgets nothing.
  StopNode();
  StartNode();
  EXPECT_TRUE(Get(group->group_snapshot_id(), IdsOf(*group)).ok());
}

TEST_F(GroupTest, IsReadyWhenEachMemberIsExported) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string a = CreateVolume("a"), b = CreateVolume("b");
  Write(a, 0, "one");
  const auto request = Request("g", {a, b}, repository.id);
  auto group = Cut(request);
  ASSERT_TRUE(group.ok()) << group.error().ToString();
  EXPECT_FALSE(group->ready_to_use());
  for (int i = 0; i < kPolls && !group->ready_to_use(); ++i) {
    EXPECT_TRUE(world_->runtime.SleepFor(kPollPause).ok());
    group = Cut(request);
    ASSERT_TRUE(group.ok()) << group.error().ToString();
  }
  EXPECT_TRUE(group->ready_to_use());
  EXPECT_EQ(repository.opened->ListPoints()->size(), 2U);
  // Its members stay as bases; the name is free again, and means another instant.
  ASSERT_TRUE(Delete(*group).ok());
  EXPECT_TRUE(Get(group->group_snapshot_id(), IdsOf(*group)).Is(Code::kNotFound));
  const auto next = Cut(request);
  ASSERT_TRUE(next.ok()) << next.error().ToString();
  EXPECT_NE(next->group_snapshot_id(), group->group_snapshot_id());
  EXPECT_EQ(next->snapshots_size(), 2);
}

TEST_F(GroupTest, DeletedWholeAndAgain) {
  StartNode();
  const std::string a = CreateVolume("a"), b = CreateVolume("b");
  const auto group = Cut(Request("g", {a, b}));
  ASSERT_TRUE(group.ok());
  EXPECT_TRUE(Delete(*group, /*with_members=*/false).Is(Code::kInvalidArgument));
  // One that went alone.
  csi::v1::DeleteSnapshotRequest one;
  one.set_snapshot_id(group->snapshots(0).snapshot_id());
  ASSERT_TRUE(csi().DeleteSnapshot({}, one).ok());
  EXPECT_TRUE(Get(group->group_snapshot_id(), IdsOf(*group)).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Cut(Request("g", {a, b})).Is(Code::kAlreadyExists));
  ASSERT_TRUE(Delete(*group).ok());
  ASSERT_TRUE(Delete(*group).ok());
  EXPECT_EQ(csi().ListSnapshots({}, {})->entries_size(), 0);
  csi::v1::VolumeGroupSnapshot unknown;
  unknown.set_group_snapshot_id("never given out");
  EXPECT_TRUE(Delete(unknown).ok());
}

TEST_F(GroupTest, WhatIsWrongIsSaidByCode) {
  StartNode();
  const std::string a = CreateVolume("a"), b = CreateVolume("b"), c = CreateVolume("c");
  EXPECT_TRUE(Cut(Request("", {a})).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Cut(Request(std::string(101, 'x'), {a})).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Cut(Request("g", {})).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Cut(Request("g", {a, a})).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Cut(Request("g", {a, ""})).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Cut(Request("g", {a, "nothing"})).Is(Code::kNotFound));
  const auto unknown = Cut(Request("g", {a, b}, "norepository"));
  EXPECT_TRUE(unknown.Is(Code::kFailedPrecondition)) << unknown.error().ToString();
  EXPECT_EQ(csi().ListSnapshots({}, {})->entries_size(), 0) << "half a group is none";
  ASSERT_TRUE(Cut(Request("g", {a, b})).ok());
  const auto other = Cut(Request("g", {a, c}));
  ASSERT_TRUE(other.Is(Code::kAlreadyExists));
  EXPECT_THAT(other.error().message(), HasSubstr(b));
  EXPECT_TRUE(Get("", {}).Is(Code::kInvalidArgument));
  EXPECT_TRUE(Get("nothing", {}).Is(Code::kNotFound));
}

}  // namespace
}  // namespace thinsnap::driver
