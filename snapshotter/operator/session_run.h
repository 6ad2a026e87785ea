// A running BackupSession: what its steps have at hand, and the two that prepare its Job.
#pragma once

#include <string>
#include <vector>

#include "snapshotter/operator/context.h"
#include "snapshotter/operator/jobs.h"
#include "snapshotter/operator/target.h"

namespace thinsnap::backup {

// What a step of a running session has at hand.
struct SessionRun {
  Json session;        // edited; written at the end
  Json configuration;  // of the invoker
  Json spec;           // of the session in the configuration
};

inline std::string SessionName(const SessionRun& run) { return kube::NameOf(run.session); }
inline std::string NamespaceName(const SessionRun& run) { return kube::NamespaceOf(run.session); }

// The class for the VolumeSnapshots, made where it has to be derived.
Result<std::string> EnsureClass(Context& context, const SessionRun& run,
                                const std::vector<TargetComponent>& components,
                                const std::vector<Json>& repositories);
// The backup Job, as the addon's task and its function have it.
Result<JobPlan> BackupPlan(Context& context, const SessionRun& run,
                           const std::string& snapshot_class);

}  // namespace thinsnap::backup
