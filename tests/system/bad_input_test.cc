// What a user gets wrong in front of a real cluster: each case ends in a condition and an event
// that name what was found and what is accepted, and what is right beside it goes on.
#include <algorithm>
#include <gmock/gmock.h>
#include <string>
#include <utility>
#include <vector>

#include "base/kube/object.h"
#include "tests/system/backup_fixture.h"

namespace thinsnap::system_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class BadInputTest : public BackupTest {
 protected:
  void SetUp() override {
    BackupTest::SetUp();
    if (IsSkipped()) return;
    Prepare("2Gi", "1Gi");
    Apply(R"(
apiVersion: v1
kind: Secret
metadata: {name: empty-secret, namespace: demo}
stringData: {OTHER: x}
---
apiVersion: v1
kind: Secret
metadata: {name: wrong-secret, namespace: demo}
stringData: {AWS_ACCESS_KEY_ID: guide, AWS_SECRET_ACCESS_KEY: wrong, RESTIC_PASSWORD: wrong}
)");
  }
};

TEST_F(BadInputTest, TheServerRefusesWhatTheSchemaDoesNotKnow) {
  auto unknown = Edited(
      "common/backend.yaml",
      {"unknown", [](Json& object) { Set(object, "spec.storage.s3.buckett", "x"); }, "", {}});
  auto refused = Kubectl({"apply", "-f", "-"}, ToJson(unknown));
  EXPECT_NE(refused.exit_code, 0);
  // kubectl before 1.25 finds it by itself, in its own words.
  EXPECT_THAT(refused.err, AllOf(HasSubstr("spec.storage.s3"), HasSubstr("buckett")));
  auto wrong_type =
      Edited("common/backend.yaml",
             {"wrong-type",
              [](Json& object) { Set(object, "spec.storage.s3.maxConnections", "many"); },
              "",
              {}});
  refused = Kubectl({"apply", "-f", "-"}, ToJson(wrong_type));
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("maxConnections"));
  auto policy =
      Edited("common/backend.yaml",
             {"policy", [](Json& object) { Set(object, "spec.deletionPolicy", "Nuke"); }, "", {}});
  refused = Kubectl({"apply", "-f", "-"}, ToJson(policy));
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.err, HasSubstr("WipeOut"));
}

TEST_F(BadInputTest, StoragesAndConfigurations) {
  const auto set = [](const std::string& path, Json value) {
    return [path, value](Json& object) { Set(object, path, value); };
  };
  ExpectSaid(kinds_.backup_storage, "common/backend.yaml",
             {{"provider",
               set("spec.storage.provider", "gcs"),
               "BackendInitialized",
               {"spec.storage.provider", "\"gcs\"", "s3"}},
              {"local",
               set("spec.storage.provider", "local"),
               "BackendInitialized",
               {"spec.storage.provider", "\"local\"", "s3"}},
              {"no-secret",
               set("spec.storage.s3.secretName", "nope"),
               "BackendSecretFound",
               {"demo/nope", "spec.storage.s3.secretName", "AWS_ACCESS_KEY_ID"}},
              {"empty-keys",
               set("spec.storage.s3.secretName", "empty-secret"),
               "BackendInitialized",
               {"demo/empty-secret", "AWS_ACCESS_KEY_ID"}},
              {"wrong-key",
               set("spec.storage.s3.secretName", "wrong-secret"),
               "BackendInitialized",
               {"demo/wrong-key", "spec.storage.s3.secretName", "SignatureDoesNotMatch"}},
              {"no-bucket",
               set("spec.storage.s3.bucket", "nope"),
               "BackendInitialized",
               {"spec.storage.s3.bucket", "\"nope\" does not exist"}},
              {"endpoint",
               set("spec.storage.s3.endpoint", "ftp://host"),
               "BackendInitialized",
               {"spec.storage.s3.endpoint", "ftp://host", "https://host"}},
              {"unreachable",
               set("spec.storage.s3.endpoint", "http://127.0.0.1:1"),
               "BackendInitialized",
               {"spec.storage.s3.endpoint", "127.0.0.1", "tried again"}},
              {"region",
               set("spec.storage.s3.region", "eu-north-9"),
               "BackendInitialized",
               {"eu-north-9", "us-east-1"}},
              {"same-place",
               set("spec.storage.s3.prefix", "demo"),
               "BackendInitialized",
               {"bucket/demo", "demo/s3-storage"}},
              {"second-default",
               set("spec.default", true),
               "BackendInitialized",
               {"spec.default", "demo/s3-storage"}},
              {"no-selector",
               set("spec.usagePolicy.allowedNamespaces.from", "Selector"),
               "BackendInitialized",
               {"allowedNamespaces.selector"}}});
  const auto session = [](const std::string& path, Json value) {
    return [path, value](Json& object) { Set(Session(object), path, value); };
  };
  const auto repository = [](const std::string& path, Json value) {
    return [path, value](Json& object) {
      Set(FindMutable(Session(object), "repositories")->as_array()[0], path, value);
    };
  };
  const auto backend = [](const std::string& path, Json value) {
    return [path, value](Json& object) {
      Set(FindMutable(object, "spec.backends")->as_array()[0], path, value);
    };
  };
  PrepareBackup();
  ExpectSaid(
      kinds_.backup_configuration, "pvc/backup.yaml",
      {{"no-storage",
        backend("storageRef.name", "nope"),
        "BackendsReady",
        {"spec.backends[0].storageRef", "demo/nope"}},
       {"no-policy",
        backend("retentionPolicy.name", "nope"),
        "BackendsReady",
        {"spec.backends[0].retentionPolicy", "demo/nope"}},
       {"no-target", set("spec.target.name", "nope"), "TargetFound", {"spec.target", "demo/nope"}},
       {"kind",
        set("spec.target.kind", "Postgres"),
        "ValidationPassed",
        {"spec.target.kind", "Postgres", "StatefulSet"}},
       {"cron",
        session("scheduler.schedule", "every day"),
        "SchedulerEnsured",
        {"spec.sessions[0].scheduler", "every day"}},
       {"no-addon",
        session("addon.name", "nope"),
        "AddonFound",
        {"spec.sessions[0].addon", "nope"}},
       {"task",
        session("addon.tasks", JsonArray{JsonObject{{"name", "logical-backup"}}}),
        "ValidationPassed",
        {"tasks[0].name", "logical-backup", "volume-snapshot"}},
       {"param",
        session("addon.tasks", JsonArray{JsonObject{{"name", "volume-snapshot"},
                                                    {"params", JsonObject{{"volumeClass", "x"}}}}}),
        "ValidationPassed",
        {"params", "volumeClass", "volumeSnapshotClassName"}},
       {"session-name",
        session("name", "Not_A_Name"),
        "ValidationPassed",
        {"spec.sessions[0].name", "Not_A_Name"}},
       {"no-passphrase",
        repository("encryptionSecret.name", "nope"),
        "RepositoriesReady",
        {"repository-no-passphrase", "demo/nope", "RESTIC_PASSWORD"}},
       {"empty-passphrase",
        repository("encryptionSecret.name", "empty-secret"),
        "RepositoriesReady",
        {"demo/empty-secret", "RESTIC_PASSWORD"}},
       {"directory",
        repository("directory", "/pvc-volume-snapshot-repo"),
        "ValidationPassed",
        {"/pvc-volume-snapshot-repo", "demo/s3-repository"}}});
  // A session of one that is not ready is skipped and says why.
  BackUp("skipped-1", "Skipped", "no-storage");
  const auto skipped = client().Get(kinds_.backup_session, {"demo", "skipped-1"});
  ASSERT_TRUE(skipped.ok());
  EXPECT_THAT(Message(*skipped, "BackupSkipped"), HasSubstr("demo/nope"));
  // And what is right beside all that still works.
  BackUp("good-1");
}

TEST_F(BadInputTest, Restores) {
  PrepareBackup();
  BackUp("good-1");
  const auto before = client().Get(kube::types::kPersistentVolumeClaim, {"demo", "source-pvc"});
  const auto restore = [](const std::string& path, Json value) {
    return [path, value](Json& object) { Set(object, path, value); };
  };
  const auto claim = [](const std::string& path, Json value) {
    return [path, value](Json& object) { Set(ClaimTemplate(object), path, value); };
  };
  ExpectSaid(
      kinds_.restore_session, "pvc/restore.yaml",
      {{"no-repository",
        restore("spec.dataSource.repository", "nope"),
        "ValidationPassed",
        {"spec.dataSource.repository", "demo/nope", "s3-repository"}},
       {"no-snapshot",
        restore("spec.dataSource.snapshot", "nope"),
        "ValidationPassed",
        {"spec.dataSource.snapshot", "demo/nope", "latest"}},
       {"no-passphrase",
        restore("spec.dataSource.encryptionSecret.name", "nope"),
        "ValidationPassed",
        {"encryptionSecret", "demo/nope", "RESTIC_PASSWORD"}},
       {"wrong-passphrase",
        restore("spec.dataSource.encryptionSecret.name", "wrong-secret"),
        "ValidationPassed",
        {"demo/wrong-secret", "does not open repository"}},
       {"addon", restore("spec.addon.name", "nope"), "ValidationPassed", {"spec.addon", "nope"}},
       {"component",
        restore("spec.dataSource.components", JsonArray{Json("nope")}),
        "ValidationPassed",
        {"components", "nope", "volumesnapshot"}},
       {"small",
        claim("spec.resources.requests.storage", "100Mi"),
        "ValidationPassed",
        {"100Mi", "1.0 GiB"}},
       {"no-class",
        claim("spec.storageClassName", "nope"),
        "ValidationPassed",
        {"StorageClass nope", "csi-standard"}},
       {"claim-name",
        claim("metadata.name", "Not_A_Name"),
        "ValidationPassed",
        {"metadata.name", "Not_A_Name"}},
       {"exists",
        claim("metadata.name", "source-pvc"),
        "RestoreIncomplete",
        {"demo/source-pvc", "exists already"}},
       {"too-large",
        [&](Json& object) {
          Set(ClaimTemplate(object), "metadata.name", "too-large");
          Set(ClaimTemplate(object), "spec.resources.requests.storage", "500Ti");
        },
        "RestoreProgressing",
        {"demo/too-large", "pool"}}});
  const auto after = client().Get(kube::types::kPersistentVolumeClaim, {"demo", "source-pvc"});
  ASSERT_TRUE(before.ok() && after.ok());
  EXPECT_EQ(ToJson(*Find(*before, "spec")), ToJson(*Find(*after, "spec")));
}

TEST_F(BadInputTest, SessionsFailWithTheirSentence) {
  PrepareBackup();
  Apply(R"(
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata: {name: other-tenant}
driver: csi.thinsnap.io
deletionPolicy: Delete
parameters: {repositories: 0123456789abcdefghjkmnpqrs}
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata: {name: other-driver}
driver: other.example.com
deletionPolicy: Delete
)");
  const std::vector<std::pair<std::string, std::vector<std::string>>> cases{
      {"nope", {"VolumeSnapshotClass nope", "volumeSnapshotClassName", "csi-snapshot-class"}},
      {"other-driver", {"other.example.com", "csi.thinsnap.io", "csi-snapshot-class"}},
      {"other-tenant", {"parameters.repositories", "0123456789abcdefghjkmnpqrs"}}};
  for (const auto& [snapshot_class, said] : cases) {
    auto configuration = Edited(
        "pvc/backup.yaml", {snapshot_class,
                            [&](Json& object) {
                              auto& task =
                                  FindMutable(Session(object), "addon.tasks")->as_array()[0];
                              Set(task, "params.volumeSnapshotClassName", Json(snapshot_class));
                            },
                            "",
                            {}});
    Apply(ToJson(configuration));
    ASSERT_TRUE(WaitForPhase(kinds_.backup_configuration, snapshot_class, "Ready"));
    BackUp(snapshot_class + "-1", "Failed", snapshot_class);
    ExpectSaid(kinds_.backup_session,
               {snapshot_class + "-1", nullptr, "BackupExecutorEnsured", said});
  }
  BackUp("good-1");
}

TEST_F(BadInputTest, OneFlippedBitFailsItsRestoreAndNoOther) {
  PrepareBackup();
  const auto first = BackUp("first-1");
  auto repository = Bucket("demo/pvc-volume-snapshot-repo");
  const auto packs_of = [&] {
    std::vector<std::string> keys;
    EXPECT_TRUE(store::ListAll(*repository, "packs/", [&](const store::ObjectInfo& info) -> Status {
                  keys.push_back(info.key);
                  return {};
                }).ok());
    return keys;
  };
  const auto old_packs = packs_of();
  ASSERT_EQ(Kubectl({"exec", "-n", "demo", "source-pod", "--", "sh", "-c",
                     "dd if=/dev/urandom of=/source/data/more bs=64k count=16 && sync"})
                .exit_code,
            0);
  const auto second = BackUp("second-2");
  // The VolumeSnapshots go, so that the bytes come from the bucket.
  ASSERT_EQ(Kubectl({"delete", "volumesnapshot", "-n", "demo", "--all"}).exit_code, 0);
  for (const auto& key : packs_of()) {
    if (std::find(old_packs.begin(), old_packs.end(), key) != old_packs.end()) continue;
    auto object = repository->Get(key);
    ASSERT_TRUE(object.ok());
    object->bytes[object->bytes.size() / 2] ^= 1;
    ASSERT_TRUE(repository->Put(key, object->bytes).ok());
  }
  Restore("damaged", second);
  ExpectSaid(kinds_.restore_session, {"damaged", nullptr, "RestoreIncomplete", {"packs/"}});
  Restore("sound", first);
  EXPECT_TRUE(WaitForPhase(kinds_.restore_session, "sound", "Succeeded"));
  EXPECT_TRUE(WaitForPhase(kinds_.restore_session, "damaged", "Failed"));
  EXPECT_TRUE(WaitForGone(kube::types::kPersistentVolumeClaim, {"demo", "damaged"}));
}

}  // namespace
}  // namespace thinsnap::system_test
