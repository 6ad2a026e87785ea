// CreateSnapshot of an exporting class: cut, export, readiness, failures, local copies.
#include <gmock/gmock.h>

#include "base/data/json.h"
#include "tests/unit/driver/fixture.h"

namespace thinsnap::driver {
namespace {

using testing::HasSubstr;
using testing::Not;

class ExportTest : public DriverFixture {};

TEST_F(ExportTest, FirstAnswerIsNotReadyAndTheLastHasAPoint) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string volume = CreateVolume("v");
  Write(volume, 0, "hello");
  const auto request = SnapshotRequest("s", volume, repository.id);
  const auto first = csi().CreateSnapshot({}, request);
  ASSERT_TRUE(first.ok()) << first.error().ToString();
  EXPECT_FALSE(first->snapshot().ready_to_use());
  EXPECT_THAT(first->snapshot().snapshot_id(), HasSubstr("@" + repository.id));
  EXPECT_EQ(first->snapshot().size_bytes(), static_cast<std::int64_t>(8 * kMiB));
  EXPECT_GT(first->snapshot().creation_time().seconds(), 0);

  const auto ready = SnapshotUntilReady(request);
  EXPECT_EQ(ready.snapshot_id(), first->snapshot().snapshot_id());
  const auto points = repository.opened->ListPoints();
  ASSERT_TRUE(points.ok());
  ASSERT_EQ(points->size(), 1U);
  const Json& attributes = points->front().attributes;
  EXPECT_EQ(StringAt(attributes, "handle"), ready.snapshot_id());
  EXPECT_EQ(StringAt(attributes, "driver"), "csi.thinsnap.io");
  EXPECT_EQ(StringAt(attributes, "pvc.namespace"), "shop");
  EXPECT_EQ(StringAt(attributes, "pvc.name"), "data");
  EXPECT_EQ(StringAt(attributes, "volumeSnapshot.name"), "vs-s");
  EXPECT_EQ(StringAt(attributes, "content"), "content-s");
  EXPECT_EQ(StringAt(attributes, "volumeMode"), "Filesystem");
  EXPECT_EQ(IntAt(attributes, "sizeBytes"), static_cast<std::int64_t>(8 * kMiB));
}

TEST_F(ExportTest, SecondExportReadsOnlyWhatChanged) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string volume = CreateVolume("v");
  for (std::uint64_t at = 0; at < 8 * kMiB; at += 64 * kKiB) {
    Write(volume, at, "block " + std::to_string(at));
  }
  SnapshotUntilReady(SnapshotRequest("s1", volume, repository.id));
  Write(volume, kMiB, "changed");
  SnapshotUntilReady(SnapshotRequest("s2", volume, repository.id));
  const auto points = repository.opened->ListPoints();
  ASSERT_TRUE(points.ok());
  ASSERT_EQ(points->size(), 2U);
  EXPECT_EQ(points->back().mode, repo::ExportMode::kChanged) << points->back().mode_reason;
  EXPECT_EQ(points->back().changed_bytes, 64 * kKiB);
}

TEST_F(ExportTest, GoesToEveryRepositoryAndTheHandleNamesTheFirst) {
  TestRepository& one = AddRepository();
  TestRepository& two = AddRepository();
  StartNode();
  const std::string volume = CreateVolume("v");
  Write(volume, 0, "hello");
  const auto ready = SnapshotUntilReady(SnapshotRequest("s", volume, two.id + ", " + one.id));
  EXPECT_THAT(ready.snapshot_id(), HasSubstr("@" + two.id));
  EXPECT_EQ(one.opened->ListPoints()->size(), 1U);
  EXPECT_EQ(two.opened->ListPoints()->size(), 1U);
}

TEST_F(ExportTest, FailureIsReportedAtMostEverySecondCallAndNeverFirst) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string volume = CreateVolume("v");
  Write(volume, 0, "hello");
  const auto request = SnapshotRequest("s", volume, repository.id);
  // The key is proven before the cut; then the network goes.
  SnapshotUntilReady(SnapshotRequest("warm", volume, repository.id));
  repository.store.Cut(true);
  auto last = csi().CreateSnapshot({}, request);
  ASSERT_TRUE(last.ok()) << last.error().ToString();
  const std::string handle = last->snapshot().snapshot_id();
  bool reported = false, previous_failed = true;  // the first repeated call must not fail
  for (int i = 0; i < kPolls && !reported; ++i) {
    last = csi().CreateSnapshot({}, request);
    if (last.ok()) {
      EXPECT_EQ(last->snapshot().snapshot_id(), handle);
      EXPECT_FALSE(last->snapshot().ready_to_use());
      previous_failed = false;
    } else {
      EXPECT_FALSE(previous_failed);
      EXPECT_EQ(last.error().code(), Code::kInternal);
      EXPECT_THAT(last.error().message(), Not(HasSubstr(kPassphrase)));
      reported = true;
    }
    ASSERT_TRUE(world_->runtime.SleepFor(kPollPause).ok());
  }
  EXPECT_TRUE(reported);
  EXPECT_TRUE(csi().CreateSnapshot({}, request).ok());
  repository.store.Cut(false);
  EXPECT_EQ(SnapshotUntilReady(request).snapshot_id(), handle);
}

TEST_F(ExportTest, RestartGoesOnByItself) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string volume = CreateVolume("v");
  Write(volume, 0, "hello");
  SnapshotUntilReady(SnapshotRequest("warm", volume, repository.id));
  repository.store.Cut(true);
  const auto request = SnapshotRequest("s", volume, repository.id);
  const auto cut = csi().CreateSnapshot({}, request);
  ASSERT_TRUE(cut.ok());
  StopNode();
  repository.store.Cut(false);
  StartNode();
  // Nobody calls: the driver itself brings it there.
  for (int i = 0; i < kPolls && repository.opened->ListPoints()->size() < 2; ++i) {
    ASSERT_TRUE(world_->runtime.SleepFor(kPollPause).ok());
  }
  EXPECT_EQ(repository.opened->ListPoints()->size(), 2U);
  EXPECT_EQ(SnapshotUntilReady(request).snapshot_id(), cut->snapshot().snapshot_id());
}

TEST_F(ExportTest, UnknownRepositoryIsRefusedBeforeTheCut) {
  StartNode();
  const std::string volume = CreateVolume("v");
  const auto made = csi().CreateSnapshot({}, SnapshotRequest("s", volume, "01nothere"));
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code(), Code::kFailedPrecondition);
  EXPECT_THAT(made.error().message(), HasSubstr("01nothere"));
  EXPECT_TRUE(world_->pool->ListSnapshots()->empty());
}

TEST_F(ExportTest, WrongNamespaceIsNamedWithTheRepository) {
  TestRepository& repository = AddRepository({{"namespaces", "bank,mill"}});
  StartNode();
  const std::string volume = CreateVolume("v");
  const auto made = csi().CreateSnapshot({}, SnapshotRequest("s", volume, repository.id));
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code(), Code::kPermissionDenied);
  EXPECT_THAT(made.error().message(), HasSubstr("shop"));
  EXPECT_THAT(made.error().message(), HasSubstr(repository.id));
  EXPECT_TRUE(world_->pool->ListSnapshots()->empty());
}

TEST_F(ExportTest, MissingMetadataIsRefused) {
  TestRepository& repository = AddRepository();
  StartNode();
  auto request = SnapshotRequest("s", CreateVolume("v"), repository.id);
  request.mutable_parameters()->erase("csi.storage.k8s.io/volumesnapshot/namespace");
  const auto made = csi().CreateSnapshot({}, request);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code(), Code::kFailedPrecondition);
  EXPECT_THAT(made.error().message(), HasSubstr("--extra-create-metadata"));
}

TEST_F(ExportTest, WrongKeyIsRefusedBeforeTheCutAndNotTold) {
  TestRepository& repository = AddRepository({{"passphrase", "a wrong secret"}});
  StartNode();
  const std::string volume = CreateVolume("v");
  const auto made = csi().CreateSnapshot({}, SnapshotRequest("s", volume, repository.id));
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code(), Code::kFailedPrecondition);
  EXPECT_THAT(made.error().message(), Not(HasSubstr("a wrong secret")));
  EXPECT_TRUE(world_->pool->ListSnapshots()->empty());
}

TEST_F(ExportTest, WipingRepositoryTakesNothing) {
  TestRepository& repository = AddRepository({{"state", "wiping"}});
  StartNode();
  const auto made =
      csi().CreateSnapshot({}, SnapshotRequest("s", CreateVolume("v"), repository.id));
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code(), Code::kFailedPrecondition);
  EXPECT_THAT(made.error().message(), HasSubstr("wiped"));
}

TEST_F(ExportTest, FullPoolRefusesTheCutForGoodWithFigures) {
  world_ = MakeSimWorld(8 * kMiB + 64 * kKiB);
  StartNode();
  const std::string volume = CreateVolume("v");
  for (std::uint64_t at = 0; at < 8 * kMiB; at += 64 * kKiB) Write(volume, at, "full");
  const auto made = csi().CreateSnapshot({}, SnapshotRequest("s", volume, ""));
  ASSERT_FALSE(made.ok());
  // RESOURCE_EXHAUSTED would make the VolumeSnapshot undeletable.
  EXPECT_EQ(made.error().code(), Code::kFailedPrecondition);
  EXPECT_THAT(made.error().message(), HasSubstr("free of 8.1 MiB"));
  EXPECT_TRUE(world_->pool->ListSnapshots()->empty());
}

TEST_F(ExportTest, UnknownParameterIsNamed) {
  StartNode();
  auto request = SnapshotRequest("s", CreateVolume("v"), "");
  (*request.mutable_parameters())["repository"] = "x";
  const auto made = csi().CreateSnapshot({}, request);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code(), Code::kInvalidArgument);
  EXPECT_THAT(made.error().message(), HasSubstr("\"repository\""));
  EXPECT_THAT(made.error().message(), HasSubstr("repositories and localCopies"));
}

TEST_F(ExportTest, OlderCopiesLoseTheirDeviceAndKeepTheirHandle) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string volume = CreateVolume("v");
  Write(volume, 0, "one");
  const auto first = SnapshotUntilReady(SnapshotRequest("s1", volume, repository.id));
  Write(volume, 0, "two");
  SnapshotUntilReady(SnapshotRequest("s2", volume, repository.id));
  const auto handle = pool::SnapshotHandle::Parse(first.snapshot_id());
  for (int i = 0; i < kPolls && world_->pool->GetSnapshot(handle->snapshot)->has_device; ++i) {
    ASSERT_TRUE(world_->runtime.SleepFor(kPollPause).ok());
  }
  EXPECT_FALSE(world_->pool->GetSnapshot(handle->snapshot)->has_device);
  const auto again = csi().CreateSnapshot({}, SnapshotRequest("s1", volume, repository.id));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->snapshot().SerializeAsString(), first.SerializeAsString());
  // What is gone here comes from the repository.
  const auto restored = CreateUntilDone(RestoreRequest("r", first.snapshot_id()));
  ASSERT_TRUE(restored.ok()) << restored.error().ToString();
  EXPECT_EQ(Read(restored->volume().volume_id(), 0, 3), "one");
}

TEST_F(ExportTest, DeletedBaseIsHiddenUntilTheVolumeGoes) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string volume = CreateVolume("v");
  Write(volume, 0, "one");
  const auto snapshot = SnapshotUntilReady(SnapshotRequest("s1", volume, repository.id));
  csi::v1::DeleteSnapshotRequest remove;
  remove.set_snapshot_id(snapshot.snapshot_id());
  ASSERT_TRUE(csi().DeleteSnapshot({}, remove).ok());
  ASSERT_TRUE(csi().DeleteSnapshot({}, remove).ok());
  EXPECT_EQ(world_->pool->ListSnapshots()->size(), 1U);
  EXPECT_TRUE(csi().ListSnapshots({}, {})->entries().empty());
  // The restore point is not the driver's to delete.
  csi::v1::ListSnapshotsRequest find;
  find.set_snapshot_id(snapshot.snapshot_id());
  EXPECT_EQ(csi().ListSnapshots({}, find)->entries_size(), 1);
  // The hidden one still is the base.
  Write(volume, kMiB, "two");
  SnapshotUntilReady(SnapshotRequest("s2", volume, repository.id));
  EXPECT_EQ(repository.opened->ListPoints()->back().mode, repo::ExportMode::kChanged);
  csi::v1::DeleteVolumeRequest remove_volume;
  remove_volume.set_volume_id(volume);
  ASSERT_TRUE(csi().DeleteVolume({}, remove_volume).ok());
  const auto left = world_->pool->ListSnapshots();
  ASSERT_EQ(left->size(), 1U);
  EXPECT_EQ(left->front().name, "s2");
}

TEST_F(ExportTest, DeleteEndsARunningExport) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string volume = CreateVolume("v");
  Write(volume, 0, "one");
  SnapshotUntilReady(SnapshotRequest("warm", volume, repository.id));
  repository.store.Cut(true);
  const auto cut = csi().CreateSnapshot({}, SnapshotRequest("s", volume, repository.id));
  ASSERT_TRUE(cut.ok());
  csi::v1::DeleteSnapshotRequest remove;
  remove.set_snapshot_id(cut->snapshot().snapshot_id());
  const auto removed = csi().DeleteSnapshot({}, remove);
  ASSERT_TRUE(removed.ok()) << removed.error().ToString();
  repository.store.Cut(false);
  EXPECT_EQ(world_->pool->ListSnapshots()->size(), 1U);
  csi::v1::ListSnapshotsRequest find;
  find.set_snapshot_id(cut->snapshot().snapshot_id());
  EXPECT_TRUE(csi().ListSnapshots({}, find)->entries().empty());
}

TEST_F(ExportTest, WhatComesAfterADeletedSnapshotIsStillExported) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string volume = CreateVolume("v");
  Write(volume, 0, "one");
  SnapshotUntilReady(SnapshotRequest("warm", volume, repository.id));
  repository.store.Cut(true);
  const auto first = csi().CreateSnapshot({}, SnapshotRequest("s1", volume, repository.id));
  ASSERT_TRUE(first.ok());
  ASSERT_TRUE(csi().CreateSnapshot({}, SnapshotRequest("s2", volume, repository.id)).ok());
  csi::v1::DeleteSnapshotRequest remove;
  remove.set_snapshot_id(first->snapshot().snapshot_id());
  ASSERT_TRUE(csi().DeleteSnapshot({}, remove).ok());
  repository.store.Cut(false);
  // Nobody calls.
  for (int i = 0; i < kPolls && repository.opened->ListPoints()->size() < 2; ++i) {
    ASSERT_TRUE(world_->runtime.SleepFor(kPollPause).ok());
  }
  EXPECT_EQ(repository.opened->ListPoints()->size(), 2U);
}

TEST_F(ExportTest, UnreachableRepositoryIsNeverAnEmptyList) {
  TestRepository& repository = AddRepository();
  StartNode();
  const std::string volume = CreateVolume("v");
  Write(volume, 0, "one");
  const auto snapshot = SnapshotUntilReady(SnapshotRequest("s", volume, repository.id));
  csi::v1::DeleteSnapshotRequest remove;
  remove.set_snapshot_id(snapshot.snapshot_id());
  ASSERT_TRUE(csi().DeleteSnapshot({}, remove).ok());
  repository.store.Cut(true);
  csi::v1::ListSnapshotsRequest find;
  find.set_snapshot_id(snapshot.snapshot_id());
  const auto listed = csi().ListSnapshots({}, find);
  ASSERT_FALSE(listed.ok());
  EXPECT_EQ(listed.error().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace thinsnap::driver
