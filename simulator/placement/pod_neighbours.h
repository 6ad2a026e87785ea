// Pods beside pods: inter-pod affinity, topology spread, and claims of one pod alone. Pure.
#pragma once

#include <optional>
#include <string>

#include "simulator/placement/schedule_plan.h"

namespace thinsnap::placement {

// Why the pod cannot stand on this node with those that are there, or nothing.
std::optional<std::string> WhyNotBeside(const ScheduleInput& input, const Json& node);
// Sum of the weights of preferred (anti-)affinity, less the pods that ScheduleAnyway would spread.
std::int64_t NeighbourWeight(const ScheduleInput& input, const Json& node);

}  // namespace thinsnap::placement
