#include "simulator/kubelet/kubelet.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/core/log.h"
#include "base/data/json.h"
#include "base/kube/object.h"

namespace thinsnap::kubelet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Duration kHeartbeatEvery = seconds(10);
constexpr int kStatusEveryHeartbeats = 30;

}  // namespace

Kubelet::Kubelet(Runtime& runtime, kube::KubeClient& client, CommandRunner& runner, Random& random,
                 containers::ContainerRuntime& containers, CsiNode& csi, KubeletOptions options)
    : runtime_(runtime),
      client_(client),
      csi_(csi),
      options_(std::move(options)),
      events_(client, runtime.clock(), random, "kubelet"),
      volumes_(runtime, client, csi,
               VolumeOptions{.folder = options_.folder,
                             .memory_folder = options_.memory_folder,
                             .driver = options_.driver,
                             .host_paths = {options_.folder + "/root", options_.lent_paths}}),
      prober_(runtime, containers, options_.memory_folder),
      context_{.runtime = runtime,
               .client = client,
               .runner = runner,
               .containers = containers,
               .volumes = volumes_,
               .prober = prober_,
               .events = events_,
               .images = options_.images,
               .cgroup_prefix = options_.cgroup_prefix,
               .environment = options_.environment},
      access_(
          runtime, containers,
          [this](const std::string& ns, const std::string& pod, const std::string& uid,
                 const std::string& container) { return Locate(ns, pod, uid, container); },
          options_.memory_folder),
      pods_(runtime, client, kube::types::kPod, "", "", "spec.nodeName=" + options_.node),
      claims_(runtime, client, kube::types::kPersistentVolumeClaim),
      facts_(ReadNodeFacts(options_.node, options_.folder)) {}

Kubelet::~Kubelet() = default;

Status Kubelet::Start(TaskGroup& group) {
  group_ = &group;
  Duration delay = milliseconds(50);
  for (;;) {
    const Status registered = Register();
    if (registered.ok()) break;
    LogWarning("kubelet", "register node " + options_.node + ": " + registered.error().ToString());
    TRY(runtime_.SleepFor(delay));
    delay = std::min<Duration>(delay * 2, seconds(5));
  }
  TRY(access_.Start(group, options_.folder + "/kubelet.sock"));
  group.Spawn("heartbeat", [this] { Heartbeat(); });
  group.Spawn("register-driver", [this] { RegisterDriver(); });

  // The folders of pods that went while the node was down, before any pod of now makes its own.
  const kube::ObjectList present =
      TRY(client_.List(kube::types::kPod, "",
                       {.label_selector = "",
                        .field_selector = "spec.nodeName=" + options_.node,
                        .resource_version = ""}));
  std::set<std::string> uids;
  for (const Json& pod : present.items) uids.insert(kube::UidOf(pod));
  volumes_.RemoveLeftovers(uids);

  pods_.AddHandler(
      [this](const kube::ObjectPtr& old, const kube::ObjectPtr& current) { OnPod(old, current); });
  claims_.AddHandler([this](const kube::ObjectPtr&, const kube::ObjectPtr& current) {
    if (current) WakeUsersOf(*current);
  });
  pods_.Start(group);
  claims_.Start(group);
  return {};
}

Status Kubelet::Register() {
  const WallTime now = runtime_.clock().Now();
  Result<Json> node = client_.Get(kube::types::kNode, {"", options_.node});
  if (node.Is(Code::kNotFound)) node = client_.Create(kube::types::kNode, BuildNode(facts_));
  if (!node.ok()) return node.error();
  node_uid_ = kube::UidOf(*node);
  // Labels of ours that a former life of the node had lost.
  const Json fresh = BuildNode(facts_);
  TRY(client_.Patch(
      kube::types::kNode, {"", options_.node}, kube::PatchType::kMerge,
      JsonObject{{"metadata", JsonObject{{"labels", ValueAt(fresh, "metadata.labels")}}}}));
  const Json status = BuildNodeStatus(facts_, Find(*node, "status"), now);
  TRY(client_.Patch(kube::types::kNode, {"", options_.node}, kube::PatchType::kMerge,
                    JsonObject{{"status", status}},
                    {.subresource = "status", .field_manager = "kubelet"}));
  return {};
}

void Kubelet::Heartbeat() {
  for (int beat = 0;; ++beat) {
    const WallTime now = runtime_.clock().Now();
    const Json lease = BuildLease(options_.node, node_uid_, now);
    const kube::ObjectKey key = kube::KeyOf(lease);
    Result<Json> written = client_.Patch(kube::types::kLease, key, kube::PatchType::kMerge,
                                         JsonObject{{"spec", ValueAt(lease, "spec")}});
    if (written.Is(Code::kNotFound)) written = client_.Create(kube::types::kLease, lease);
    if (!written.ok()) LogWarning("kubelet", "renew the lease: " + written.error().ToString());
    // The whole status now and then, and when somebody (the node lifecycle controller) has changed
    // it.
    const Result<Json> node = client_.Get(kube::types::kNode, {"", options_.node});
    if (node.ok()) {
      const bool ready = kube::ConditionIs(*node, "Ready");
      if (!ready || beat % kStatusEveryHeartbeats == kStatusEveryHeartbeats - 1) {
        const Json status = BuildNodeStatus(facts_, Find(*node, "status"), now);
        const Result<Json> patched = client_.Patch(
            kube::types::kNode, {"", options_.node}, kube::PatchType::kMerge,
            JsonObject{{"status", status}}, {.subresource = "status", .field_manager = "kubelet"});
        if (!patched.ok()) LogWarning("kubelet", "update the node: " + patched.error().ToString());
      }
    } else if (node.Is(Code::kNotFound)) {
      // Somebody deleted a node that lives: it comes back, as with any kubelet that is started
      // again.
      const Status registered = Register();
      if (!registered.ok()) LogWarning("kubelet", registered.error().ToString());
    }
    if (!runtime_.SleepFor(kHeartbeatEvery).ok()) return;
  }
}

void Kubelet::RegisterDriver() {
  Duration delay = milliseconds(50);
  for (;;) {
    const Result<CsiNodeInfo> info = csi_.GetInfo();
    if (info.ok()) {
      const Json csi_node = BuildCsiNode(options_.node, node_uid_, *info);
      Result<Json> written = client_.Create(kube::types::kCsiNode, csi_node);
      if (written.Is(Code::kAlreadyExists)) {
        written = client_.Patch(kube::types::kCsiNode, {"", options_.node}, kube::PatchType::kMerge,
                                JsonObject{{"spec", ValueAt(csi_node, "spec")}});
      }
      JsonObject labels;
      for (const auto& [key, value] : info->topology) labels[key] = value;
      if (written.ok()) {
        written =
            client_.Patch(kube::types::kNode, {"", options_.node}, kube::PatchType::kMerge,
                          JsonObject{{"metadata", JsonObject{{"labels", std::move(labels)}}}});
      }
      if (written.ok()) {
        LogInfo("kubelet", "driver " + info->driver + " is registered");
        return;
      }
      LogWarning("kubelet", "register the driver: " + written.error().ToString());
    }
    if (!runtime_.SleepFor(delay).ok()) return;
    delay = std::min<Duration>(delay * 2, seconds(1));
  }
}

void Kubelet::OnPod(const kube::ObjectPtr& old, const kube::ObjectPtr& current) {
  std::shared_ptr<PodWorker> former, present;
  bool fresh = false;
  {
    std::lock_guard lock(mutex_);
    const std::string old_uid = old ? kube::UidOf(*old) : "";
    const std::string uid = current ? kube::UidOf(*current) : "";
    if (!old_uid.empty() && old_uid != uid) {
      if (const auto it = workers_.find(old_uid); it != workers_.end()) former = it->second;
    }
    if (current) {
      const auto it = workers_.find(uid);
      if (it != workers_.end()) {
        present = it->second;
      } else {
        fresh = true;
      }
      uid_of_[kube::KeyOf(*current)] = uid;
    }
  }
  if (former) former->Update(nullptr);
  if (present) present->Update(current);
  if (fresh) StartWorker(current);
}

void Kubelet::StartWorker(const kube::ObjectPtr& pod) {
  const std::string uid = kube::UidOf(*pod);
  auto worker = std::make_shared<PodWorker>(context_, pod);
  {
    std::lock_guard lock(mutex_);
    workers_[uid] = worker;
  }
  group_->Spawn("pod", [this, worker, uid, key = kube::KeyOf(*pod)] {
    worker->Run(*group_);
    if (!worker->finished()) return;
    std::lock_guard lock(mutex_);
    workers_.erase(uid);
    if (const auto it = uid_of_.find(key); it != uid_of_.end() && it->second == uid)
      uid_of_.erase(it);
  });
}

void Kubelet::WakeUsersOf(const Json& claim) {
  // Few pods run on a node: each looks for itself whether the claim is one of its own.
  if (!kube::ConditionIs(claim, "FileSystemResizePending") &&
      StringAt(claim, "status.phase") != "Bound")
    return;
  std::lock_guard lock(mutex_);
  for (const auto& [uid, worker] : workers_) worker->ClaimChanged(kube::KeyOf(claim));
}

Result<ContainerPlace> Kubelet::Locate(const std::string& ns, const std::string& pod,
                                       const std::string& uid, const std::string& container) {
  std::shared_ptr<PodWorker> worker;
  {
    std::lock_guard lock(mutex_);
    std::string wanted = uid;
    if (wanted.empty()) {
      if (const auto it = uid_of_.find({ns, pod}); it != uid_of_.end()) wanted = it->second;
    }
    if (const auto it = workers_.find(wanted); it != workers_.end()) worker = it->second;
  }
  if (!worker) return Error(Code::kNotFound, "pod \"" + pod + "\" is not on node " + options_.node);
  const std::optional<ContainerPlace> place = worker->Locate(container);
  if (!place)
    return Error(Code::kNotFound, "container " + container + " is not valid for pod " + pod);
  return *place;
}

}  // namespace thinsnap::kubelet
