// The cells of built-in kinds: the columns of builtin_kinds.cc, in their order.
#pragma once

#include "base/core/clock.h"
#include "base/data/json.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::objects {

JsonArray BuiltinCells(const schema::Kind& kind, const Json& object, WallTime now);

// What a pod is doing, as `kubectl get pods` says it: "Running", "CrashLoopBackOff", "Init:0/1",
// "Terminating".
std::string PodStatusText(const Json& pod);
std::string PodReady(const Json& pod);                   // "1/2"
std::string PodRestarts(const Json& pod, WallTime now);  // "3 (2m ago)"

}  // namespace thinsnap::objects
