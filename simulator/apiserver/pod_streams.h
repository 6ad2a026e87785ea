// PodStreams: logs, exec, attach and ports of running pods, between a client's stream and the
// kubelet's ContainerAccess.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "base/core/guarded.h"
#include "base/core/runtime.h"
#include "base/net/http_server.h"
#include "simulator/registry/registry.h"
#include "simulator/streams/container_access.h"
#include "simulator/streams/exec_bridge.h"

namespace thinsnap::apiserver {

class PodStreams {
 public:
  PodStreams(Runtime& runtime, registry::Registry& registry, streams::ContainerAccess* access)
      : runtime_(runtime), registry_(registry), access_(access), endings_(runtime) {}

  void SetAccess(streams::ContainerAccess* access);

  // GET pods/x/log.
  schema::ApiResult<net::ServerResponse> Logs(const net::ServerRequest& request,
                                              const registry::Target& target);
  // pods/x/exec by WebSocket or SPDY.
  schema::ApiResult<net::ServerResponse> Exec(const net::ServerRequest& request,
                                              const registry::Target& target);
  // pods/x/attach: what the running program says from now on, and its input.
  schema::ApiResult<net::ServerResponse> Attach(const net::ServerRequest& request,
                                                const registry::Target& target);
  // pods/x/portforward by SPDY, SPDY within WebSocket, or WebSocket channels.
  schema::ApiResult<net::ServerResponse> PortForward(const net::ServerRequest& request,
                                                     const registry::Target& target);

 private:
  schema::ApiResult<net::ServerResponse> Upgrade(const net::ServerRequest& request,
                                                 streams::ExecRequest exec);
  // The container that the request means: the named one, the default one or the only one.
  schema::ApiResult<streams::ContainerAddress> Locate(const net::ServerRequest& request,
                                                      const registry::Target& target) const;
  schema::ApiResult<streams::ContainerAccess*> Access() const;
  streams::SessionHost Host();

  Runtime& runtime_;
  registry::Registry& registry_;
  mutable std::mutex mutex_;
  streams::ContainerAccess* access_ GUARDED_BY(mutex_);
  TaskGroup endings_;  // sessions are destroyed here: that may block until the program is dead
};

}  // namespace thinsnap::apiserver
