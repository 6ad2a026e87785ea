// AccessClient: ContainerAccess for the API server, by way of the unix socket in each node's
// folder.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/core/runtime.h"
#include "simulator/streams/container_access.h"

namespace thinsnap::kubelet {

// socket_of: the path of a node's socket. Tasks run in the group.
std::unique_ptr<streams::ContainerAccess> MakeAccessClient(
    Runtime& runtime, TaskGroup& group,
    std::function<std::string(const std::string& node)> socket_of);

}  // namespace thinsnap::kubelet
