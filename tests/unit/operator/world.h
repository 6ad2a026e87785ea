// The rest of a cluster for the reconcilers' tests, in its plainest form, and the guide of a claim
// on it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

#include "snapshotter/api/session.h"
#include "snapshotter/api/target.h"
#include "snapshotter/api/views.h"
#include "snapshotter/mover/transfer.h"
#include "tests/unit/mover/fixture.h"
#include "tests/unit/operator/fixture.h"

namespace thinsnap::backup {

inline constexpr char kBucket[] = "s3+http://127.0.0.1:9000/bucket/demo";
inline constexpr char kFolder[] = "s3+http://127.0.0.1:9000/bucket/demo/pvc-volume-snapshot-repo";

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
      // An export takes its time.
      if (!cluster_.Exists(kube::types::kVolumeSnapshot, key.ns, key.name)) return;
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
    cluster = std::make_unique<TestCluster>(runtime_, random_, storage_);
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

}  // namespace thinsnap::backup
