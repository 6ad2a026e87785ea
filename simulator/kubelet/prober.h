// Probes and lifecycle hooks: asking a container how it is, by a command, HTTP or a TCP connection.
#pragma once

#include <functional>
#include <string>

#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/data/json_fwd.h"
#include "simulator/containers/container_runtime.h"

namespace thinsnap::kubelet {

enum class ProbeKind { kStartup, kLiveness, kReadiness };

// What to ask and how often; from a container's startupProbe, livenessProbe or readinessProbe.
struct ProbePlan {
  ProbeKind kind = ProbeKind::kReadiness;
  Duration initial_delay{0}, period{0}, timeout{0};
  int success_threshold = 1, failure_threshold = 3;
};
ProbePlan ReadProbe(ProbeKind kind, const Json& probe);

// Counts answers in a row.
class ProbeTally {
 public:
  explicit ProbeTally(const ProbePlan& plan) : plan_(plan) {}
  // The new verdict when this answer completes a threshold that changes or repeats it; nothing
  // before.
  enum class Verdict { kNone, kGood, kBad };
  Verdict Count(bool good);

 private:
  ProbePlan plan_;
  int good_in_row_ = 0, bad_in_row_ = 0;
};

// A number, or a named port of the container. 0 when there is none of that name.
int ResolvePort(const Json& port, const Json& container);

class Prober {
 public:
  Prober(Runtime& runtime, containers::ContainerRuntime& containers, std::string scratch_folder);

  // Performs one handler (exec, httpGet, tcpSocket, sleep). An error's message is what the event
  // shows.
  Status Ask(TaskGroup& group, const Json& handler, const Json& container,
             const std::string& container_id, Duration timeout);

  // Asks until the group is stopped. `wait_started`: whether to hold back until `started` says
  // true. The callback gets each verdict with the message of the last failure.
  void Run(TaskGroup& group, const ProbePlan& plan, const Json& probe, const Json& container,
           const std::string& container_id, const std::function<bool()>& started,
           const std::function<void(bool good, const std::string& message)>& on_verdict);

 private:
  Status AskExec(TaskGroup& group, const Json& exec, const std::string& container_id,
                 Duration timeout);
  Status AskHttp(const Json& get, const Json& container, Duration timeout);
  Status AskTcp(const Json& socket, const Json& container, Duration timeout);

  Runtime& runtime_;
  containers::ContainerRuntime& containers_;
  const std::string scratch_folder_;
};

}  // namespace thinsnap::kubelet
