// The kubelet with real containers: runc on this machine, an API server in memory, a driver that
// only notes its calls.
#include "simulator/kubelet/kubelet.h"

#include <cstdlib>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/data/json.h"
#include "base/kube/object.h"
#include "simulator/containers/cgroups.h"
#include "simulator/containers/remove_tree.h"
#include "simulator/containers/runc_runtime.h"
#include "simulator/kubelet/access_client.h"
#include "simulator/world/node_mounts.h"
#include "tests/unit/kubelet/memory_kube.h"

namespace thinsnap::kubelet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Folders instead of mounts; every call is noted.
class NotedCsiNode final : public CsiNode {
 public:
  Result<CsiNodeInfo> GetInfo() override {
    CsiNodeInfo info;
    info.driver = "csi.thinsnap.io";
    info.node_id = "n1";
    info.topology = {{"topology.thinsnap.io/node", "n1"}};
    return info;
  }
  Status Stage(const CsiVolume& volume, const std::string&) override {
    return Note("stage " + volume.id);
  }
  Status Unstage(const std::string& id, const std::string&) override {
    return Note("unstage " + id);
  }
  Status Publish(const CsiVolume& volume, const std::string&, const std::string& target,
                 bool) override {
    TRY(MakeFolders(target));
    return Note("publish " + volume.id);
  }
  Status Unpublish(const std::string& id, const std::string& target) override {
    containers::RemoveTree(target);
    return Note("unpublish " + id);
  }
  Status Expand(const CsiVolume& volume, const std::string&, const std::string&,
                std::int64_t) override {
    return Note("expand " + volume.id);
  }
  std::vector<std::string> calls() {
    std::lock_guard lock(mutex_);
    return calls_;
  }

 private:
  Status Note(const std::string& call) {
    std::lock_guard lock(mutex_);
    calls_.push_back(call);
    return {};
  }
  std::mutex mutex_;
  std::vector<std::string> calls_;
};

class KubeletTest : public testing::Test {
 protected:
  // As on a node: a mount namespace of its own, whose root is a mount point.
  static void SetUpTestSuite() {
    if (geteuid() != 0) return;
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    const Status made = world::MakeRootMountPoint();
    ASSERT_TRUE(made.ok()) << made.error().ToString();
  }

  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root for runc";
    if (access("/usr/sbin/runc", X_OK) != 0 && access("/usr/bin/runc", X_OK) != 0)
      GTEST_SKIP() << "needs runc";
    char name[] = "/tmp/kubelet-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    containers_ =
        std::make_unique<containers::RuncRuntime>(runtime_, runner_, folder_ + "/run/runc");
    group_ = std::make_unique<TaskGroup>(runtime_);
    ASSERT_TRUE(containers_->StartWatching(*group_).ok());
    KubeletOptions options;
    options.node = "n1";
    options.folder = folder_;
    options.memory_folder = folder_ + "/run";
    cgroup_ = "thinsnap-unit-" + random_.NameSuffix(6);
    options.cgroup_prefix = "/" + cgroup_;
    options.images.cache_folder = folder_ + "/images";
    options.environment = {{"KUBERNETES_SERVICE_HOST", "127.0.0.1"}};
    kubelet_ =
        std::make_unique<Kubelet>(runtime_, client_, runner_, random_, *containers_, csi_, options);
    ASSERT_TRUE(kubelet_->Start(*group_).ok());
    access_ = MakeAccessClient(runtime_, *group_,
                               [this](const std::string&) { return folder_ + "/kubelet.sock"; });
  }

  void TearDown() override {
    if (!group_) return;
    const kube::ObjectList pods = *client_.List(kube::types::kPod, "");
    for (const Json& pod : pods.items) {
      client_
          .Delete(kube::types::kPod, kube::KeyOf(pod),
                  {.grace_period_seconds = 0,
                   .propagation_policy = "",
                   .uid = "",
                   .resource_version = ""})
          .value();
    }
    // Containers outlive a kubelet that is not process 1 of its namespace.
    const MonoTime deadline = clock_.MonoNow() + std::chrono::minutes(1);
    while (!containers::RemoveCgroups(cgroup_)) {
      ASSERT_LT(clock_.MonoNow(), deadline) << "containers do not end: " << cgroup_;
      ASSERT_TRUE(runtime_.SleepFor(std::chrono::milliseconds(10)).ok());
    }
    group_->Stop();
    group_->Join();
    kubelet_.reset();
    containers::RemoveTree(folder_);
  }

  void CreatePod(const std::string& name, const std::string& spec) {
    Json pod = JsonObject{{"metadata", JsonObject{{"name", name}, {"namespace", "default"}}}};
    const Result<Json> parsed = ParseJson(spec);
    ASSERT_TRUE(parsed.ok()) << parsed.error().ToString();
    Set(pod, "spec", *parsed);
    Set(pod, "spec.nodeName", "n1");
    ASSERT_TRUE(client_.Create(kube::types::kPod, pod).ok());
  }

  bool WaitForPod(const std::string& name, const std::function<bool(const Json&)>& check) {
    const bool done = client_.WaitFor(kube::types::kPod, {"default", name}, [&](const Json* pod) {
      return pod != nullptr && check(*pod);
    });
    if (!done) {
      const Result<Json> pod = client_.Get(kube::types::kPod, {"default", name});
      ADD_FAILURE() << name << " is not as expected: " << (pod.ok() ? ToPrettyJson(*pod) : "gone");
    }
    return done;
  }
  bool WaitForPhase(const std::string& name, const std::string& phase) {
    return WaitForPod(name,
                      [&](const Json& pod) { return StringAt(pod, "status.phase") == phase; });
  }
  bool WaitForEnd(const std::string& name) {
    return client_.WaitFor(kube::types::kPod, {"default", name},
                           [](const Json* pod) { return pod == nullptr; });
  }

  // What `kubectl exec` would show, and the exit code.
  std::pair<std::string, int> Exec(const std::string& pod, std::vector<std::string> command,
                                   const std::string& input = "", bool tty = false) {
    auto done = runtime_.NewEventCount();
    std::mutex mutex;
    std::string text;
    std::optional<int> code;
    const auto take = [&](std::string piece) {
      std::lock_guard lock(mutex);
      text += piece;
    };
    streams::ExecCallbacks callbacks{take, take, [&](int exit_code, std::string error) {
                                       {
                                         std::lock_guard lock(mutex);
                                         code = exit_code;
                                         text += error;
                                       }
                                       done->Notify();
                                     }};
    Result<std::unique_ptr<streams::ExecSession>> session = access_->Exec(
        {{"n1", "default", pod, "", "c"}, std::move(command), !input.empty() || tty, tty},
        std::move(callbacks));
    if (!session.ok()) return {session.error().message(), -1};
    if (!input.empty()) (*session)->WriteStdin(input);
    (*session)->CloseStdin();
    for (;;) {
      const std::uint64_t seen = done->Seen();
      {
        std::lock_guard lock(mutex);
        if (code) return {text, *code};
      }
      if (!done->Wait(seen, clock_.MonoNow() + std::chrono::minutes(1)).ok())
        return {"timeout", -2};
    }
  }

  SystemClock clock_;
  SystemRandom random_;
  ThreadRuntime runtime_{clock_};
  PosixCommandRunner runner_;
  MemoryKube client_{runtime_};
  NotedCsiNode csi_;
  std::string folder_, cgroup_;
  std::unique_ptr<containers::RuncRuntime> containers_;
  std::unique_ptr<Kubelet> kubelet_;
  std::unique_ptr<streams::ContainerAccess> access_;
  std::unique_ptr<TaskGroup> group_;
};

int ExitCode(const Json& pod, const char* list = "status.containerStatuses") {
  const JsonArray& statuses = ArrayAt(pod, list);
  return statuses.empty() ? -1
                          : static_cast<int>(IntAt(statuses[0], "state.terminated.exitCode", -1));
}

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

// A client that joins a running program, as `kubectl attach` does.
class Attached {
 public:
  Attached(Runtime& runtime, streams::ContainerAccess& access, const std::string& pod, bool tty)
      : changed_(runtime.NewEventCount()) {
    const auto take = [this](const std::string& piece) {
      std::lock_guard lock(mutex_);
      text_ += piece;
      changed_->Notify();
    };
    streams::ExecCallbacks callbacks{take, take, [this](int, const std::string& error) {
                                       std::lock_guard lock(mutex_);
                                       ended_ = true;
                                       text_ += error;
                                       changed_->Notify();
                                     }};
    auto session =
        access.Exec({{"n1", "default", pod, "", "c"}, {}, true, tty}, std::move(callbacks));
    EXPECT_TRUE(session.ok()) << session.error().ToString();
    if (session.ok()) session_ = std::move(*session);
  }

  void Type(const std::string& text) { session_->WriteStdin(text); }
  void CloseStdin() { session_->CloseStdin(); }
  void Resize(int columns, int rows) { session_->Resize(columns, rows); }
  // All that came, once it has this in it.
  std::string Until(const std::string& wanted) {
    return Wait([&] { return text_.find(wanted) != std::string::npos; });
  }
  std::string UntilEnd() {
    return Wait([&] { return ended_; });
  }

 private:
  std::string Wait(const std::function<bool()>& done) {
    for (;;) {
      const std::uint64_t seen = changed_->Seen();
      {
        std::lock_guard lock(mutex_);
        if (done()) return text_;
      }
      if (!changed_->Wait(seen, SystemClock().MonoNow() + std::chrono::minutes(1)).ok()) {
        std::lock_guard lock(mutex_);
        return "timeout after: " + text_;
      }
    }
  }

  std::unique_ptr<EventCount> changed_;
  std::mutex mutex_;
  std::string text_;
  bool ended_ = false;
  std::unique_ptr<streams::ExecSession> session_;
};

TEST_F(KubeletTest, TheInputOfAContainerEndsWithItsOnlyClient) {
  CreatePod("p", R"({"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox",
    "stdin": true, "stdinOnce": true, "command": ["sh", "-c", "cat; echo end"]}]})");
  ASSERT_TRUE(WaitForPhase("p", "Running"));
  {
    Attached client(runtime_, *access_, "p", false);
    client.Type("some");
    EXPECT_EQ(client.Until("some"), "some");
    client.Type(" input\n");
    client.CloseStdin();
    EXPECT_EQ(client.UntilEnd(), "some input\nend\n");
  }
  EXPECT_TRUE(WaitForPhase("p", "Succeeded"));
}

TEST_F(KubeletTest, AnInputThatIsNotForOnceStaysOpen) {
  CreatePod("p", R"({"terminationGracePeriodSeconds": 0, "containers": [{"name": "c",
    "image": "busybox", "stdin": true, "command": ["cat"]}]})");
  ASSERT_TRUE(WaitForPhase("p", "Running"));
  Attached listener(runtime_, *access_, "p", false);
  for (const std::string word : {"one ", "two "}) {
    Attached client(runtime_, *access_, "p", false);
    client.Type(word);
    EXPECT_EQ(client.Until(word), word);
    client.CloseStdin();
    client.UntilEnd();
  }
  EXPECT_EQ(listener.Until("two "), "one two ");
}

TEST_F(KubeletTest, AttachedBytesAreAllThereBothWays) {
  CreatePod("p", R"({"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox",
    "stdin": true, "stdinOnce": true, "command": ["cat"]}]})");
  ASSERT_TRUE(WaitForPhase("p", "Running"));
  std::string big;
  for (int i = 0; big.size() < 6'000'000; ++i) big += std::to_string(i) + "\n";
  Attached client(runtime_, *access_, "p", false);
  client.Type(big);
  client.CloseStdin();
  EXPECT_TRUE(client.UntilEnd() == big);
}

TEST_F(KubeletTest, ATerminalOutlivesItsClients) {
  CreatePod("p", R"({"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox",
    "stdin": true, "stdinOnce": true, "tty": true, "command": ["sh"]}]})");
  ASSERT_TRUE(WaitForPhase("p", "Running"));
  {
    Attached client(runtime_, *access_, "p", true);
    // The prompt came before the client, and is there all the same.
    EXPECT_THAT(client.Until("# "), HasSubstr("# "));
    client.Resize(97, 31);
    client.Type("stty size; tty; echo $TERM; x=kept\n");
    EXPECT_THAT(client.Until("xterm"), HasSubstr("31 97\r\n/dev/pts/0\r\nxterm"));
  }
  Attached client(runtime_, *access_, "p", true);
  client.Type("echo again $x; exit 4\n");
  EXPECT_THAT(client.UntilEnd(), HasSubstr("again kept"));
  ASSERT_TRUE(WaitForPhase("p", "Failed"));
  EXPECT_EQ(ExitCode(*client_.Get(kube::types::kPod, {"default", "p"})), 4);
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
