#include "simulator/kubelet/pod_plan.h"

#include <algorithm>
#include <chrono>

namespace thinsnap::kubelet {
namespace {

constexpr Duration kFirstDelay = std::chrono::seconds(10);
constexpr Duration kLongestDelay = std::chrono::minutes(5);
constexpr Duration kForgetAfter = std::chrono::minutes(10);

bool ComesBack(RestartPolicy policy, const ContainerView& container) {
  if (container.sidecar) return true;
  switch (policy) {
    case RestartPolicy::kAlways:
      return true;
    case RestartPolicy::kOnFailure:
      return container.exit_code != 0;
    case RestartPolicy::kNever:
      return false;
  }
  return false;
}

void StartAgain(const ContainerView& container, MonoTime now, PodPlan* plan) {
  const MonoTime not_before = container.backoff.NotBefore(container.finished);
  if (now >= not_before) {
    plan->start.push_back(container.name);
    return;
  }
  plan->crash_looping.push_back(container.name);
  plan->look_again = std::min(plan->look_again.value_or(not_before), not_before);
}

void StopAll(const PodView& pod, PodPlan* plan) {
  bool main_running = false;
  for (const ContainerView& container : pod.main) {
    if (!container.running) continue;
    main_running = true;
    plan->stop.push_back(container.name);
  }
  bool init_running = false;
  for (const ContainerView& container : pod.init) {
    if (!container.running) continue;
    init_running = true;
    // Sidecars outlast those that they serve.
    if (!main_running || !container.sidecar) plan->stop.push_back(container.name);
  }
  bool ephemeral_running = false;
  for (const ContainerView& container : pod.ephemeral) {
    if (!container.running) continue;
    ephemeral_running = true;
    plan->stop.push_back(container.name);
  }
  plan->finished = !main_running && !init_running && !ephemeral_running;
}

// Returns true when the main containers may start. `main_ran`: they already did, so only sidecars
// are looked after.
bool PlanInit(const PodView& pod, bool main_ran, MonoTime now, PodPlan* plan) {
  for (const ContainerView& container : pod.init) {
    if (container.sidecar) {
      if (container.running) {
        if (!container.started && !main_ran) return false;
      } else if (!container.ran) {
        plan->start.push_back(container.name);
        if (!main_ran) return false;
      } else {
        StartAgain(container, now, plan);
        if (!main_ran) return false;
      }
      continue;
    }
    if (main_ran) continue;
    if (!container.ran) {
      plan->start.push_back(container.name);
      return false;
    }
    if (container.running) return false;
    if (container.exit_code == 0) continue;
    if (pod.restart_policy == RestartPolicy::kNever) {
      plan->init_failed = true;
    } else {
      StartAgain(container, now, plan);
    }
    return false;
  }
  return true;
}

}  // namespace

MonoTime CrashBackoff::NotBefore(MonoTime finished) const {
  if (delay == Duration{0} || finished - last_start > kForgetAfter) return finished;
  return finished + delay;
}

void CrashBackoff::RecordRestart(MonoTime now) {
  if (delay == Duration{0} || now - last_start > kForgetAfter + delay) {
    delay = kFirstDelay;
  } else {
    delay = std::min(delay * 2, kLongestDelay);
  }
  last_start = now;
}

bool InitDone(const PodView& pod) {
  const bool main_ran = std::any_of(pod.main.begin(), pod.main.end(),
                                    [](const ContainerView& container) { return container.ran; });
  if (main_ran) return true;
  return std::all_of(pod.init.begin(), pod.init.end(), [](const ContainerView& container) {
    if (container.sidecar) return container.running && container.started;
    return container.ran && !container.running && container.exit_code == 0;
  });
}

PodPlan PlanPod(const PodView& pod, MonoTime now) {
  PodPlan plan;
  if (pod.terminating) {
    StopAll(pod, &plan);
    return plan;
  }
  const bool main_ran = std::any_of(pod.main.begin(), pod.main.end(),
                                    [](const ContainerView& container) { return container.ran; });
  const bool main_over =
      main_ran &&
      std::all_of(pod.main.begin(), pod.main.end(), [&](const ContainerView& container) {
        return container.ran && !container.running && !ComesBack(pod.restart_policy, container);
      });
  if (main_over) {
    StopAll(pod, &plan);
    return plan;
  }
  if (!pod.volumes_ready) return plan;
  const bool may_start = PlanInit(pod, main_ran, now, &plan);
  if (plan.init_failed) {
    PodPlan over;
    StopAll(pod, &over);
    over.init_failed = true;
    return over;
  }
  if (!may_start) return plan;
  for (const ContainerView& container : pod.main) {
    if (container.running) continue;
    if (!container.ran) {
      plan.start.push_back(container.name);
    } else if (ComesBack(pod.restart_policy, container)) {
      StartAgain(container, now, &plan);
    }
  }
  for (const ContainerView& container : pod.ephemeral) {
    if (!container.ran && main_ran) plan.start.push_back(container.name);
  }
  return plan;
}

}  // namespace thinsnap::kubelet
