// What a CronJob does now. Pure: the CronJob, its Jobs and the time decide. Steps are those of
// upstream's second controller; the Job's name is the lock that makes a run happen once.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/data/json.h"

namespace thinsnap::workloads {

struct CronEvent {
  std::string type, reason, message;
};

struct CronPlan {
  Json status;  // to be written if it differs: before a Job is created
  std::vector<CronEvent> events;
  std::vector<Json> expired;      // finished Jobs beyond the history limits
  std::vector<Json> replaced;     // running Jobs that the new run replaces
  std::optional<WallTime> start;  // create the Job of this time
  std::optional<Duration> again;  // the next time of the schedule
};

// `jobs` are those whose controller is this CronJob.
CronPlan PlanCronJob(const Json& cron_job, const std::vector<Json>& jobs, WallTime now);

// "<cronjob>-<minutes since 1970>", labels and annotations of the template, owned by the CronJob.
Json CronRun(const Json& cron_job, WallTime scheduled);
// The reference for status.active.
Json JobReference(const Json& job);
void EraseReference(JsonArray& references, const std::string& uid);

}  // namespace thinsnap::workloads
