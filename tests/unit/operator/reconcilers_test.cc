// The reconcilers against an API server in memory: the guides run, and what a user can get wrong is
// said.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "snapshotter/mover/transfer.h"
#include "snapshotter/operator/session.h"
#include "snapshotter/operator/target.h"
#include "snapshotter/operator/views.h"
#include "tests/unit/mover/fixture.h"
#include "tests/unit/operator/fixture.h"

namespace thinsnap::backup {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr char kBucket[] = "s3+http://127.0.0.1:9000/bucket/demo";
constexpr char kFolder[] = "s3+http://127.0.0.1:9000/bucket/demo/pvc-volume-snapshot-repo";

// Binder, snapshot-controller, sidecar and driver in their plainest form: what is asked for is
// there at once.
class World {
 public:
  World(TestCluster& cluster, Runtime& runtime, Random& random, TestStorage& storage)
      : cluster_(cluster), runtime_(runtime), random_(random), storage_(storage) {}

  void Step() {
    for (const auto& snapshot : cluster_.List(kube::types::kVolumeSnapshot)) {
      if (!BoolAt(snapshot, "status.readyToUse") && !kube::IsDeleting(snapshot))
        MakeReady(snapshot);
    }
    for (const auto& claim : cluster_.List(kube::types::kPersistentVolumeClaim)) {
      if (StringAt(claim, "status.phase") == "Bound" || !bind_claims) continue;
      cluster_.Edit(
          kube::types::kPersistentVolumeClaim, kube::NamespaceOf(claim), kube::NameOf(claim),
          [&](Json& object) { Set(object, "status.phase", "Bound"); }, "status");
    }
  }

  // A claim with its volume, as a provisioner leaves them.
  void MakeClaim(const std::string& name, const std::string& driver = "csi.thinsnap.io") {
    cluster_.Apply(R"(
apiVersion: v1
kind: PersistentVolume
metadata: {name: pv-)" +
                   name + R"(}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: csi-standard
  csi: {driver: )" +
                   driver + R"(, volumeHandle: ts1.pool.)" + name + R"(}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: )" +
                   name + R"(, namespace: demo}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: csi-standard
  volumeName: pv-)" +
                   name + R"(
  resources: {requests: {storage: 1Gi}}
)");
  }

  bool export_points = true, bind_claims = true;
  std::string snapshot_error;  // instead of becoming ready

 private:
  void MakeReady(const Json& snapshot) {
    const auto key = kube::KeyOf(snapshot);
    auto content = StringAt(snapshot, "spec.source.volumeSnapshotContentName");
    if (!snapshot_error.empty()) {
      cluster_.Edit(
          kube::types::kVolumeSnapshot, key.ns, key.name,
          [&](Json& object) { Set(object, "status.error.message", Json(snapshot_error)); },
          "status");
      return;
    }
    if (content.empty()) {
      content = "snapcontent-" + kube::UidOf(snapshot);
      const auto handle = Cut(snapshot);
      cluster_.Apply(R"(
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotContent
metadata: {name: )" + content +
                     R"(}
spec:
  deletionPolicy: Delete
  driver: csi.thinsnap.io
  source: {volumeHandle: x}
  sourceVolumeMode: Filesystem
  volumeSnapshotRef: {name: )" +
                     key.name + R"(, namespace: )" + key.ns + R"(}
)");
      cluster_.Edit(
          kube::types::kVolumeSnapshotContent, "", content,
          [&](Json& object) {
            Set(object, "status",
                JsonObject{
                    {"snapshotHandle", handle}, {"readyToUse", true}, {"restoreSize", 1 << 30}});
          },
          "status");
    } else {
      cluster_.Edit(
          kube::types::kVolumeSnapshotContent, "", content,
          [&](Json& object) {
            Set(object, "status",
                JsonObject{{"snapshotHandle", StringAt(object, "spec.source.snapshotHandle")},
                           {"readyToUse", true}});
          },
          "status");
    }
    cluster_.Edit(
        kube::types::kVolumeSnapshot, key.ns, key.name,
        [&](Json& object) {
          Set(object, "status",
              JsonObject{{"boundVolumeSnapshotContentName", content},
                         {"creationTime", FormatRfc3339(runtime_.clock().Now())},
                         {"readyToUse", true},
                         {"restoreSize", "1Gi"}});
        },
        "status");
  }

  // Exports a small volume as the driver would; the answer is the handle.
  std::string Cut(const Json& snapshot) {
    const auto claim = StringAt(snapshot, "spec.source.persistentVolumeClaimName");
    const auto snapshot_class = cluster_.Get(kube::types::kVolumeSnapshotClass, "",
                                             StringAt(snapshot, "spec.volumeSnapshotClassName"));
    const auto id = StringIn(snapshot_class, "parameters", "repositories");
    mover::MemoryDevice device(mover::SomeBytes(random_, 1 << 20));
    mover::ExportRequest request;
    request.series = "pool." + claim;
    request.snapshot = last_ = NewUlid(runtime_.clock().Now(), random_);
    request.cut = runtime_.clock().Now();
    request.device_identity = request.snapshot;
    request.source = &device;
    request.attributes =
        JsonObject{{"driver", "csi.thinsnap.io"},
                   {"pvc", JsonObject{{"namespace", "demo"}, {"name", claim}}},
                   {"volumeSnapshot", JsonObject{{"name", kube::NameOf(snapshot)}}}};
    if (export_points) Export(id, request);
    return SnapshotHandle{"pool", claim, request.snapshot, id}.ToString();
  }

  void Export(const std::string& id, const mover::ExportRequest& request) {
    const auto secret = cluster_.Get(kube::types::kSecret, "thinsnap-system", DriverSecretName(id));
    auto store = storage_.Open(*LocationOfDriverSecret(secret));
    ASSERT_OK(store);
    repo::OpenOptions options;
    options.passphrase = SecretValue(secret, "passphrase");
    auto repository = repo::OpenRepository(**store, runtime_, random_, options);
    ASSERT_OK(repository);
    ASSERT_OK(mover::ExportBlocks(**repository, runtime_, random_, request));
  }

  TestCluster& cluster_;
  Runtime& runtime_;
  Random& random_;
  TestStorage& storage_;
  std::string last_;
};

class ReconcilersTest : public testing::Test {
 protected:
  void SetUp() override { StartCluster(cluster_, world_); }

  void StartCluster(std::unique_ptr<TestCluster>& cluster, std::unique_ptr<World>& world) {
    cluster = std::make_unique<TestCluster>(clock_, random_, storage_);
    ASSERT_OK(cluster->Start());
    world = std::make_unique<World>(*cluster, runtime_, random_, storage_);
    cluster->world = [&world] { world->Step(); };
  }

  void ApplyBackend() {
    cluster_->ApplyGuide("common/storage.yaml");
    cluster_->ApplyGuide("common/secrets.yaml");
    cluster_->ApplyGuide("common/backend.yaml");
  }
  void ApplyPvcGuide() {
    ApplyBackend();
    world_->MakeClaim("source-pvc");
    cluster_->ApplyGuide("pvc/backup.yaml");
    cluster_->Settle();
  }
  // Runs the guide's session; its BackupSession as it ended.
  Json RunSession(const std::string& second = "1705402801") {
    const auto configuration =
        cluster_->Get(cluster_->kinds.backup_configuration, "demo", "pvc-volume-snapshot");
    const auto session = NewBackupSession(cluster_->kinds, configuration, "frequent-backup",
                                          FromUnixSeconds(std::stoll(second)), 0);
    EXPECT_TRUE(cluster_->client().Create(cluster_->kinds.backup_session, session).ok());
    cluster_->Settle(30);
    return cluster_->Get(cluster_->kinds.backup_session, "demo", kube::NameOf(session));
  }
  Json Storage() { return cluster_->Get(cluster_->kinds.backup_storage, "demo", "s3-storage"); }
  Json Repository() { return cluster_->Get(cluster_->kinds.repository, "demo", "s3-repository"); }
  Json Configuration() {
    return cluster_->Get(cluster_->kinds.backup_configuration, "demo", "pvc-volume-snapshot");
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  SeededRandom random_{7};
  TestStorage storage_{clock_};
  std::unique_ptr<TestCluster> cluster_;
  std::unique_ptr<World> world_;
  std::vector<std::unique_ptr<store::ObjectStore>> views_;
};

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
  EXPECT_THAT(
      cluster_->ConditionMessage(Storage(), "BackendInitialized"),
      AllOf(HasSubstr("spec.storage.provider"), HasSubstr("gcs"), HasSubstr("s3 and local")));
  EXPECT_THAT(cluster_->EventMessages(), Contains(HasSubstr("spec.storage.provider")));
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
  ApplyPvcGuide();
  cluster_->Edit(cluster_->kinds.backup_configuration, "demo", "pvc-volume-snapshot",
                 [](Json& object) { Set(object, "spec.paused", true); });
  cluster_->Settle();
  EXPECT_TRUE(BoolAt(
      cluster_->Get(kube::types::kCronJob, "demo", "trigger-pvc-volume-snapshot-frequent-backup"),
      "spec.suspend"));
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
