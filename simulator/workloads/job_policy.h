// A Job's podFailurePolicy: what a pod's failure means. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "base/data/json.h"

namespace thinsnap::workloads {

enum class PodFailureAction : std::uint8_t { kCount, kIgnore, kFailJob };

struct PodFailureVerdict {
  PodFailureAction action = PodFailureAction::kCount;
  std::string message;  // for kFailJob
};

// The first rule that matches decides; none, or no policy: the failure counts. FailIndex counts,
// because indexes have no limits of their own here.
PodFailureVerdict JudgePodFailure(const Json& job, const Json& pod);

}  // namespace thinsnap::workloads
