// KubeletTest: the kubelet with real containers: runc on this machine, an API server in memory, a
// driver that only notes its calls.
#pragma once

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
#include "simulator/kubelet/kubelet.h"
#include "simulator/world/node_mounts.h"
#include "tests/unit/kubelet/memory_kube.h"

namespace thinsnap::kubelet {

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
  Result<CsiNodeAbilities> Abilities() override {
    return CsiNodeAbilities{.stages = true, .expands = true, .mounts_for_group = false};
  }
  Status Stage(const CsiVolume& volume, const CsiSecrets&, const std::string&) override {
    return Note("stage " + volume.id);
  }
  Status Unstage(const std::string& id, const std::string&) override {
    return Note("unstage " + id);
  }
  Status Publish(const CsiVolume& volume, const CsiSecrets&, const std::string&,
                 const std::string& target, bool) override {
    TRY(MakeFolders(target));
    return Note("publish " + volume.id);
  }
  Status Unpublish(const std::string& id, const std::string& target) override {
    containers::RemoveTree(target);
    return Note("unpublish " + id);
  }
  Status Expand(const CsiVolume& volume, const CsiSecrets&, const std::string&,
                const std::string&) override {
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
    const Status made = world::MakeOwnRoot();
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

inline int ExitCode(const Json& pod, const char* list = "status.containerStatuses") {
  const JsonArray& statuses = ArrayAt(pod, list);
  return statuses.empty() ? -1
                          : static_cast<int>(IntAt(statuses[0], "state.terminated.exitCode", -1));
}

}  // namespace thinsnap::kubelet
