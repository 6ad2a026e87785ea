// The reconcilers against an API server in memory: the guide backs up, and what a user can get
// wrong is said.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/operator/world.h"

namespace thinsnap::backup {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;

TEST_F(ReconcilersTest, StorageBecomesReadyThroughItsJob) {
  ApplyBackend();
  cluster_->Settle();
  EXPECT_EQ(StringAt(Storage(), "status.phase"), "Ready");
  EXPECT_TRUE(kube::ConditionIs(Storage(), "BackendInitialized"));
  EXPECT_TRUE(kube::ConditionIs(Storage(), "BackendSecretFound"));
  EXPECT_TRUE(cluster_->Exists(kube::types::kJob, "demo", "init-s3-storage-storage"));
  EXPECT_THAT(storage_.Text(kBucket, "metadata.yaml"), HasSubstr("config.kubestash.com/v1alpha1"));
  EXPECT_EQ(StringAt(Storage(), "status.totalSize"), "0 B");
}

TEST_F(ReconcilersTest, StorageRefusesOtherProviders) {
  cluster_->Apply(R"(
apiVersion: storage.kubestash.com/v1alpha1
kind: BackupStorage
metadata: {name: s3-storage, namespace: demo}
spec: {storage: {provider: gcs, gcs: {bucket: b, secretName: gcs-secret}}}
)");
  cluster_->Settle();
  EXPECT_EQ(StringAt(Storage(), "status.phase"), "NotReady");
  EXPECT_THAT(cluster_->ConditionMessage(Storage(), "BackendInitialized"),
              AllOf(HasSubstr("spec.storage.provider"), HasSubstr("gcs"),
                    HasSubstr("accepted by this version is s3")));
  EXPECT_THAT(cluster_->EventMessages(), Contains(HasSubstr("spec.storage.provider")));
}

TEST_F(ReconcilersTest, OneDefaultStorageInANamespace) {
  ApplyBackend();
  cluster_->Apply(R"(
apiVersion: storage.kubestash.com/v1alpha1
kind: BackupStorage
metadata: {name: second, namespace: demo}
spec:
  default: true
  storage: {provider: s3, s3: {endpoint: 'http://127.0.0.1:9000', bucket: other, secretName: s3-secret}}
)");
  cluster_->Settle();
  const auto second = cluster_->Get(cluster_->kinds.backup_storage, "demo", "second");
  EXPECT_THAT(cluster_->ConditionMessage(second, "BackendInitialized"),
              AllOf(HasSubstr("spec.default"), HasSubstr("demo/s3-storage")));
  EXPECT_EQ(StringAt(Storage(), "status.phase"), "Ready");
}

TEST_F(ReconcilersTest, StorageNamesTheMissingSecretAndRecovers) {
  cluster_->ApplyGuide("common/backend.yaml");
  cluster_->Settle();
  EXPECT_EQ(StringAt(Storage(), "status.phase"), "NotReady");
  EXPECT_THAT(cluster_->ConditionMessage(Storage(), "BackendSecretFound"),
              AllOf(HasSubstr("Secret demo/s3-secret"), HasSubstr("AWS_ACCESS_KEY_ID")));
  EXPECT_THAT(cluster_->EventMessages(), Contains(HasSubstr("demo/s3-secret")));
  cluster_->ApplyGuide("common/secrets.yaml");
  cluster_->Settle();
  EXPECT_EQ(StringAt(Storage(), "status.phase"), "Ready");
}

TEST_F(ReconcilersTest, StorageSaysThatTheKeyIsWrongOrTheBucketGone) {
  storage_.Break("s3+http://127.0.0.1:9000/bucket",
                 Error(Code::kPermissionDenied, "SignatureDoesNotMatch"));
  ApplyBackend();
  cluster_->Settle();
  EXPECT_EQ(StringAt(Storage(), "status.phase"), "NotReady");
  EXPECT_THAT(cluster_->ConditionMessage(Storage(), "BackendInitialized"),
              HasSubstr("SignatureDoesNotMatch"));
  storage_.Heal();
  storage_.Break("s3+http://127.0.0.1:9000/bucket",
                 Error(Code::kNotFound, "bucket \"bucket\" does not exist"));
  cluster_->Settle();
  EXPECT_THAT(cluster_->ConditionMessage(Storage(), "BackendInitialized"),
              HasSubstr("does not exist"));
  EXPECT_THAT(cluster_->EventMessages(), Contains(HasSubstr("does not exist")));
  EXPECT_FALSE(cluster_->Exists(kube::types::kJob, "demo", "init-s3-storage-storage"));
  storage_.Heal();
  cluster_->Settle();
  EXPECT_EQ(StringAt(Storage(), "status.phase"), "Ready");
}

TEST_F(ReconcilersTest, TheGuideOfAClaimIsReady) {
  ApplyPvcGuide();
  EXPECT_EQ(StringAt(Configuration(), "status.phase"), "Ready") << ToPrettyJson(Configuration());
  EXPECT_TRUE(cluster_->Exists(kube::types::kCronJob, "demo",
                               "trigger-pvc-volume-snapshot-frequent-backup"));
  const auto repository = Repository();
  EXPECT_EQ(StringAt(repository, "status.phase"), "Ready");
  EXPECT_EQ(StringAt(repository, "status.suite"), "sealed");
  const auto id = StringAt(repository, "status.repositoryID");
  ASSERT_FALSE(id.empty());
  const auto secret = cluster_->Get(kube::types::kSecret, "thinsnap-system", DriverSecretName(id));
  EXPECT_EQ(SecretValue(secret, "url")->Reveal(), kFolder);
  EXPECT_EQ(SecretValue(secret, "namespaces")->Reveal(), "demo");
  EXPECT_EQ(SecretValue(secret, "passphrase")->Reveal(), "open sesame");
  EXPECT_THAT(storage_.Keys(kFolder), AllOf(Contains("repo.json"), Contains("repository.yaml")));
  EXPECT_THAT(storage_.Text(kBucket, "metadata.yaml"),
              AllOf(HasSubstr("s3-repository"), HasSubstr(id)));
}

TEST_F(ReconcilersTest, PausingSuspendsTheSchedule) {
  const auto next_schedule = [this] {
    const Json configuration =
        cluster_->Get(cluster_->kinds.backup_configuration, "demo", "pvc-volume-snapshot");
    return StringAt(ArrayAt(configuration, "status.sessions").at(0), "nextSchedule");
  };
  ApplyPvcGuide();
  EXPECT_THAT(next_schedule(), MatchesRegex(".*T..:.[05]:00Z"));
  cluster_->Edit(cluster_->kinds.backup_configuration, "demo", "pvc-volume-snapshot",
                 [](Json& object) { Set(object, "spec.paused", true); });
  cluster_->Settle();
  EXPECT_TRUE(BoolAt(
      cluster_->Get(kube::types::kCronJob, "demo", "trigger-pvc-volume-snapshot-frequent-backup"),
      "spec.suspend"));
  EXPECT_EQ(next_schedule(), "");
}

TEST_F(ReconcilersTest, DefaultsAreFilledIn) {
  ApplyBackend();
  world_->MakeClaim("source-pvc");
  cluster_->Apply(R"(
apiVersion: core.kubestash.com/v1alpha1
kind: BackupConfiguration
metadata: {name: pvc-volume-snapshot, namespace: demo}
spec:
  target: {apiGroup: "", kind: PersistentVolumeClaim, name: source-pvc}
  sessions:
    - name: frequent-backup
      scheduler: {schedule: "*/5 * * * *", jobTemplate: {}}
      repositories: [{name: s3-repository, backend: default, directory: /x}]
      addon: {name: pvc-addon, tasks: [{name: volume-snapshot}]}
)");
  cluster_->Settle();
  const auto configuration = Configuration();
  const auto& backend = ArrayAt(configuration, "spec.backends").at(0);
  EXPECT_EQ(StringAt(backend, "storageRef.name"), "s3-storage");
  EXPECT_EQ(StringAt(backend, "retentionPolicy.name"), "demo-retention");
  EXPECT_EQ(StringAt(Configuration(), "status.phase"), "Ready");
  EXPECT_EQ(StringAt(Repository(), "status.suite"), "plain");
  EXPECT_THAT(cluster_->ConditionMessage(Repository(), "Sealed"),
              HasSubstr("whoever reads the bucket reads the backups"));
}

TEST_F(ReconcilersTest, AConfigurationThatMayNotUseTheStorageIsInvalid) {
  ApplyBackend();
  cluster_->Edit(cluster_->kinds.backup_storage, "demo", "s3-storage", [](Json& object) {
    Set(object, "spec.usagePolicy.allowedNamespaces.from", "Same");
  });
  cluster_->Apply("{apiVersion: v1, kind: Namespace, metadata: {name: other}}");
  auto configuration = Yaml(R"(
apiVersion: core.kubestash.com/v1alpha1
kind: BackupConfiguration
metadata: {name: theirs, namespace: other}
spec:
  target: {apiGroup: "", kind: PersistentVolumeClaim, name: claim}
  backends:
    - {name: b, storageRef: {name: s3-storage, namespace: demo}, retentionPolicy: {name: demo-retention, namespace: demo}}
  sessions:
    - name: daily
      scheduler: {schedule: "@daily", jobTemplate: {}}
      repositories: [{name: theirs, backend: b, directory: /theirs}]
      addon: {name: pvc-addon, tasks: [{name: volume-snapshot}]}
)");
  ASSERT_OK(cluster_->client().Create(cluster_->kinds.backup_configuration, configuration));
  cluster_->Settle();
  const auto theirs = cluster_->Get(cluster_->kinds.backup_configuration, "other", "theirs");
  EXPECT_EQ(StringAt(theirs, "status.phase"), "Invalid");
  EXPECT_THAT(cluster_->ConditionMessage(theirs, "ValidationPassed"),
              AllOf(HasSubstr("BackupStorage demo/s3-storage"), HasSubstr("namespace other"),
                    HasSubstr("RetentionPolicy demo/demo-retention")));
  EXPECT_FALSE(cluster_->Exists(cluster_->kinds.repository, "other", "theirs"));
  EXPECT_FALSE(cluster_->Exists(kube::types::kCronJob, "other", "trigger-theirs-daily"));
}

TEST_F(ReconcilersTest, AWrongPassphraseIsSaid) {
  ApplyPvcGuide();
  cluster_->Edit(kube::types::kSecret, "demo", "encrypt-secret", [](Json& object) {
    FindMutable(object, "data")->as_object()["RESTIC_PASSWORD"] = "b3RoZXI=";
  });
  cluster_->Settle();
  EXPECT_EQ(StringAt(Repository(), "status.phase"), "NotReady");
  EXPECT_EQ(StringAt(*kube::FindCondition(Repository(), "RepositoryInitialized"), "reason"),
            "WrongPassphrase");
  EXPECT_EQ(StringAt(Configuration(), "status.phase"), "NotReady");
  cluster_->Delete(kube::types::kSecret, "demo", "encrypt-secret");
  cluster_->Settle();
  EXPECT_THAT(cluster_->ConditionMessage(Repository(), "EncryptionSecretFound"),
              AllOf(HasSubstr("demo/encrypt-secret"), HasSubstr("RESTIC_PASSWORD")));
}

TEST_F(ReconcilersTest, ASessionBacksUp) {
  ApplyPvcGuide();
  const auto session = RunSession();
  EXPECT_EQ(StringAt(session, "status.phase"), "Succeeded") << ToPrettyJson(session);
  EXPECT_FALSE(StringAt(session, "status.duration").empty());
  const std::string name = "s3-repository-pvc-volume-snapshot-frequent-backup-1705402801";
  const auto snapshot = cluster_->Get(cluster_->kinds.snapshot, "demo", name);
  EXPECT_EQ(StringAt(snapshot, "status.phase"), "Succeeded") << ToPrettyJson(snapshot);
  const auto& stat =
      ArrayAt(snapshot, "status.components.volumesnapshot.volumeSnapshotterStats").at(0);
  EXPECT_EQ(StringAt(stat, "volumeSnapshotName"), "source-pvc-1705402801");
  EXPECT_EQ(StringAt(stat, "driver"), "csi.thinsnap.io");
  EXPECT_GT(IntAt(stat, "bytesUploaded"), 100 << 10);
  EXPECT_EQ(StringAt(stat, "mode"), "full");
  EXPECT_TRUE(ParseSnapshotHandle(StringAt(stat, "volumeSnapshotHandle")));
  EXPECT_THAT(storage_.Text(kFolder, "snapshots/" + name + ".yaml"), HasSubstr("phase: Succeeded"));
  EXPECT_EQ(IntAt(Repository(), "status.snapshotCount"), 1);
  EXPECT_FALSE(StringAt(Repository(), "status.lastBackupTime").empty());
  EXPECT_EQ(StringAt(ArrayAt(session, "status.retentionPolicy").at(0), "phase"), "Applied");

  const auto id = StringAt(Repository(), "status.repositoryID");
  const auto derived = DerivedClassName("csi-snapshot-class", {id});
  EXPECT_EQ(StringIn(cluster_->Get(kube::types::kVolumeSnapshotClass, "", derived), "parameters",
                     "repositories"),
            id);
  EXPECT_EQ(StringAt(cluster_->Get(kube::types::kVolumeSnapshot, "demo", "source-pvc-1705402801"),
                     "spec.volumeSnapshotClassName"),
            derived);
}

TEST_F(ReconcilersTest, RetentionForgetsPointsAndHistoryGoes) {
  ApplyPvcGuide();
  cluster_->Edit(cluster_->kinds.retention_policy, "demo", "demo-retention",
                 [](Json& object) { Set(object, "spec.successfulSnapshots.last", 1); });
  RunSession("1705402801");
  const std::string first = "s3-repository-pvc-volume-snapshot-frequent-backup-1705402801";
  ASSERT_TRUE(cluster_->Exists(cluster_->kinds.snapshot, "demo", first));
  const auto second = RunSession("1705402802");
  EXPECT_EQ(StringAt(second, "status.phase"), "Succeeded") << ToPrettyJson(second);
  EXPECT_FALSE(cluster_->Exists(cluster_->kinds.snapshot, "demo", first));
  EXPECT_FALSE(cluster_->Exists(kube::types::kVolumeSnapshot, "demo", "source-pvc-1705402801"));
  EXPECT_TRUE(cluster_->Exists(kube::types::kVolumeSnapshot, "demo", "source-pvc-1705402802"));
  EXPECT_THAT(storage_.Keys(kFolder), Not(Contains("snapshots/" + first + ".yaml")));
  auto context = cluster_->context();
  auto opened = OpenRepositoryOf(context, Repository());
  ASSERT_OK(opened);
  const auto points = opened->open.repository->ListPoints();
  ASSERT_OK(points);
  EXPECT_EQ(points->size(), 1u);
  RunSession("1705402803");
  RunSession("1705402804");
  EXPECT_EQ(cluster_->List(cluster_->kinds.backup_session, "demo").size(), 3u);
}

TEST_F(ReconcilersTest, ASessionIsSkippedWhileItsConfigurationIsNotReady) {
  ApplyPvcGuide();
  cluster_->Delete(kube::types::kPersistentVolumeClaim, "demo", "source-pvc");
  cluster_->Edit(kube::types::kPersistentVolumeClaim, "demo", "source-pvc",
                 [](Json& object) { Remove(object, "metadata.finalizers"); });
  cluster_->Settle();
  const auto session = RunSession();
  EXPECT_EQ(StringAt(session, "status.phase"), "Skipped");
  EXPECT_THAT(cluster_->ConditionMessage(session, "BackupSkipped"),
              HasSubstr("demo/pvc-volume-snapshot is NotReady"));
}

TEST_F(ReconcilersTest, AMissingClassFailsTheSessionWithItsName) {
  ApplyPvcGuide();
  cluster_->Delete(kube::types::kVolumeSnapshotClass, "", "csi-snapshot-class");
  const auto session = RunSession();
  EXPECT_EQ(StringAt(session, "status.phase"), "Failed");
  EXPECT_THAT(cluster_->ConditionMessage(session, "BackupExecutorEnsured"),
              HasSubstr("VolumeSnapshotClass csi-snapshot-class"));
  const auto snapshot =
      cluster_->Get(cluster_->kinds.snapshot, "demo",
                    "s3-repository-pvc-volume-snapshot-frequent-backup-1705402801");
  EXPECT_EQ(StringAt(snapshot, "status.phase"), "Failed");
  EXPECT_THAT(cluster_->List(kube::types::kVolumeSnapshot), IsEmpty());
}

TEST_F(ReconcilersTest, AnotherTenantsRepositoryInAClassFailsTheSession) {
  ApplyPvcGuide();
  cluster_->Edit(kube::types::kVolumeSnapshotClass, "", "csi-snapshot-class", [](Json& object) {
    object.as_object()["parameters"] = JsonObject{{"repositories", "somebodyelses"}};
  });
  const auto session = RunSession();
  EXPECT_EQ(StringAt(session, "status.phase"), "Failed");
  EXPECT_THAT(cluster_->ConditionMessage(session, "BackupExecutorEnsured"),
              AllOf(HasSubstr("parameters.repositories"), HasSubstr("somebodyelses")));
  EXPECT_THAT(cluster_->EventMessages(), Contains(HasSubstr("somebodyelses")));
}

TEST_F(ReconcilersTest, ASnapshotWithoutItsPointFails) {
  ApplyPvcGuide();
  world_->export_points = false;
  const auto session = RunSession();
  EXPECT_EQ(StringAt(session, "status.phase"), "Failed");
  const auto snapshot =
      cluster_->Get(cluster_->kinds.snapshot, "demo",
                    "s3-repository-pvc-volume-snapshot-frequent-backup-1705402801");
  EXPECT_THAT(StringAt(snapshot, "status.components.volumesnapshot.error"),
              HasSubstr("no sound restore point"));
  EXPECT_FALSE(cluster_->Exists(kube::types::kVolumeSnapshot, "demo", "source-pvc-1705402801"));
}

}  // namespace
}  // namespace thinsnap::backup
