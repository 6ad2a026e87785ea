// Restores, an empty cluster, and the end of things, against an API server in memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshotter/store/s3_error.h"
#include "tests/unit/operator/world.h"

namespace thinsnap::backup {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST_F(ReconcilersTest, AClaimIsRestoredFromTheLiveSnapshot) {
  ApplyPvcGuide();
  RunSession();
  cluster_->ApplyGuide("pvc/restore.yaml");
  cluster_->Settle(30);
  const auto restore = cluster_->Get(cluster_->kinds.restore_session, "demo", "restore-pvc");
  EXPECT_EQ(StringAt(restore, "status.phase"), "Succeeded") << ToPrettyJson(restore);
  const auto claim =
      cluster_->Get(kube::types::kPersistentVolumeClaim, "demo", "restore-source-pvc");
  EXPECT_EQ(StringAt(claim, "spec.dataSourceRef.name"), "source-pvc-1705402801");
  EXPECT_EQ(cluster_->List(kube::types::kVolumeSnapshotContent).size(), 1u);
}

// Of each container that the operator's Jobs and CronJobs run.
std::set<std::string> ImagesOfJobs(TestCluster& cluster) {
  std::set<std::string> images;
  for (const auto& job : cluster.List(kube::types::kJob)) {
    for (const auto& container : ArrayAt(job, "spec.template.spec.containers"))
      images.insert(kube::NameOf(job) + " runs " + StringAt(container, "image"));
  }
  for (const auto& cron : cluster.List(kube::types::kCronJob)) {
    for (const auto& container : ArrayAt(cron, "spec.jobTemplate.spec.template.spec.containers"))
      images.insert(kube::NameOf(cron) + " runs " + StringAt(container, "image"));
  }
  return images;
}

TEST_F(ReconcilersTest, EveryJobRunsTheOperatorsImageUnlessItsFunctionNamesAnother) {
  const std::string tagged = "registry.example.com/thinsnap:2";
  cluster_->options.image = tagged;
  ApplyPvcGuide();
  RunSession();
  cluster_->ApplyGuide("pvc/restore.yaml");
  cluster_->Settle(30);
  // The storage initializer, the schedule, the backup, its retention and the restore.
  EXPECT_GE(ImagesOfJobs(*cluster_).size(), 4U);
  EXPECT_THAT(ImagesOfJobs(*cluster_), testing::Each(testing::EndsWith(" runs " + tagged)));

  cluster_->Edit(cluster_->kinds.function, "", "volumesnapshot-backup",
                 [](Json& function) { Set(function, "spec.image", "mine:1"); });
  RunSession("1705402901");
  EXPECT_THAT(ImagesOfJobs(*cluster_), Contains(testing::EndsWith(" runs mine:1")));
}

TEST_F(ReconcilersTest, ARestoreNeverTouchesAClaimThatExists) {
  ApplyPvcGuide();
  RunSession();
  world_->MakeClaim("restore-source-pvc");
  cluster_->ApplyGuide("pvc/restore.yaml");
  cluster_->Settle(30);
  const auto restore = cluster_->Get(cluster_->kinds.restore_session, "demo", "restore-pvc");
  EXPECT_EQ(StringAt(restore, "status.phase"), "Failed");
  EXPECT_THAT(StringAt(restore, "status.components.volumesnapshot.error"),
              AllOf(HasSubstr("claim demo/restore-source-pvc"), HasSubstr("exists already")));
  EXPECT_THAT(cluster_->EventMessages(), Contains(HasSubstr("demo/restore-source-pvc")));
  EXPECT_EQ(Find(cluster_->Get(kube::types::kPersistentVolumeClaim, "demo", "restore-source-pvc"),
                 "spec.dataSourceRef"),
            nullptr);
}

TEST_F(ReconcilersTest, ARestoreWaitsForWhatMayStillComeAndRefusesWhatCannot) {
  ApplyBackend();
  cluster_->ApplyGuide("pvc/restore.yaml");
  cluster_->Settle();
  auto restore = cluster_->Get(cluster_->kinds.restore_session, "demo", "restore-pvc");
  EXPECT_EQ(StringAt(restore, "status.phase"), "Pending");
  EXPECT_THAT(cluster_->ConditionMessage(restore, "ValidationPassed"),
              HasSubstr("Repository demo/s3-repository"));
  cluster_->Edit(cluster_->kinds.restore_session, "demo", "restore-pvc",
                 [](Json& object) { Set(object, "spec.addon.name", "no-addon"); });
  cluster_->Settle();
  restore = cluster_->Get(cluster_->kinds.restore_session, "demo", "restore-pvc");
  EXPECT_EQ(StringAt(restore, "status.phase"), "Invalid");
  EXPECT_THAT(cluster_->ConditionMessage(restore, "ValidationPassed"), HasSubstr("Addon no-addon"));
}

TEST_F(ReconcilersTest, AnEmptyClusterGetsEverythingBackFromTheBucket) {
  ApplyPvcGuide();
  RunSession();
  std::unique_ptr<TestCluster> second;
  std::unique_ptr<World> second_world;
  StartCluster(second, second_world);
  second->ApplyGuide("common/storage.yaml");
  second->ApplyGuide("common/secrets.yaml");
  const auto encryption = second->Get(kube::types::kSecret, "demo", "encrypt-secret");
  second->Delete(kube::types::kSecret, "demo", "encrypt-secret");
  second->ApplyGuide("common/backend.yaml");
  second->Settle();

  // Seen before the passphrase is there, restorable with it.
  const std::string name = "s3-repository-pvc-volume-snapshot-frequent-backup-1705402801";
  auto snapshot = second->Get(second->kinds.snapshot, "demo", name);
  EXPECT_EQ(StringAt(snapshot, "status.phase"), "Succeeded");
  EXPECT_TRUE(kube::ConditionIs(snapshot, "Unverified"));
  EXPECT_EQ(
      StringAt(second->Get(second->kinds.repository, "demo", "s3-repository"), "status.phase"),
      "NotReady");
  second->ApplyGuide("pvc/restore.yaml");
  second->Settle();
  auto restore = second->Get(second->kinds.restore_session, "demo", "restore-pvc");
  EXPECT_EQ(StringAt(restore, "status.phase"), "Pending");
  EXPECT_THAT(second->ConditionMessage(restore, "ValidationPassed"), HasSubstr("encrypt-secret"));

  auto again = kube::NewObject(kube::types::kSecret, {"demo", "encrypt-secret"});
  again.as_object()["data"] = *Find(encryption, "data");
  ASSERT_OK(second->client().Create(kube::types::kSecret, again));
  second->Settle(30);
  const auto repository = second->Get(second->kinds.repository, "demo", "s3-repository");
  EXPECT_EQ(StringAt(repository, "status.phase"), "Ready") << ToPrettyJson(repository);
  EXPECT_TRUE(kube::ConditionIs(repository, "OwnedElsewhere"));
  snapshot = second->Get(second->kinds.snapshot, "demo", name);
  EXPECT_TRUE(kube::ConditionIs(snapshot, "Unverified", "False"));
  EXPECT_EQ(second->List(second->kinds.snapshot).size(), 1u);
  const auto id = StringAt(repository, "status.repositoryID");
  const auto secret = second->Get(kube::types::kSecret, "thinsnap-system", DriverSecretName(id));
  EXPECT_FALSE(SecretValue(secret, "namespaces"));  // nobody may export

  restore = second->Get(second->kinds.restore_session, "demo", "restore-pvc");
  EXPECT_EQ(StringAt(restore, "status.phase"), "Succeeded") << ToPrettyJson(restore);
  const auto claim = second->Get(kube::types::kPersistentVolumeClaim, "demo", "restore-source-pvc");
  EXPECT_THAT(StringAt(claim, "spec.dataSourceRef.name"), HasSubstr("thinsnap-"));
  // What was made for the occasion is gone.
  EXPECT_THAT(second->List(kube::types::kVolumeSnapshot), IsEmpty());
  EXPECT_THAT(second->List(kube::types::kVolumeSnapshotContent), IsEmpty());

  // Deleting here takes nothing from the owner.
  second->Edit(second->kinds.repository, "demo", "s3-repository",
               [](Json& object) { Set(object, "spec.deletionPolicy", "WipeOut"); });
  second->Delete(second->kinds.repository, "demo", "s3-repository");
  second->Settle();
  EXPECT_FALSE(second->Exists(second->kinds.repository, "demo", "s3-repository"));
  EXPECT_THAT(storage_.Keys(kFolder), Contains("repo.json"));
}

TEST_F(ReconcilersTest, PointsWithoutASnapshotAreAdopted) {
  ApplyPvcGuide();
  RunSession();
  std::unique_ptr<TestCluster> second;
  std::unique_ptr<World> second_world;
  auto& view = *views_.emplace_back(storage_.OpenUrl(kFolder));
  ASSERT_OK(
      view.Delete("snapshots/s3-repository-pvc-volume-snapshot-frequent-backup-1705402801.yaml"));
  StartCluster(second, second_world);
  second->ApplyGuide("common/secrets.yaml");
  second->ApplyGuide("common/backend.yaml");
  second->Settle();
  const auto snapshots = second->List(second->kinds.snapshot);
  ASSERT_EQ(snapshots.size(), 1u);
  EXPECT_EQ(StringAt(snapshots[0], "spec.session"), "manual");
  EXPECT_EQ(
      StringAt(
          ArrayAt(snapshots[0], "status.components.volumesnapshot.volumeSnapshotterStats").at(0),
          "pvcName"),
      "source-pvc");
}

TEST_F(ReconcilersTest, ADeletedSnapshotStaysDeletedAndItsPointStays) {
  ApplyPvcGuide();
  RunSession();
  const std::string name = "s3-repository-pvc-volume-snapshot-frequent-backup-1705402801";
  cluster_->Delete(cluster_->kinds.snapshot, "demo", name);
  cluster_->Settle();
  EXPECT_FALSE(cluster_->Exists(cluster_->kinds.snapshot, "demo", name));
  EXPECT_THAT(storage_.Keys(kFolder), Contains("snapshots/" + name + ".yaml"));
  // An operator that starts anew compares at once.
  Memory fresh;
  auto context = cluster_->context();
  Context restarted{context.runtime,  context.random, context.client,  context.events,
                    context.backends, context.kinds,  context.options, fresh};
  ASSERT_OK(ReconcileRepository(restarted, {"demo", "s3-repository"}));
  EXPECT_THAT(cluster_->List(cluster_->kinds.snapshot), IsEmpty());
  auto opened = OpenRepositoryOf(context, Repository());
  ASSERT_OK(opened);
  const auto points = opened->open.repository->ListPoints();
  ASSERT_OK(points);
  EXPECT_EQ(points->size(), 1u);
}

TEST_F(ReconcilersTest, AForgedViewIsNotRestored) {
  ApplyPvcGuide();
  RunSession();
  auto& view = *views_.emplace_back(storage_.OpenUrl(kFolder));
  const std::string key =
      "snapshots/s3-repository-pvc-volume-snapshot-frequent-backup-1705402801.yaml";
  auto text = storage_.Text(kFolder, key);
  const auto at = text.find("ts1.pool.source-pvc");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 8, "ts1.evil");
  ASSERT_OK(PutText(view, key, text));
  std::unique_ptr<TestCluster> second;
  std::unique_ptr<World> second_world;
  StartCluster(second, second_world);
  second->ApplyGuide("common/storage.yaml");
  second->ApplyGuide("common/secrets.yaml");
  second->ApplyGuide("common/backend.yaml");
  auto restore = Yaml(R"(
apiVersion: core.kubestash.com/v1alpha1
kind: RestoreSession
metadata: {name: forged, namespace: demo}
spec:
  dataSource: {repository: s3-repository, snapshot: s3-repository-pvc-volume-snapshot-frequent-backup-1705402801}
  addon:
    name: pvc-addon
    tasks:
      - name: volume-snapshot-restore
        targetVolumes:
          volumeClaimTemplates:
            - metadata: {name: forged}
              spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
)");
  ASSERT_OK(second->client().Create(second->kinds.restore_session, restore));
  second->Settle(30);
  const auto ended = second->Get(second->kinds.restore_session, "demo", "forged");
  EXPECT_EQ(StringAt(ended, "status.phase"), "Invalid");
  EXPECT_THAT(second->ConditionMessage(ended, "ValidationPassed"),
              HasSubstr("no sound restore point"));
  EXPECT_FALSE(second->Exists(kube::types::kPersistentVolumeClaim, "demo", "forged"));
}

TEST_F(ReconcilersTest, WipeOutLeavesNothing) {
  ApplyPvcGuide();
  RunSession();
  const auto id = StringAt(Repository(), "status.repositoryID");
  cluster_->Delete(cluster_->kinds.repository, "demo", "s3-repository");
  cluster_->Settle();
  EXPECT_FALSE(cluster_->Exists(cluster_->kinds.repository, "demo", "s3-repository") &&
               StringAt(Repository(), "status.repositoryID") == id);
  EXPECT_FALSE(cluster_->Exists(kube::types::kSecret, "thinsnap-system", DriverSecretName(id)));
  EXPECT_FALSE(cluster_->Exists(kube::types::kVolumeSnapshotClass, "",
                                DerivedClassName("csi-snapshot-class", {id})));
  EXPECT_THAT(storage_.Text(kBucket, "metadata.yaml"), Not(HasSubstr(id)));
}

TEST_F(ReconcilersTest, WipeOutIsDoneWhereTheBucketIsGone) {
  ApplyPvcGuide();
  RunSession();
  cluster_->Delete(cluster_->kinds.backup_configuration, "demo", "pvc-volume-snapshot");
  store::S3Failure failure;
  failure.status = 404;
  failure.code = "NoSuchBucket";
  storage_.Break(kBucket,
                 store::ExplainS3Failure(failure, "list", "bucket", "http://s3", "us-east-1"));
  cluster_->Delete(cluster_->kinds.backup_storage, "demo", "s3-storage");
  cluster_->Settle();
  EXPECT_FALSE(cluster_->Exists(cluster_->kinds.repository, "demo", "s3-repository"));
  EXPECT_FALSE(cluster_->Exists(cluster_->kinds.backup_storage, "demo", "s3-storage"));
}

TEST_F(ReconcilersTest, DataOutlivesItsNamespace) {
  ApplyPvcGuide();
  RunSession();
  cluster_->Delete(kube::types::kNamespace, "", "demo");
  cluster_->Delete(cluster_->kinds.repository, "demo", "s3-repository");
  cluster_->Settle();
  EXPECT_FALSE(cluster_->Exists(cluster_->kinds.repository, "demo", "s3-repository"));
  EXPECT_THAT(storage_.Keys(kFolder), Contains("repo.json"));
  std::vector<std::string> messages;
  for (const auto& event : cluster_->List(kube::types::kEvent, "thinsnap-system")) {
    messages.push_back(StringAt(event, "message"));
  }
  EXPECT_THAT(messages,
              Contains(AllOf(HasSubstr("Repository demo/s3-repository"), HasSubstr("kept"))));
}

TEST_F(ReconcilersTest, ARepositoryThatLostItsHeadIsAnAlarm) {
  ApplyPvcGuide();
  auto& view = *views_.emplace_back(storage_.OpenUrl(kFolder));
  ASSERT_OK(view.Delete("repo.json"));
  auto context = cluster_->context();
  context.backends.Forget(Backends::Access{}, "");
  cluster_->Settle();
  EXPECT_EQ(StringAt(Repository(), "status.phase"), "NotReady");
  EXPECT_THAT(cluster_->ConditionMessage(Repository(), "RepositoryInitialized"),
              HasSubstr("it is not made anew"));
  EXPECT_THAT(storage_.Keys(kFolder), Not(Contains("repo.json")));
}

}  // namespace
}  // namespace thinsnap::backup
