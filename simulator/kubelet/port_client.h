// Connections to the ports of pods. Pods share the host's network, so nobody need enter a node's
// namespaces for one.
#pragma once

#include <memory>

#include "base/core/runtime.h"
#include "simulator/streams/container_access.h"

namespace thinsnap::kubelet {

// Reads in a task of `group`. kUnavailable: nobody listens on that port.
Result<std::unique_ptr<streams::PortSession>> ConnectPort(TaskGroup& group, int port,
                                                          streams::PortCallbacks callbacks);

}  // namespace thinsnap::kubelet
