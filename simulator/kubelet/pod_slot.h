// PodWorker::Slot: one container of a pod, over all its attempts. Private to pod_worker.cc,
// pod_slots.cc and pod_containers.cc.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "base/core/runtime.h"
#include "simulator/kubelet/pod_worker.h"

namespace thinsnap::kubelet {

// Where a pod's spec and status have its containers.
struct ContainerList {
  const char *spec, *status;
};
inline constexpr ContainerList kMainContainers = {"spec.containers", "status.containerStatuses"};
inline constexpr ContainerList kInitContainers = {"spec.initContainers",
                                                  "status.initContainerStatuses"};
inline constexpr ContainerList kEphemeralContainers = {"spec.ephemeralContainers",
                                                       "status.ephemeralContainerStatuses"};

RestartPolicy PolicyOf(const Json& pod);
bool IsOver(const Json& pod);
// The container's part of the pod's spec; null if there is none.
const Json* SpecOf(const Json& pod, const std::string& name);

struct PodWorker::Slot {
  std::string name;
  bool init = false, sidecar = false, ephemeral = false;
  int attempt = 0;  // of the present or next run: Kubernetes' restartCount
  bool ran = false, running = false;
  std::string id;                               // of the running or last attempt
  std::shared_ptr<containers::ContainerIo> io;  // while it runs
  WallTime started_at;
  std::atomic<bool> started{false};  // the startup probe has passed
  bool ready = false, has_readiness_probe = false;
  std::optional<Termination> ended, previous;
  MonoTime finished;
  CrashBackoff backoff;
  // Could not be set up for a reason that may pass; tried again then.
  MonoTime not_before;
  std::string waiting_reason, waiting_message;
  bool stopping = false, killed = false;
  MonoTime stop_requested;
  std::optional<Duration> own_grace;  // of a failed liveness probe
  std::unique_ptr<TaskGroup> probes;
};

}  // namespace thinsnap::kubelet
