// The parts of this folder, one function each. start.cc makes them all.
#pragma once

#include <memory>

#include "simulator/controllers/part.h"
#include "simulator/controllers/start.h"

namespace thinsnap::controllers {

class KindWatcher;

// Binds claims and volumes; releases volumes.
std::unique_ptr<Part> MakeVolumeBinder(const Context& context);
// Keep claims in use by pods, and bound volumes, from going.
std::unique_ptr<Part> MakeClaimProtection(const Context& context);
std::unique_ptr<Part> MakeVolumeProtection(const Context& context);
std::unique_ptr<Part> MakeEphemeralVolumes(const Context& context);
std::unique_ptr<Part> MakeScheduler(const Context& context);

std::unique_ptr<Part> MakeJobController(const Context& context, Duration pod_backoff);
std::unique_ptr<Part> MakeTtlAfterFinished(const Context& context);
std::unique_ptr<Part> MakeCronJobController(const Context& context);

std::unique_ptr<Part> MakeReplicaSetController(const Context& context);
std::unique_ptr<Part> MakeDeploymentController(const Context& context);
std::unique_ptr<Part> MakeStatefulSetController(const Context& context);
std::unique_ptr<Part> MakeDaemonSetController(const Context& context);

std::unique_ptr<Part> MakeGarbageCollector(const Context& context, KindWatcher& kinds);
std::unique_ptr<Part> MakeNamespaceController(const Context& context, KindWatcher& kinds);
std::unique_ptr<Part> MakePodGc(const Context& context);
std::unique_ptr<Part> MakeNodeLifecycle(const Context& context, Duration grace);
// ServiceAccount default and ConfigMap kube-root-ca.crt of each namespace.
std::unique_ptr<Part> MakeNamespaceDefaults(const Context& context, std::string root_ca_pem);

}  // namespace thinsnap::controllers
