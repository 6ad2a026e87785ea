// What a kubelet does next for a pod, as a pure function of what the pod asks for and what its
// containers are doing.
//
// Vocabulary
//   Attempt  one run of a container; a restart is a new attempt.
//   Sidecar  an init container with restartPolicy Always: started in order, kept beside the others.
//   Ephemeral  a container that was added to look around in a pod that runs: started once, and no
//            part of what the pod is for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/core/clock.h"

namespace thinsnap::kubelet {

enum class RestartPolicy { kAlways, kOnFailure, kNever };

// Kubernetes' crash loop: the first restart at once, then 10 s after the end, doubling to 5
// minutes; forgotten after ten quiet minutes.
struct CrashBackoff {
  Duration delay{0};  // to wait after the next end
  MonoTime last_start;

  // When a container that ended then may start again.
  MonoTime NotBefore(MonoTime finished) const;
  void RecordRestart(MonoTime now);
};

struct ContainerView {
  std::string name;
  bool sidecar = false;
  bool ran = false;  // there was an attempt since the node came up (or one that counts from before)
  bool running = false;
  bool started = false;  // running, and the startup probe has passed
  int exit_code = 0;     // when it ran and does not run
  MonoTime finished;
  CrashBackoff backoff;
};

struct PodView {
  RestartPolicy restart_policy = RestartPolicy::kAlways;
  bool terminating = false;  // deleted, evicted or past its deadline
  bool volumes_ready = false;
  std::vector<ContainerView> init, main, ephemeral;
};

struct PodPlan {
  std::vector<std::string> start;
  std::vector<std::string> stop;  // gracefully
  // Nothing runs and nothing will.
  bool finished = false;
  // An init container failed for good.
  bool init_failed = false;
  std::vector<std::string> crash_looping;  // waiting for its backoff
  std::optional<MonoTime> look_again;
};

PodPlan PlanPod(const PodView& pod, MonoTime now);

// True when every init container has done its part.
bool InitDone(const PodView& pod);

}  // namespace thinsnap::kubelet
