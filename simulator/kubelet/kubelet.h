// Kubelet: the agent of one node. It keeps Node, Lease and CSINode, and has a PodWorker for each
// pod bound to the node.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "base/core/command.h"
#include "base/core/guarded.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "base/kube/event_recorder.h"
#include "base/kube/informer.h"
#include "simulator/kubelet/access_server.h"
#include "simulator/kubelet/node_objects.h"
#include "simulator/kubelet/pod_worker.h"

namespace thinsnap::kubelet {

struct KubeletOptions {
  std::string node;
  std::string folder;         // the node's, absolute
  std::string memory_folder;  // on a tmpfs of the node
  std::string cgroup_prefix;  // "/thinsnap-x/node-1"
  containers::ImageOptions images;
  containers::Variables environment;  // of every container
  std::string driver = "csi.thinsnap.io";
  std::vector<std::string> lent_paths;  // as in HostPaths
};

class Kubelet {
 public:
  Kubelet(Runtime& runtime, kube::KubeClient& client, CommandRunner& runner, Random& random,
          containers::ContainerRuntime& containers, CsiNode& csi, KubeletOptions options);
  ~Kubelet();

  // Registers the node, then spawns everything in the group. Retries while the API server does not
  // answer.
  Status Start(TaskGroup& group);

 private:
  Status Register();
  void Heartbeat();
  void RegisterDriver();
  void OnPod(const kube::ObjectPtr& old, const kube::ObjectPtr& current);
  void StartWorker(const kube::ObjectPtr& pod);
  void WakeUsersOf(const Json& claim);
  Result<ContainerPlace> Locate(const std::string& ns, const std::string& pod,
                                const std::string& uid, const std::string& container);

  Runtime& runtime_;
  kube::KubeClient& client_;
  CsiNode& csi_;
  const KubeletOptions options_;
  kube::EventRecorder events_;
  VolumeStore volumes_;
  Prober prober_;
  NodeContext context_;
  AccessServer access_;
  kube::Informer pods_;
  kube::Informer claims_;
  NodeFacts facts_;
  std::string node_uid_;
  TaskGroup* group_ = nullptr;

  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<PodWorker>> workers_ GUARDED_BY(mutex_);  // by uid
  std::map<kube::ObjectKey, std::string> uid_of_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::kubelet
