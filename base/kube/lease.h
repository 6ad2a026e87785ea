// Lease: leader election on coordination.k8s.io/v1, and mutual exclusion of jobs.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "base/core/runtime.h"
#include "base/kube/client.h"

namespace thinsnap::kube {

struct LeaseOptions {
  ObjectKey key;
  std::string identity;
  Duration duration = std::chrono::seconds(15);
  Duration renew_every = std::chrono::seconds(5);
};

// Waits until the Lease is ours, runs `lead` in a child group, and stops that group when the Lease
// is lost or the calling task's group is stopped. Releases the Lease when `lead` returns, in the
// group `farewell`, which outlives `parent` by a moment. Returns what `lead` returned, kAborted
// when the Lease was lost, kCancelled.
//
// Lost is a Lease that somebody else holds, or that was not renewed for four fifths of its duration
// by our own monotonic clock, counted from before the renewal was sent, whatever a request in
// flight does: the rest is for `lead` to end before anybody else may take it.
Status RunWithLease(Runtime& runtime, KubeClient& client, TaskGroup& parent, TaskGroup& farewell,
                    const LeaseOptions& options,
                    const std::function<Status(TaskGroup& group)>& lead);

}  // namespace thinsnap::kube
