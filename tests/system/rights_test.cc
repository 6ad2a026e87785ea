// What the programs of a cluster may do: what the shipped roles allow, and nothing by birth.
#include <chrono>
#include <filesystem>
#include <gmock/gmock.h>

#include "base/core/file.h"
#include "base/data/json.h"
#include "base/kube/object.h"
#include "tests/system/up_fixture.h"

namespace thinsnap::system_test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::minutes;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class RightsTest : public UpTest {
 protected:
  // Takes a verb on a resource out of a cluster role, or everything but reading where it has all
  // verbs. The role as it was.
  Json TakeVerb(const std::string& role_name, const std::string& resource,
                const std::string& verb) {
    Result<Json> role = client().Get(kube::types::kClusterRole, {"", role_name});
    EXPECT_TRUE(role.ok()) << role.error().ToString();
    if (!role.ok()) return {};
    Json changed = *role;
    bool taken = false;
    for (Json& rule : EnsureArray(changed, "rules")) {
      if (!Has(rule, "resources", resource)) continue;
      taken = true;
      JsonArray verbs;
      if (Has(rule, "verbs", "*")) {
        verbs = {"get", "list", "watch"};
      } else {
        for (const Json& each : ArrayAt(rule, "verbs")) {
          if (each.as_string() != verb) verbs.push_back(each);
        }
      }
      Set(rule, "verbs", std::move(verbs));
    }
    EXPECT_TRUE(taken) << role_name << " has no rule for " << resource;
    const Result<Json> updated = client().Update(kube::types::kClusterRole, changed);
    EXPECT_TRUE(updated.ok()) << updated.error().ToString();
    return *role;
  }
  void GiveBack(const Json& role) {
    Json whole = role;
    Remove(whole, "metadata.resourceVersion");
    const Result<Json> updated = client().Update(kube::types::kClusterRole, whole);
    ASSERT_TRUE(updated.ok()) << updated.error().ToString();
  }
  bool WaitForLog(const std::string& name, const std::string& text) {
    const MonoTime deadline = clock_.MonoNow() + minutes(2);
    std::string log;
    do {
      log = ReadFile(data() + "/logs/" + name + ".log").ValueOr("");
      if (log.find(text) != std::string::npos) return true;
    } while (clock_.MonoNow() < deadline && runtime_.SleepFor(milliseconds(50)).ok());
    ADD_FAILURE() << name << ".log never says " << text;
    return false;
  }

 private:
  static bool Has(const Json& rule, const std::string& list, const std::string& word) {
    for (const Json& each : ArrayAt(rule, list)) {
      if (each == Json(word) || (list == "resources" && each == Json("*"))) return true;
    }
    return false;
  }
};

TEST_F(RightsTest, NoProgramMayDoEverything) {
  StartUp(1);
  if (HasFatalFailure()) return;
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(data())) {
    const std::string path = entry.path().string();
    if (!entry.is_regular_file() || !path.ends_with("kubeconfig")) continue;
    // Raw: kubectl before 1.26 knows no such kind.
    const CommandOutput who =
        Kubectl({"--kubeconfig", path, "create", "--raw",
                 "/apis/authentication.k8s.io/v1/selfsubjectreviews", "-f", "-"},
                R"({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})");
    const auto review = ParseJson(who.out);
    ASSERT_TRUE(review.ok()) << who.out << who.err;
    names.push_back(StringAt(*review, "status.userInfo.username"));
    EXPECT_EQ(Kubectl({"--kubeconfig", path, "auth", "can-i", "*", "*", "-A"}).out, "no\n") << path;
    EXPECT_EQ(Kubectl({"--kubeconfig", path, "auth", "can-i", "create", "clusterrolebindings"}).out,
              "no\n")
        << path;
  }
  const std::string account = "system:serviceaccount:thinsnap-system:thinsnap-";
  EXPECT_THAT(names, UnorderedElementsAre(account + "operator", account + "csi-controller",
                                          account + "csi-node", "system:node:node-1"));
}

TEST_F(RightsTest, WithoutAVerbTheDriversControllerMakesNoVolumes) {
  StartUp(1);
  if (HasFatalFailure()) return;
  const Json role = TakeVerb("thinsnap-csi-controller", "persistentvolumes", "create");
  Apply(R"yaml(
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: thin}
provisioner: csi.thinsnap.io
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: thin
  resources: {requests: {storage: 64Mi}}
)yaml");
  ASSERT_TRUE(WaitForLog("up", "cannot create resource \"persistentvolumes\""));
  GiveBack(role);
  EXPECT_TRUE(
      WaitFor(kube::types::kPersistentVolumeClaim, {"default", "data"}, [](const Json* claim) {
        return claim != nullptr && StringAt(*claim, "status.phase") == "Bound";
      }));
}

TEST_F(RightsTest, WithoutAVerbTheOperatorChangesNothing) {
  StartUp(1);
  if (HasFatalFailure()) return;
  const Json role = TakeVerb("thinsnap-operator", "backupstorages", "update");
  Apply(R"yaml(
apiVersion: storage.kubestash.com/v1alpha1
kind: BackupStorage
metadata: {name: store, namespace: default}
spec:
  storage:
    provider: s3
    s3: {endpoint: "http://127.0.0.1:1", bucket: none, secretName: missing}
  usagePolicy: {allowedNamespaces: {from: All}}
  default: false
  deletionPolicy: Delete
)yaml");
  ASSERT_TRUE(WaitForLog("thinsnap-operator", "backupstorages"));
  const kube::ResourceType type{"storage.kubestash.com", "v1alpha1", "backupstorages",
                                "BackupStorage", true};
  EXPECT_EQ(StringAt(*client().Get(type, {"default", "store"}), "status.phase"), "");
  GiveBack(role);
  EXPECT_TRUE(WaitFor(type, {"default", "store"}, [](const Json* storage) {
    return storage != nullptr && !StringAt(*storage, "status.phase").empty();
  }));
}

TEST_F(RightsTest, WithoutAVerbANodesPodsAreNotReported) {
  StartUp(1);
  if (HasFatalFailure()) return;
  const Json role = TakeVerb("system:node", "pods/status", "patch");
  Apply(R"yaml(
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: busybox, command: [sleep, "3600"]}]
)yaml");
  ASSERT_TRUE(WaitForLog("node-1", "pods/status"));
  GiveBack(role);
  EXPECT_TRUE(WaitForPodPhase("p", "Running"));
}

}  // namespace
}  // namespace thinsnap::system_test
