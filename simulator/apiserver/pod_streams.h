// PodStreams: logs and exec of running containers, between a client's stream and the kubelet's
// ContainerAccess.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "base/core/runtime.h"
#include "base/net/http_server.h"
#include "simulator/apiserver/container_access.h"
#include "simulator/apiserver/exec_bridge.h"
#include "simulator/apiserver/registry.h"

namespace thinsnap::apiserver {

class PodStreams {
 public:
  PodStreams(Runtime& runtime, Registry& registry, ContainerAccess* access)
      : registry_(registry), access_(access), endings_(runtime) {}

  void SetAccess(ContainerAccess* access);

  // GET pods/x/log.
  objects::ApiResult<net::ServerResponse> Logs(const net::ServerRequest& request,
                                               const Target& target);
  // pods/x/exec by WebSocket or SPDY.
  objects::ApiResult<net::ServerResponse> Exec(const net::ServerRequest& request,
                                               const Target& target);

 private:
  // The container that the request means: the named one, the default one or the only one.
  objects::ApiResult<ContainerAddress> Locate(const net::ServerRequest& request,
                                              const Target& target) const;
  objects::ApiResult<ContainerAccess*> Access() const;
  // Sessions are destroyed here: that may block until the program is dead.
  ExecBridge::Disposer NewDisposer();

  Registry& registry_;
  mutable std::mutex mutex_;
  ContainerAccess* access_;
  TaskGroup endings_;
};

}  // namespace thinsnap::apiserver
