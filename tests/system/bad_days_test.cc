// What goes wrong by itself: a pool that runs full, a bucket whose objects are lost or damaged, one
// of two buckets that does not answer, objects that are deleted in the middle of their work. Each
// says so, nothing else suffers, and it goes on when the cause is gone.
#include <csignal>
#include <gmock/gmock.h>
#include <string>
#include <utility>
#include <vector>

#include "base/data/yaml.h"
#include "base/kube/object.h"
#include "tests/system/backup_fixture.h"

namespace thinsnap::system_test {
namespace {

using testing::HasSubstr;

class BadDaysTest : public BackupTest {
 protected:
  static ByteSpan AsBytes(const std::string& text) {
    return ByteSpan(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  }
  // Whether there is a YAML object of this kind and name at the key.
  static bool IsView(store::ObjectStore& store, const std::string& key, const std::string& kind,
                     const std::string& name) {
    const auto object = store.Get(key);
    if (!object.ok()) return false;
    const auto view = ParseYaml(std::string_view(
        reinterpret_cast<const char*>(object->bytes.data()), object->bytes.size()));
    return view.ok() && StringAt(*view, "kind") == kind &&
           (name.empty() || StringAt(*view, "metadata.name") == name);
  }
  void Delete(const std::vector<std::string>& what) {
    std::vector<std::string> arguments{"delete", "-n", "demo", "--timeout=100s"};
    arguments.insert(arguments.end(), what.begin(), what.end());
    const auto deleted = Kubectl(arguments);
    EXPECT_EQ(deleted.exit_code, 0) << deleted.err;
  }
  void Change(const std::string& what, const std::string& patch) {
    const auto changed = Kubectl({"patch", "-n", "demo", what, "--type=merge", "-p", patch});
    EXPECT_EQ(changed.exit_code, 0) << changed.err;
  }
  bool WaitForEnd(const kube::ResourceType& type, const std::string& name) {
    return WaitFor(type, {"demo", name}, [](const Json* object) {
      const auto phase = object == nullptr ? "" : StringAt(*object, "status.phase");
      return phase == "Succeeded" || phase == "Failed";
    });
  }
};

TEST_F(BadDaysTest, AFullPoolIsSaidAndCanBeFreed) {
  Prepare("1Gi", "600Mi");
  PrepareBackup();
  InPod("dd if=/dev/urandom of=/source/data/big bs=1M count=450 && sync");
  const auto first = BackUp("first-1");
  // Every block is written a second time, beside the one that the snapshot holds: the pool ends
  // before the volume does. What the pod sees of it is its kernel's affair.
  InPod("dd if=/dev/urandom of=/source/data/big bs=1M count=450 conv=notrunc; sync; true");
  BackUp("refused-2", "Failed");
  ExpectSaid(kinds_.backup_session,
             {"refused-2", nullptr, "BackupIncomplete", {"source-pvc", "free of", "headroom"}});
  Restore("no-room", first);
  ExpectSaid(kinds_.restore_session,
             {"no-room", nullptr, "RestoreProgressing", {"demo/no-room", "free of", "headroom"}});
  Delete({"restoresession", "no-room"});
  EXPECT_TRUE(WaitForGone(kube::types::kPersistentVolumeClaim, {"demo", "no-room"}));
  // Room is made by deleting, also where nothing can be written any more.
  Delete({"volumesnapshot", "--all"});
  BackUp("again-3");
  // What a restore is going to write is not there either: refused before the first byte.
  Delete({"volumesnapshot", "--all"});
  Restore("too-much", first);
  ExpectSaid(kinds_.restore_session,
             {"too-much", nullptr, "RestoreProgressing", {"demo/too-much", "about to be written"}});
  const auto pod = client().Get(kube::types::kPod, {"demo", "source-pod"});
  ASSERT_TRUE(pod.ok());
  EXPECT_EQ(StringAt(*pod, "status.phase"), "Running");
}

TEST_F(BadDaysTest, ViewsAreWrittenAnewAndPointsAreBelieved) {
  Prepare("2Gi", "100Mi");
  PrepareBackup();
  const auto first = BackUp("first-1");
  InPod("echo more > /source/data/more && sync");
  const auto second = BackUp("second-2");
  auto root = Bucket("demo");
  auto folder = Bucket("demo/pvc-volume-snapshot-repo");
  for (const char* damage : {"", "}{"}) {
    SCOPED_TRACE(damage);
    ASSERT_TRUE(root->Put("metadata.yaml", AsBytes(damage)).ok());
    Change("backupstorage/s3-storage", R"({"metadata":{"labels":{"looked-at":"yes"}}})");
    EXPECT_TRUE(Eventually("metadata.yaml", [&] {
      const auto object = root->Get("metadata.yaml");
      return object.ok() && AsText(object->bytes).find("name: s3-repository") != std::string::npos;
    }));
    Change("backupstorage/s3-storage", R"({"metadata":{"labels":{"looked-at":null}}})");
  }
  EXPECT_TRUE(WaitForWarning("s3-storage", {"metadata.yaml", "written anew"}));

  const auto key = [](const std::string& name) { return "snapshots/" + name + ".yaml"; };
  ASSERT_TRUE(folder->Put(key(first), AsBytes("garbage: [")).ok());
  ASSERT_TRUE(folder->Delete(key(second)).ok());
  ASSERT_TRUE(folder->Put("repository.yaml", AsBytes("kind: Secret\n")).ok());
  // A new operator looks at once.
  for (const pid_t pid : Processes("thinsnap-operator")) kill(pid, SIGKILL);
  EXPECT_TRUE(WaitForWarning("s3-repository", {key(first), "written anew"}));
  EXPECT_TRUE(WaitForWarning("s3-repository", {key(second), "found nothing"}));
  EXPECT_TRUE(WaitForWarning("s3-repository", {"repository.yaml", "written anew"}));
  EXPECT_TRUE(Eventually("the views", [&] {
    return IsView(*folder, key(first), "Snapshot", first) &&
           IsView(*folder, key(second), "Snapshot", second) &&
           IsView(*folder, "repository.yaml", "Repository", "s3-repository");
  }));

  // One bit of the point of the second.
  Delete({"volumesnapshot", "--all"});
  std::vector<std::string> points;
  ASSERT_TRUE(store::ListAll(*folder, "points/", [&](const store::ObjectInfo& info) -> Status {
                points.push_back(info.key);
                return {};
              }).ok());
  ASSERT_EQ(points.size(), 2u);
  auto point = folder->Get(points.back());
  ASSERT_TRUE(point.ok());
  point->bytes[point->bytes.size() / 2] ^= 1;
  ASSERT_TRUE(folder->Put(points.back(), point->bytes).ok());
  Restore("damaged", second);
  ExpectSaid(kinds_.restore_session,
             {"damaged", nullptr, "ValidationPassed", {second, points.back(), "damaged"}});
  EXPECT_TRUE(WaitForPhase(kinds_.restore_session, "damaged", "Invalid"));
  EXPECT_TRUE(WaitForGone(kube::types::kPersistentVolumeClaim, {"demo", "damaged"}));
  Restore("sound", first);
  EXPECT_TRUE(WaitForPhase(kinds_.restore_session, "sound", "Succeeded"));
  BackUp("third-3");
  // Retention must be able to do without it, too.
  Change("snapshot.storage.kubestash.com/" + second, R"({"spec":{"deletionPolicy":"WipeOut"}})");
  Delete({"snapshot.storage.kubestash.com", second});
}

TEST_F(BadDaysTest, OneOfTwoBucketsThatIsGoneIsNoLossOfTheOther) {
  Prepare("2Gi", "100Mi");
  auto other = StartBucket("other");
  ASSERT_NE(other, nullptr);
  auto storage = Edited(
      "common/backend.yaml",
      {"other",
       [&](Json& object) { Set(object, "spec.storage.s3.endpoint", Json(Endpoint(*other))); },
       "",
       {}});
  Apply(ToJson(storage));
  auto configuration = Edited(
      "pvc/backup.yaml",
      {"two",
       [](Json& object) {
         auto& backends = FindMutable(object, "spec.backends")->as_array();
         Json plain = backends[0];
         Set(plain, "name", "plain");
         Set(plain, "storageRef.name", "other");
         backends.push_back(std::move(plain));
         // Enough for a cut, and short enough to wait for.
         Set(Session(object), "backupTimeout", "10s");
         FindMutable(Session(object), "repositories")
             ->as_array()
             .push_back(JsonObject{{"name", "plain"}, {"backend", "plain"}, {"directory", "/p"}});
       },
       "",
       {}});
  Apply(ToJson(configuration));
  ASSERT_TRUE(WaitForPhase(kinds_.backup_configuration, "two", "Ready"));
  ASSERT_TRUE(WaitForPodPhase("source-pod", "Running", "demo"));
  BackUp("both-1", "Succeeded", "two");
  for (const char* name : {"repository-two-both-1", "plain-both-1"})
    EXPECT_TRUE(WaitForPhase(kinds_.snapshot, name, "Succeeded"));

  other.reset();
  InPod("echo more > /source/data/more && sync");
  BackUp("half-2", "Failed", "two");
  ExpectSaid(kinds_.backup_session,
             {"half-2", nullptr, "BackupIncomplete", {"plain-half-2", "backupTimeout"}});
  EXPECT_TRUE(WaitForPhase(kinds_.snapshot, "repository-two-half-2", "Succeeded"));
  EXPECT_TRUE(WaitForPhase(kinds_.snapshot, "plain-half-2", "Failed"));

  // A wipe that cannot reach its bucket holds the object, says why, and lets go of it when asked.
  Change("repository.storage.kubestash.com/plain", R"({"spec":{"deletionPolicy":"WipeOut"}})");
  EXPECT_EQ(
      Kubectl({"delete", "-n", "demo", "--wait=false", "repository.storage.kubestash.com", "plain"})
          .exit_code,
      0);
  EXPECT_TRUE(WaitForWarning("plain", {"could not be removed", "deletionPolicy Delete"}));
  Change("repository.storage.kubestash.com/plain", R"({"spec":{"deletionPolicy":"Delete"}})");
  EXPECT_TRUE(WaitForGone(kinds_.repository, {"demo", "plain"}));
}

TEST_F(BadDaysTest, WhatIsDeletedInTheMiddleHasAnEnd) {
  Prepare("2Gi", "400Mi");
  PrepareBackup();
  const auto begin = [&](const std::string& name) {
    InPod("dd if=/dev/urandom of=/source/data/file bs=1M count=100 && sync");
    Apply(R"(
apiVersion: core.kubestash.com/v1alpha1
kind: BackupSession
metadata: {name: )" +
          name + R"(, namespace: demo, labels: {kubestash.com/invoker-name: pvc-volume-snapshot}}
spec:
  invoker: {apiGroup: core.kubestash.com, kind: BackupConfiguration, name: pvc-volume-snapshot}
  session: frequent-backup
)");
    EXPECT_TRUE(WaitFor(kinds_.snapshot, {"demo", "s3-repository-" + name}, [](const Json* object) {
      return object != nullptr && FindObject(*object, "status.components") != nullptr;
    }));
  };
  begin("session-1");
  Delete({"backupsession", "session-1"});
  EXPECT_TRUE(WaitForEnd(kinds_.snapshot, "s3-repository-session-1"));

  begin("snapshot-2");
  Delete({"snapshots.storage.kubestash.com", "s3-repository-snapshot-2"});
  EXPECT_TRUE(WaitForPhase(kinds_.backup_session, "snapshot-2", "Failed"));

  begin("configuration-3");
  Delete({"backupconfiguration", "pvc-volume-snapshot"});
  EXPECT_TRUE(WaitForEnd(kinds_.snapshot, "s3-repository-configuration-3"));

  PrepareBackup();
  const auto sound = BackUp("sound-4");
  begin("namespace-5");
  Restore("restored", sound);
  Delete({"pod", "source-pod", "--now"});
  EXPECT_EQ(Kubectl({"delete", "namespace", "demo", "--timeout=100s"}).exit_code, 0);
  EXPECT_TRUE(WaitForGone(kube::types::kNamespace, {"", "demo"}));
  // The points stay: a namespace is no reason to lose a backup.
  EXPECT_TRUE(Bucket("demo/pvc-volume-snapshot-repo")->Get("repo.json").ok());
}

}  // namespace
}  // namespace thinsnap::system_test
