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
// is lost (not renewed for one duration by our own monotonic clock) or the calling task's group is
// stopped. Releases the Lease when `lead` returns. Returns what `lead` returned, kAborted when the
// Lease was lost, kCancelled.
Status RunWithLease(Runtime& runtime, KubeClient& client, TaskGroup& parent,
                    const LeaseOptions& options,
                    const std::function<Status(TaskGroup& group)>& lead);

}  // namespace thinsnap::kube
