// A running BackupSession: what its steps have at hand, those that prepare its Job, and its
// Snapshots.
#pragma once

#include <string>
#include <vector>

#include "snapshotter/api/target.h"
#include "snapshotter/operator/context.h"
#include "snapshotter/operator/jobs.h"

namespace thinsnap::backup {

// There, and False, only while something keeps a running backup from going on.
inline constexpr char kBackupProgressing[] = "BackupProgressing";

// What a step of a running session has at hand.
struct SessionRun {
  Json session;        // edited; written at the end
  Json configuration;  // of the invoker
  Json spec;           // of the session in the configuration
};

inline std::string SessionName(const SessionRun& run) { return kube::NameOf(run.session); }
inline std::string NamespaceName(const SessionRun& run) { return kube::NamespaceOf(run.session); }

// The Repositories of the session, in order.
Result<std::vector<Json>> RepositoriesOfSession(Context& context, const SessionRun& run);
// Makes a Snapshot for each Repository, and status.snapshots of the session.
Status EnsureSnapshots(Context& context, SessionRun& run, const std::vector<Json>& repositories,
                       std::size_t components);
// Takes over the phases of the Snapshots; true when all have ended.
Result<bool> FollowSnapshots(Context& context, SessionRun& run, bool& any_failed);
// Nothing more will come: the Snapshots that have not ended are marked, so that they fail with a
// reason. `overdue`: also those that wait for nothing but the bucket.
Status MarkIncomplete(Context& context, const SessionRun& run, const std::string& why,
                      bool overdue = false);
// Why the Snapshots failed.
Status NameFailures(Context& context, const SessionRun& run, std::vector<std::string>& failures);
// VolumeSnapshots of a session that did not succeed are of no use to anybody.
Status RemoveVolumeSnapshots(Context& context, const SessionRun& run);
// The class for the VolumeSnapshots, made where it has to be derived.
Result<std::string> EnsureClass(Context& context, const SessionRun& run,
                                const std::vector<TargetComponent>& components,
                                const std::vector<Json>& repositories);
// The backup Job, as the addon's task and its function have it.
Result<JobPlan> BackupPlan(Context& context, const SessionRun& run,
                           const std::string& snapshot_class);

}  // namespace thinsnap::backup
