// Jobs: how the operator runs its own program in the namespace of those whose data it is, with a
// ServiceAccount that may do no more than the Job has to.
#pragma once

#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/data/json.h"
#include "snapshotter/operator/context.h"

namespace thinsnap::backup {

// One run of thinsnap-operator.
struct JobPlan {
  kube::ObjectKey key;
  Json owner;                // deleted with it
  std::string component;     // "thinsnap-backup": label app.kubernetes.io/component
  std::string cluster_role;  // bound in the Job's namespace
  std::string image;
  std::vector<std::string> command;  // the program and its arguments
  JsonObject labels;                 // further ones
  Json settings;  // jobTemplate of the session or addon: backoffLimit and the like; may be null
};

Json ServiceAccountFor(const JobPlan& plan);
Json RoleBindingFor(const JobPlan& plan);
Json JobFor(const JobPlan& plan);
// The CronJob whose Jobs are the plan's.
Json CronJobFor(const JobPlan& plan, const Json& scheduler, bool suspend);

// ServiceAccount, RoleBinding, Job, in this order; those that exist stay. The Job as it stands now.
Result<Json> EnsureJob(Context& context, const JobPlan& plan);

enum class JobState { kRunning, kSucceeded, kFailed };
JobState StateOfJob(const Json& job);
// Reason and message of its Failed condition.
std::string FailureOfJob(const Json& job);

// The command of a catalog Function with its ${variables} filled in, and --api-domain.
Result<std::vector<std::string>> CommandOfFunction(
    Context& context, const Json& function,
    const std::vector<std::pair<std::string, std::string>>& variables);
// The Function of a task of an Addon; the error names the addon or the task and what there is.
struct Task {
  Json definition;  // of the Addon
  Json function;
};
Result<Task> FindTask(Context& context, const std::string& addon, const std::string& list,
                      const std::string& task);

}  // namespace thinsnap::backup
