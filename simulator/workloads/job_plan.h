// What a Job needs next. Pure: the Job, its pods and the time decide.
//
// A pod is counted exactly once: a finished pod's uid goes into status.uncountedTerminatedPods in
// one write, then the pod loses its finalizer, then the next status write moves the uid into the
// counter.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/clock.h"
#include "base/data/json.h"

namespace thinsnap::workloads {

inline constexpr char kJobTracking[] = "batch.kubernetes.io/job-tracking";
inline constexpr char kCompletionIndex[] = "batch.kubernetes.io/job-completion-index";

struct JobEvent {
  std::string type, reason, message;
};

struct JobPlan {
  Json status;                    // to be written if it differs from what is there
  std::vector<Json> release;      // pods that lose their finalizer, once the status is written
  std::vector<Json> remove;       // pods to delete
  std::vector<int> create;        // completion indexes; -1 for Jobs without
  std::vector<JobEvent> events;   // after the status is written
  std::optional<Duration> again;  // look again then, even if nothing changes
};

// `pods` are those whose controller is this Job. base_backoff: the wait after a pod's first
// failure.
JobPlan PlanJob(const Json& job, const std::vector<Json>& pods, WallTime now,
                Duration base_backoff);

// Complete or Failed.
bool IsJobFinished(const Json& job);
bool IsJobComplete(const Json& job);

// "0-2,5" and back. Unreadable parts are left out.
std::string FormatIndexes(const std::vector<int>& sorted);
std::vector<int> ParseIndexes(std::string_view text);

// The pod to create: labels, annotations, finalizer, name and environment of an index.
Json JobPod(const Json& job, int index, std::string_view name_suffix);

}  // namespace thinsnap::workloads
