#include "simulator/workloads/job_policy.h"

#include <algorithm>
#include <optional>

#include "base/kube/object.h"

namespace thinsnap::workloads {

namespace {

// "container main ... exit code 3" if the rule's onExitCodes matches one of the pod's containers.
std::optional<std::string> MatchExitCodes(const Json& rule, const Json& pod) {
  const auto only = StringAt(rule, "containerName");
  const bool in = StringAt(rule, "operator") == "In";
  const JsonArray& values = ArrayAt(rule, "values");
  for (const char* list : {"status.initContainerStatuses", "status.containerStatuses"}) {
    for (const Json& container : ArrayAt(pod, list)) {
      if (FindObject(container, "state.terminated") == nullptr) continue;
      const auto name = StringAt(container, "name");
      const auto code = IntAt(container, "state.terminated.exitCode");
      if (code == 0 || (!only.empty() && name != only)) continue;
      const bool listed = std::any_of(values.begin(), values.end(), [&](const Json& value) {
        return value.is_int64() && value.get_int64() == code;
      });
      if (listed == in) {
        return "Container " + name + " for pod " + kube::KeyOf(pod).ToString() +
               " failed with exit code " + std::to_string(code);
      }
    }
  }
  return std::nullopt;
}

std::optional<std::string> MatchConditions(const JsonArray& patterns, const Json& pod) {
  for (const Json& pattern : patterns) {
    const auto type = StringAt(pattern, "type");
    if (kube::ConditionIs(pod, type, StringAt(pattern, "status", "True"))) {
      return "Pod " + kube::KeyOf(pod).ToString() + " has condition " + type;
    }
  }
  return std::nullopt;
}

}  // namespace

PodFailureVerdict JudgePodFailure(const Json& job, const Json& pod) {
  int number = 0;
  for (const Json& rule : ArrayAt(job, "spec.podFailurePolicy.rules")) {
    std::optional<std::string> match;
    if (const Json* codes = Find(rule, "onExitCodes")) {
      match = MatchExitCodes(*codes, pod);
    } else {
      match = MatchConditions(ArrayAt(rule, "onPodConditions"), pod);
    }
    if (match) {
      const auto action = StringAt(rule, "action");
      if (action == "FailJob") {
        return {PodFailureAction::kFailJob,
                *match + " matching FailJob rule at index " + std::to_string(number)};
      }
      return {action == "Ignore" ? PodFailureAction::kIgnore : PodFailureAction::kCount, ""};
    }
    ++number;
  }
  return {};
}

}  // namespace thinsnap::workloads
