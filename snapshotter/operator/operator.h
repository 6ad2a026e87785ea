// The operator as a whole: informers, one reconcile loop for each kind, and who wakes whom.
#pragma once

#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "snapshotter/api/kinds.h"
#include "snapshotter/operator/backend.h"

namespace thinsnap::backup {

// Makes the Addons and Functions those of this version, whoever installed an older one, but for
// fields that somebody else set. Waits for an API server that does not answer or allow it;
// kCancelled when it is stopped meanwhile.
Status InstallCatalog(Runtime& runtime, kube::KubeClient& client, const Kinds& kinds);

// Runs until the calling task's group is stopped; returns kCancelled then. Waits for its CRDs to be
// served, and installs the catalog.
Status RunOperator(Runtime& runtime, Random& random, kube::KubeClient& client,
                   const StoreOpener& open_store, TaskGroup& group, const OperatorOptions& options);

}  // namespace thinsnap::backup
