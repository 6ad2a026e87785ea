// What the columns of a pod say.
#include <algorithm>
#include <string>

#include "simulator/objects/table.h"
#include "simulator/objects/table_cells.h"

namespace thinsnap::objects {
namespace {

// Why a container is not running, or "".
std::string ContainerTrouble(const Json& status) {
  if (const std::string reason = StringAt(status, "state.waiting.reason"); !reason.empty())
    return reason;
  if (Find(status, "state.terminated") == nullptr) return "";
  if (const std::string reason = StringAt(status, "state.terminated.reason"); !reason.empty())
    return reason;
  if (const std::int64_t signal = IntAt(status, "state.terminated.signal"); signal != 0) {
    return "Signal:" + std::to_string(signal);
  }
  return "ExitCode:" + std::to_string(IntAt(status, "state.terminated.exitCode"));
}

// The init containers' part of the status, or "" when all of them are through.
std::string InitStatus(const Json& pod) {
  const JsonArray& statuses = ArrayAt(pod, "status.initContainerStatuses");
  const std::size_t total = ArrayAt(pod, "spec.initContainers").size();
  std::size_t done = 0;
  for (const Json& status : statuses) {
    if (Find(status, "state.terminated") != nullptr &&
        IntAt(status, "state.terminated.exitCode", 1) == 0) {
      ++done;
      continue;
    }
    const std::string trouble = ContainerTrouble(status);
    if (trouble.empty() || trouble == "PodInitializing") break;
    return "Init:" + trouble;
  }
  if (done >= total || statuses.empty()) return "";
  return "Init:" + std::to_string(done) + "/" + std::to_string(total);
}

}  // namespace

std::string PodRestarts(const Json& pod, WallTime now) {
  std::int64_t restarts = 0;
  std::string last;
  for (const Json& container : ArrayAt(pod, "status.containerStatuses")) {
    restarts += IntAt(container, "restartCount");
    last = std::max(last, StringAt(container, "lastState.terminated.finishedAt"));
  }
  std::string text = std::to_string(restarts);
  if (restarts > 0 && !last.empty()) text += " (" + HumanAge(last, now) + " ago)";
  return text;
}

std::string PodReady(const Json& pod) {
  std::int64_t ready = 0;
  for (const Json& container : ArrayAt(pod, "status.containerStatuses")) {
    if (BoolAt(container, "ready")) ++ready;
  }
  return std::to_string(ready) + "/" + std::to_string(ArrayAt(pod, "spec.containers").size());
}

std::string PodStatusText(const Json& pod) {
  std::string text = StringAt(pod, "status.reason", StringAt(pod, "status.phase"));
  const std::string init = InitStatus(pod);
  if (!init.empty()) {
    text = init;
  } else {
    bool any_running = false;
    const JsonArray& statuses = ArrayAt(pod, "status.containerStatuses");
    for (std::size_t i = statuses.size(); i-- > 0;) {
      const std::string trouble = ContainerTrouble(statuses[i]);
      if (!trouble.empty()) text = trouble;
      any_running |= BoolAt(statuses[i], "ready") && Find(statuses[i], "state.running") != nullptr;
    }
    if (text == "Completed" && any_running) text = "Running";
  }
  if (Find(pod, "metadata.deletionTimestamp") != nullptr) {
    text = StringAt(pod, "status.reason") == "NodeLost" ? "Unknown" : "Terminating";
  }
  return text;
}

}  // namespace thinsnap::objects
