// The operator as a whole: informers, one reconcile loop for each kind, and who wakes whom.
#pragma once

#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "snapshotter/api/kinds.h"
#include "snapshotter/operator/backend.h"

namespace thinsnap::backup {

// Runs until the calling task's group is stopped; returns kCancelled then. Waits for its CRDs to be
// served.
Status RunOperator(Runtime& runtime, Random& random, kube::KubeClient& client,
                   const StoreOpener& open_store, TaskGroup& group, const OperatorOptions& options);

}  // namespace thinsnap::backup
