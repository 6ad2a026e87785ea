#include "simulator/kubelet/pod_status.h"

#include <algorithm>

#include "base/data/json.h"
#include "base/kube/object.h"
#include "simulator/containers/image.h"

namespace thinsnap::kubelet {
namespace {

Json TerminatedState(const Termination& end) {
  JsonObject state{{"exitCode", end.exit_code},
                   {"reason", end.reason},
                   {"startedAt", FormatRfc3339(end.started)},
                   {"finishedAt", FormatRfc3339(end.finished)}};
  if (!end.message.empty()) state["message"] = end.message;
  if (!end.container_id.empty()) state["containerID"] = end.container_id;
  return JsonObject{{"terminated", std::move(state)}};
}

Json StateOf(const ContainerReport& container) {
  if (container.running) {
    return JsonObject{{"running", JsonObject{{"startedAt", FormatRfc3339(container.started_at)}}}};
  }
  if (!container.waiting_reason.empty() || !container.ended) {
    JsonObject waiting;
    waiting["reason"] =
        container.waiting_reason.empty() ? "ContainerCreating" : container.waiting_reason;
    if (!container.waiting_message.empty()) waiting["message"] = container.waiting_message;
    return JsonObject{{"waiting", std::move(waiting)}};
  }
  return TerminatedState(*container.ended);
}

Json StatusOf(const ContainerReport& container) {
  const bool waiting = !container.running && !container.waiting_reason.empty();
  // While it waits for another attempt the last end is history.
  const std::optional<Termination>& last =
      waiting && container.ended ? container.ended : container.previous;
  JsonObject status{{"name", container.name},
                    {"state", StateOf(container)},
                    {"lastState", last ? TerminatedState(*last) : Json(JsonObject())},
                    {"ready", container.ready},
                    {"restartCount", container.restart_count},
                    {"image", container.image},
                    {"imageID", "thinsnap-sim://" + containers::ShortImageName(container.image)},
                    {"started", container.started}};
  if (!container.container_id.empty()) status["containerID"] = container.container_id;
  if (container.init && !container.sidecar) {
    status["started"] = container.running;
    // A finished init container is ready by definition.
    status["ready"] =
        !container.running && !waiting && container.ended && container.ended->exit_code == 0;
  }
  return status;
}

JsonArray StatusesOf(const std::vector<ContainerReport>& containers) {
  JsonArray list;
  for (const ContainerReport& container : containers) list.push_back(StatusOf(container));
  return list;
}

void SetPodCondition(JsonArray& conditions, const char* type, bool value, const std::string& reason,
                     const std::string& message, WallTime now) {
  const char* text = value ? "True" : "False";
  JsonObject fresh{{"type", type},
                   {"status", text},
                   {"lastProbeTime", nullptr},
                   {"lastTransitionTime", FormatRfc3339(now)}};
  if (!reason.empty()) fresh["reason"] = reason;
  if (!message.empty()) fresh["message"] = message;
  for (Json& condition : conditions) {
    if (StringAt(condition, "type") != type) continue;
    if (StringAt(condition, "status") == text) {
      fresh["lastTransitionTime"] = StringAt(condition, "lastTransitionTime", FormatRfc3339(now));
    }
    condition = std::move(fresh);
    return;
  }
  conditions.push_back(std::move(fresh));
}

std::string JoinNames(const std::vector<ContainerReport>& containers,
                      bool (*pick)(const ContainerReport&)) {
  std::string names;
  for (const ContainerReport& container : containers) {
    if (!pick(container)) continue;
    names += (names.empty() ? "" : " ") + container.name;
  }
  return names;
}

std::string QosClass(const Json& pod) {
  bool any = false, guaranteed = true;
  for (const Json& container : ArrayAt(pod, "spec.containers")) {
    const JsonObject* limits = FindObject(container, "resources.limits");
    const JsonObject* requests = FindObject(container, "resources.requests");
    any |= (limits != nullptr && !limits->empty()) || (requests != nullptr && !requests->empty());
    guaranteed &= limits != nullptr && limits->contains("cpu") && limits->contains("memory") &&
                  (requests == nullptr || *requests == *limits);
  }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

}  // namespace

std::string PhaseOf(const PodReport& report, const std::string& present_phase) {
  if (present_phase == "Succeeded" || present_phase == "Failed") return present_phase;
  if (!report.failed_reason.empty()) {
    const bool any_runs =
        std::any_of(report.main.begin(), report.main.end(),
                    [](const ContainerReport& container) { return container.running; });
    return any_runs ? "Running" : "Failed";
  }
  if (!report.init_done) {
    const bool failed =
        report.restart_policy == RestartPolicy::kNever &&
        std::any_of(report.init.begin(), report.init.end(), [](const ContainerReport& container) {
          return !container.sidecar && !container.running && container.ended &&
                 container.ended->exit_code != 0;
        });
    return failed ? "Failed" : "Pending";
  }
  int running = 0, waiting = 0, stopped = 0, succeeded = 0;
  for (const ContainerReport& container : report.main) {
    if (container.running) {
      ++running;
    } else if (container.ended || container.previous) {
      ++stopped;
      if (container.waiting_reason.empty() && container.ended && container.ended->exit_code == 0)
        ++succeeded;
    } else {
      ++waiting;
    }
  }
  if (waiting > 0 && !report.terminating) return "Pending";
  if (running > 0) return "Running";
  if (report.terminating) {
    // A deleted pod ends by what its containers ended with, whatever its restart policy.
    return stopped > 0 && stopped == succeeded ? "Succeeded" : (stopped > 0 ? "Failed" : "Pending");
  }
  if (report.restart_policy == RestartPolicy::kAlways) return "Running";
  if (stopped == succeeded) return "Succeeded";
  return report.restart_policy == RestartPolicy::kNever ? "Failed" : "Running";
}

Json BuildPodStatus(const Json& pod, const PodReport& report, WallTime now) {
  Json status = JsonObject();
  if (const Json* present = Find(pod, "status"); present != nullptr && present->is_object())
    status = *present;
  const std::string phase = PhaseOf(report, StringAt(status, "phase"));
  Set(status, "phase", Json(phase));
  if (!report.failed_reason.empty() && phase == "Failed") {
    Set(status, "reason", Json(report.failed_reason));
    Set(status, "message", Json(report.failed_message));
  }
  Set(status, "hostIP", "127.0.0.1");
  Set(status, "hostIPs", JsonArray{JsonObject{{"ip", "127.0.0.1"}}});
  if (report.init_done || phase != "Pending") {
    Set(status, "podIP", "127.0.0.1");
    Set(status, "podIPs", JsonArray{JsonObject{{"ip", "127.0.0.1"}}});
  }
  if (StringAt(status, "startTime").empty()) Set(status, "startTime", Json(FormatRfc3339(now)));
  if (StringAt(status, "qosClass").empty()) Set(status, "qosClass", Json(QosClass(pod)));
  if (!report.init.empty()) Set(status, "initContainerStatuses", StatusesOf(report.init));
  Set(status, "containerStatuses", StatusesOf(report.main));
  if (!report.ephemeral.empty())
    Set(status, "ephemeralContainerStatuses", StatusesOf(report.ephemeral));

  JsonArray conditions = ArrayAt(status, "conditions");
  const bool over = phase == "Succeeded" || phase == "Failed";
  const std::string completed = phase == "Succeeded" ? "PodCompleted" : "";
  const auto incomplete = [](const ContainerReport& container) {
    return !container.sidecar &&
           (container.running || !container.ended || container.ended->exit_code != 0);
  };
  const auto not_ready = [](const ContainerReport& container) { return !container.ready; };
  const bool initialized = report.init_done || phase == "Succeeded";
  SetPodCondition(
      conditions, "Initialized", initialized, initialized ? completed : "ContainersNotInitialized",
      initialized
          ? ""
          : "containers with incomplete status: [" + JoinNames(report.init, incomplete) + "]",
      now);
  const std::string unready = JoinNames(report.main, not_ready);
  const bool ready = unready.empty() && initialized && !over;
  std::string reason, message;
  if (!ready) {
    reason = phase == "Succeeded" ? "PodCompleted"
             : phase == "Failed"  ? "PodFailed"
                                  : "ContainersNotReady";
    if (!over) message = "containers with unready status: [" + unready + "]";
  }
  SetPodCondition(conditions, "Ready", ready, reason, message, now);
  SetPodCondition(conditions, "ContainersReady", ready, reason, message, now);
  SetPodCondition(conditions, "PodScheduled", true, "", "", now);
  Set(status, "conditions", std::move(conditions));
  return status;
}

}  // namespace thinsnap::kubelet
