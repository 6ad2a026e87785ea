// What becomes of pods.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/data/json.h"
#include "base/kube/object.h"
#include "tests/unit/kubelet/kubelet_fixture.h"

namespace thinsnap::kubelet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(KubeletTest, RegistersTheNodeAndItsDriver) {
  EXPECT_TRUE(client_.WaitFor(kube::types::kNode, {"", "n1"}, [](const Json* node) {
    return node != nullptr && kube::ConditionIs(*node, "Ready");
  }));
  EXPECT_TRUE(client_.WaitFor(kube::types::kCsiNode, {"", "n1"}, [](const Json* node) {
    return node != nullptr && StringAt(ArrayAt(*node, "spec.drivers")[0], "nodeID") == "n1";
  }));
}

TEST_F(KubeletTest, APodEndsWithItsExitCode) {
  CreatePod("bad", R"({"restartPolicy": "Never", "containers": [
    {"name": "c", "image": "busybox", "command": ["sh", "-c", "echo no; exit 3"]}]})");
  CreatePod("good", R"({"restartPolicy": "Never", "containers": [
    {"name": "c", "image": "busybox", "command": ["sh", "-c", "echo reason > /dev/termination-log"]}]})");
  ASSERT_TRUE(WaitForPhase("bad", "Failed"));
  EXPECT_EQ(ExitCode(*client_.Get(kube::types::kPod, {"default", "bad"})), 3);
  ASSERT_TRUE(WaitForPhase("good", "Succeeded"));
  const Json good = *client_.Get(kube::types::kPod, {"default", "good"});
  EXPECT_EQ(StringAt(ArrayAt(good, "status.containerStatuses")[0], "state.terminated.message"),
            "reason\n");
}

TEST_F(KubeletTest, InitContainersComeFirstAndShareVolumes) {
  CreatePod("p", R"({"restartPolicy": "Never", "volumes": [{"name": "v", "emptyDir": {}}],
    "initContainers": [{"name": "i", "image": "busybox", "command": ["sh", "-c", "echo hello > /v/x"],
                        "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
    "containers": [{"name": "c", "image": "busybox", "command": ["grep", "hello", "/w/x"],
                    "volumeMounts": [{"name": "v", "mountPath": "/w"}]}]})");
  ASSERT_TRUE(WaitForPhase("p", "Succeeded"));
  const Json pod = *client_.Get(kube::types::kPod, {"default", "p"});
  EXPECT_EQ(ExitCode(pod, "status.initContainerStatuses"), 0);
  EXPECT_TRUE(kube::ConditionIs(pod, "Initialized"));
}

TEST_F(KubeletTest, AContainerThatEndsIsStartedAgain) {
  CreatePod("p", R"({"restartPolicy": "OnFailure", "volumes": [{"name": "v", "emptyDir": {}}],
    "containers": [{"name": "c", "image": "busybox", "volumeMounts": [{"name": "v", "mountPath": "/v"}],
      "command": ["sh", "-c", "[ -e /v/once ] || { touch /v/once; exit 1; }"]}]})");
  ASSERT_TRUE(WaitForPhase("p", "Succeeded"));
  const Json pod = *client_.Get(kube::types::kPod, {"default", "p"});
  EXPECT_EQ(IntAt(ArrayAt(pod, "status.containerStatuses")[0], "restartCount"), 1);
}

TEST_F(KubeletTest, AProgramThatIsNotThereIsSaidSo) {
  CreatePod("p", R"({"restartPolicy": "Never", "containers": [
    {"name": "c", "image": "busybox", "command": ["/no/such/program"]}]})");
  ASSERT_TRUE(WaitForPhase("p", "Failed"));
  const Json pod = *client_.Get(kube::types::kPod, {"default", "p"});
  const Json& status = ArrayAt(pod, "status.containerStatuses")[0];
  EXPECT_EQ(StringAt(status, "state.terminated.reason"), "StartError");
  EXPECT_THAT(StringAt(status, "state.terminated.message"), HasSubstr("/no/such/program"));
}

TEST_F(KubeletTest, AMissingConfigMapHoldsThePodBack) {
  CreatePod("p", R"({"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox",
    "command": ["sh", "-c", "[ \"$COLOR\" = red ]"],
    "env": [{"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}}]}]})");
  ASSERT_TRUE(WaitForPod("p", [](const Json& pod) {
    const JsonArray& statuses = ArrayAt(pod, "status.containerStatuses");
    return !statuses.empty() &&
           StringAt(statuses[0], "state.waiting.reason") == "CreateContainerConfigError";
  }));
  Json settings =
      JsonObject{{"metadata", JsonObject{{"name", "settings"}, {"namespace", "default"}}},
                 {"data", JsonObject{{"color", "red"}}}};
  ASSERT_TRUE(client_.Create(kube::types::kConfigMap, settings).ok());
  EXPECT_TRUE(WaitForPhase("p", "Succeeded"));
}

TEST_F(KubeletTest, ProbesDecideReadinessAndRestart) {
  CreatePod("p",
            R"({"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "busybox",
    "command": ["sh", "-c", "sleep 1; touch /ready; exec sleep 600"],
    "readinessProbe": {"exec": {"command": ["test", "-e", "/ready"]}, "periodSeconds": 1, "timeoutSeconds": 60},
    "livenessProbe": {"exec": {"command": ["test", "!", "-e", "/dead"]}, "periodSeconds": 1, "failureThreshold": 1,
                      "timeoutSeconds": 60}}]})");
  ASSERT_TRUE(WaitForPod("p", [](const Json& pod) {
    return StringAt(pod, "status.phase") == "Running" && !kube::ConditionIs(pod, "Ready");
  }));
  ASSERT_TRUE(WaitForPod("p", [](const Json& pod) { return kube::ConditionIs(pod, "Ready"); }));
  EXPECT_EQ(Exec("p", {"touch", "/dead"}).second, 0);
  EXPECT_TRUE(WaitForPod("p", [](const Json& pod) {
    return IntAt(ArrayAt(pod, "status.containerStatuses")[0], "restartCount") == 1;
  }));
}

TEST_F(KubeletTest, ExecRunsProgramsInTheContainer) {
  CreatePod("p",
            R"({"containers": [{"name": "c", "image": "busybox", "command": ["sleep", "600"]}]})");
  ASSERT_TRUE(WaitForPhase("p", "Running"));
  EXPECT_EQ(Exec("p", {"hostname"}), std::make_pair(std::string("p\n"), 0));
  EXPECT_EQ(Exec("p", {"sh", "-c", "exit 7"}).second, 7);
  EXPECT_EQ(Exec("p", {"cat"}, "some input"), std::make_pair(std::string("some input"), 0));
  const std::string big(3'000'000, 'z');
  EXPECT_EQ(Exec("p", {"wc", "-c"}, big), std::make_pair(std::string("3000000\n"), 0));
  // How many carriage returns depends on when runc sets the terminal up.
  const auto [terminal, exit_code] = Exec("p", {"tty"}, "", true);
  EXPECT_EQ(terminal.substr(0, terminal.find('\r')), "/dev/pts/0");
  EXPECT_EQ(exit_code, 0);
  EXPECT_EQ(Exec("p", {"ls", "/root/.ssh"}).second, 1);
  EXPECT_NE(Exec("p", {"no-such-program"}).second, 0);
}

TEST_F(KubeletTest, AnEphemeralContainerLooksAtAnotherOnesProcesses) {
  CreatePod("p", R"({"terminationGracePeriodSeconds": 0, "containers": [
    {"name": "c", "image": "busybox", "command": ["sleep", "600"]}]})");
  ASSERT_TRUE(WaitForPhase("p", "Running"));
  const Json patch = *ParseJson(R"({"spec": {"ephemeralContainers": [
    {"name": "debug", "image": "busybox", "targetContainerName": "c",
     "command": ["sh", "-c", "grep -q sleep /proc/1/cmdline && exit 9"]},
    {"name": "alone", "image": "busybox", "command": ["grep", "-q", "alone", "/proc/1/cmdline"]}]}})");
  ASSERT_TRUE(client_
                  .Patch(kube::types::kPod, {"default", "p"}, kube::PatchType::kMerge, patch,
                         {.subresource = "", .field_manager = "test"})
                  .ok());
  EXPECT_TRUE(WaitForPod("p", [](const Json& pod) {
    const JsonArray& statuses = ArrayAt(pod, "status.ephemeralContainerStatuses");
    return statuses.size() == 2 && IntAt(statuses[0], "state.terminated.exitCode") == 9 &&
           IntAt(statuses[1], "state.terminated.exitCode", -1) == 0 &&
           StringAt(pod, "status.phase") == "Running";
  }));
}

TEST_F(KubeletTest, AClaimIsStagedOnceAndGivenBack) {
  const Json pv =
      *ParseJson(R"({"metadata": {"name": "pv1"}, "spec": {"accessModes": ["ReadWriteOnce"],
    "capacity": {"storage": "1Gi"}, "claimRef": {"uid": "claim-uid"},
    "csi": {"driver": "csi.thinsnap.io", "volumeHandle": "ts1.a.b", "fsType": "ext4"}}})");
  const Json pvc =
      *ParseJson(R"({"metadata": {"name": "data", "namespace": "default", "uid": "claim-uid"},
    "spec": {"volumeName": "pv1"}, "status": {"phase": "Bound"}})");
  ASSERT_TRUE(client_.Create(kube::types::kPersistentVolume, pv).ok());
  ASSERT_TRUE(client_.Create(kube::types::kPersistentVolumeClaim, pvc).ok());
  const char* spec = R"({"terminationGracePeriodSeconds": 1,
    "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
    "containers": [{"name": "c", "image": "busybox", "command": ["sh", "-c", "trap exit TERM; sleep 600 & wait"],
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]})";
  CreatePod("one", spec);
  ASSERT_TRUE(WaitForPhase("one", "Running"));
  CreatePod("two", spec);
  ASSERT_TRUE(WaitForPhase("two", "Running"));
  EXPECT_THAT(csi_.calls(), ElementsAre("stage ts1.a.b", "publish ts1.a.b", "publish ts1.a.b"));
  for (const char* name : {"one", "two"}) {
    ASSERT_TRUE(client_.Delete(kube::types::kPod, {"default", name}).ok());
    ASSERT_TRUE(WaitForEnd(name));
  }
  EXPECT_THAT(csi_.calls(),
              ElementsAre("stage ts1.a.b", "publish ts1.a.b", "publish ts1.a.b",
                          "unpublish ts1.a.b", "unpublish ts1.a.b", "unstage ts1.a.b"));
}

TEST_F(KubeletTest, SecretsAndTokensAreFiles) {
  ASSERT_TRUE(client_
                  .Create(kube::types::kSecret,
                          *ParseJson(R"({"metadata": {"name": "s", "namespace": "default"},
    "data": {"key": "dmFsdWU="}})"))
                  .ok());
  CreatePod("p", R"({"restartPolicy": "Never", "serviceAccountName": "robot", "volumes": [
      {"name": "s", "secret": {"secretName": "s"}},
      {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
    "containers": [{"name": "c", "image": "busybox",
      "command": ["sh", "-c", "[ $(cat /s/key) = value ] && [ $(cat /t/token) = token-of-robot ] && ! touch /s/x"],
      "volumeMounts": [{"name": "s", "mountPath": "/s"}, {"name": "t", "mountPath": "/t"}]}]})");
  EXPECT_TRUE(WaitForPhase("p", "Succeeded"));
}

TEST_F(KubeletTest, ADeletedPodLeavesNothing) {
  CreatePod("p", R"({"terminationGracePeriodSeconds": 1, "containers": [
    {"name": "c", "image": "nginx", "command": ["sh", "-c", "sleep 600; true"]}]})");
  ASSERT_TRUE(WaitForPhase("p", "Running"));
  const std::string uid = kube::UidOf(*client_.Get(kube::types::kPod, {"default", "p"}));
  ASSERT_TRUE(client_.Delete(kube::types::kPod, {"default", "p"}).ok());
  ASSERT_TRUE(WaitForEnd("p"));
  EXPECT_NE(access((folder_ + "/pods/" + uid).c_str(), F_OK), 0);
}

}  // namespace
}  // namespace thinsnap::kubelet
