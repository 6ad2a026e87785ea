// AccessServer: the kubelet's end of logs, exec and attach, on a unix socket in the node's folder.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/core/runtime.h"
#include "base/data/json_fwd.h"
#include "simulator/containers/container_runtime.h"
#include "simulator/kubelet/frames.h"
#include "simulator/kubelet/pod_worker.h"

namespace thinsnap::kubelet {

class AccessServer {
 public:
  // kNotFound with a sentence for an unknown pod or container.
  using Locator =
      std::function<Result<ContainerPlace>(const std::string& ns, const std::string& pod,
                                           const std::string& uid, const std::string& container)>;

  AccessServer(Runtime& runtime, containers::ContainerRuntime& containers, Locator locate,
               std::string scratch_folder);
  // Spawns the tasks that accept and answer.
  Status Start(TaskGroup& group, const std::string& socket_path);

 private:
  void Serve(TaskGroup& group, int fd);
  void ServeLogs(TaskGroup& group, int fd, const std::string& payload);
  void ServeExec(TaskGroup& group, int fd, const std::string& payload);
  void ServeAttach(TaskGroup& group, int fd, const std::string& payload);
  Result<ContainerPlace> LocateRunning(const Json& request) const;

  Runtime& runtime_;
  containers::ContainerRuntime& containers_;
  const Locator locate_;
  const std::string scratch_folder_;
  UniqueFd listener_;
};

}  // namespace thinsnap::kubelet
