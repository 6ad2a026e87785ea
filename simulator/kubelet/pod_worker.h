// PodWorker: one pod on this node, from its first sight to its last. One task at a time works on
// it: it looks at the pod and its containers, asks PlanPod what to do, does that, reports the
// status, and sleeps until something changes.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/core/command.h"
#include "base/core/guarded.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "base/kube/event_recorder.h"
#include "base/kube/informer.h"
#include "simulator/containers/container_config.h"
#include "simulator/containers/container_runtime.h"
#include "simulator/containers/environment.h"
#include "simulator/containers/image.h"
#include "simulator/containers/log_file.h"
#include "simulator/kubelet/pod_plan.h"
#include "simulator/kubelet/pod_status.h"
#include "simulator/kubelet/prober.h"
#include "simulator/kubelet/volume_store.h"

namespace thinsnap::kubelet {

// What all pods of a node share. Everything outlives the workers.
struct NodeContext {
  Runtime& runtime;
  kube::KubeClient& client;
  CommandRunner& runner;
  containers::ContainerRuntime& containers;
  VolumeStore& volumes;
  Prober& prober;
  kube::EventRecorder& events;
  containers::ImageOptions images;
  std::string cgroup_prefix;          // "/thinsnap/node-1"
  containers::Variables environment;  // of every container: where the API server is
};

// Where a container's output and processes are found.
struct ContainerPlace {
  std::string id;
  bool running = false, ever_started = false;
  std::string log_path, previous_log_path;
  std::shared_ptr<containers::ContainerIo> io;  // null when it does not run
};

class PodWorker {
 public:
  PodWorker(NodeContext& node, kube::ObjectPtr pod);
  ~PodWorker();

  // The body of its task; returns when the pod is gone and cleaned up, or the group is stopped.
  void Run(TaskGroup& group);
  // Thread-safe from here on.
  void Update(kube::ObjectPtr pod);  // null: the object is gone
  // A claim was bound or has grown: pods that use it look at once.
  void ClaimChanged(const kube::ObjectKey& claim);
  bool finished() const { return finished_; }
  std::optional<ContainerPlace> Locate(const std::string& container) const;

 private:
  struct Slot;  // a container

  void AddSlots();  // for what the pod's spec names and has none
  void TakeOver();  // at first sight: what the API server remembers of an earlier life of this node
  void CollectExits();
  // The time to look again, if nothing happens before.
  MonoTime Step();
  PodView BuildView() const;
  PodReport BuildReport() const;
  void MountVolumes();
  void TryStart(Slot& slot);
  Status StartContainer(Slot& slot, const Json& container);
  Result<std::vector<containers::ContainerMount>> MountsOf(const Json& container,
                                                           const containers::Variables& environment,
                                                           const std::string& bundle) const;
  Result<std::vector<containers::ContainerDevice>> DevicesOf(const Json& container) const;
  Result<containers::Variables> EnvironmentOf(const Json& container,
                                              const containers::RootPlan& image) const;
  std::string PidNamespaceOf(const Json& container);
  void StartProbes(Slot& slot, const Json& container);
  void RunPostStart(Slot& slot, const Json& container);
  void RequestStop(Slot& slot, const std::string& why);
  void KillLate(MonoTime now, MonoTime* look_again);
  void EndAttempt(Slot& slot, const containers::ContainerExit& exit);
  void TearDown();
  Status Report();
  Status DeleteObject();
  Duration Grace() const;
  void Emit(const char* type, const char* reason, const std::string& message);
  Slot* FindSlot(const std::string& name);
  Slot& SlotOf(const std::string& name);  // of one that a plan names
  std::string BundleOf(const Slot& slot) const;
  std::string LogPath(const Slot& slot, int attempt) const;

  NodeContext& node_;
  const std::string uid_;
  const kube::ObjectKey key_;
  std::unique_ptr<EventCount> changed_;
  std::atomic<bool> finished_{false};
  TaskGroup* group_ = nullptr;

  mutable std::mutex mutex_;  // guards what other tasks touch: latest_, latest_gone_, exits_,
                              // verdicts_, claim_changed_ and the slots' places
  kube::ObjectPtr latest_ GUARDED_BY(mutex_);
  bool latest_gone_ GUARDED_BY(mutex_) = false;
  struct Exit {
    std::string container_id;
    containers::ContainerExit exit;
  };
  std::vector<Exit> exits_;
  struct Verdict {
    std::string container_id;
    ProbeKind kind;
    bool good;
    std::string message;
  };
  std::vector<Verdict> verdicts_;
  bool claim_changed_ = false;

  kube::ObjectPtr pod_;  // the newest known: from the watch or our own last write
  bool gone_ = false;    // what latest_gone_ was when last looked at
  std::vector<std::unique_ptr<Slot>> slots_;
  bool volumes_ready_ = false, torn_down_ = false, reported_over_ = false;
  std::string failed_reason_, failed_message_;
  MonoTime next_mount_, next_teardown_, next_refresh_, next_report_;
  Duration mount_delay_{0};
  std::string last_mount_error_;
};

}  // namespace thinsnap::kubelet
