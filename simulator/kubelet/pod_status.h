// A pod's status as the kubelet reports it, computed from its spec and what its containers did.
// Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/data/json_fwd.h"
#include "simulator/kubelet/pod_plan.h"

namespace thinsnap::kubelet {

// How an attempt ended.
struct Termination {
  int exit_code = 0;
  std::string reason, message, container_id;
  WallTime started, finished;
};

struct ContainerReport {
  std::string name, image, container_id;
  int restart_count = 0;
  bool running = false, ready = false, started = false;
  bool init = false, sidecar = false;
  WallTime started_at;
  std::optional<Termination> ended;             // the present attempt's end, when it does not run
  std::optional<Termination> previous;          // the attempt before
  std::string waiting_reason, waiting_message;  // why it does not run, when it will
};

struct PodReport {
  RestartPolicy restart_policy = RestartPolicy::kAlways;
  std::vector<ContainerReport> init, main, ephemeral;
  bool init_done = false;
  bool terminating = false;
  // Set for a pod that the kubelet ended: DeadlineExceeded, Evicted.
  std::string failed_reason, failed_message;
};

// Pending, Running, Succeeded or Failed; the latter two are never left.
std::string PhaseOf(const PodReport& report, const std::string& present_phase);

// The whole status: conditions that others own are kept, transition times change only with the
// status.
Json BuildPodStatus(const Json& pod, const PodReport& report, WallTime now);

}  // namespace thinsnap::kubelet
