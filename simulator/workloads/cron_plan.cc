#include "simulator/workloads/cron_plan.h"

#include <algorithm>

#include "base/data/cron_schedule.h"
#include "base/kube/object.h"
#include "simulator/placement/pod_state.h"
#include "simulator/workloads/job_plan.h"

namespace thinsnap::workloads {

namespace {

// A little late, so that the clock has surely passed the time.
constexpr Duration kNextScheduleDelta = std::chrono::milliseconds(100);

class Planner {
 public:
  Planner(const Json& cron_job, const std::vector<Json>& jobs, WallTime now)
      : cron_job_(cron_job), jobs_(jobs), now_(now) {
    if (const Json* status = Find(cron_job, "status"); status != nullptr && status->is_object())
      plan_.status = *status;
    if (!plan_.status.is_object()) plan_.status = JsonObject();
  }

  CronPlan Run() {
    FollowJobs();
    Expire();
    if (!kube::IsDeleting(cron_job_)) Decide();
    return std::move(plan_);
  }

 private:
  void Emit(const char* type, const char* reason, std::string message) {
    plan_.events.push_back({type, reason, std::move(message)});
  }

  static bool Lists(const JsonArray& active, const Json& job) {
    return std::any_of(active.begin(), active.end(), [&](const Json& reference) {
      return StringAt(reference, "uid") == kube::UidOf(job);
    });
  }

  // Brings status.active and lastSuccessfulTime up to date.
  void FollowJobs() {
    JsonArray active = ArrayAt(plan_.status, "active");
    for (const Json& job : jobs_) {
      const bool listed = Lists(active, job);
      const bool finished = IsJobFinished(job);
      if (!listed && !finished) {
        // Made by hand, or by a run that ended before it wrote its status; the latter is taken in
        // by Decide.
        Emit("Warning", "UnexpectedJob",
             "Saw a job that the controller did not create or forgot: " + kube::NameOf(job));
      } else if (listed && finished) {
        EraseReference(active, kube::UidOf(job));
        Emit("Normal", "SawCompletedJob",
             "Saw completed job: " + kube::NameOf(job) +
                 ", condition: " + (IsJobComplete(job) ? "Complete" : "Failed"));
      }
      if (IsJobComplete(job)) NoteSuccess(job);
    }
    // What is listed and no longer there.
    for (auto reference = active.begin(); reference != active.end();) {
      const auto uid = StringAt(*reference, "uid");
      if (std::any_of(jobs_.begin(), jobs_.end(),
                      [&](const Json& job) { return kube::UidOf(job) == uid; })) {
        ++reference;
        continue;
      }
      Emit("Normal", "MissingJob", "Active job went missing: " + StringAt(*reference, "name"));
      reference = active.erase(reference);
    }
    SetActive(std::move(active));
  }

  void SetActive(JsonArray active) {
    if (active.empty()) {
      Remove(plan_.status, "active");
    } else {
      Set(plan_.status, "active", std::move(active));
    }
  }

  void NoteSuccess(const Json& job) {
    const auto ended = StringAt(job, "status.completionTime");
    // RFC 3339 in UTC sorts as text.
    if (ended > StringAt(plan_.status, "lastSuccessfulTime"))
      Set(plan_.status, "lastSuccessfulTime", Json(ended));
  }

  void Expire() {
    ExpireSome(IntAt(cron_job_, "spec.successfulJobsHistoryLimit", 3), true);
    ExpireSome(IntAt(cron_job_, "spec.failedJobsHistoryLimit", 1), false);
  }

  void ExpireSome(std::int64_t limit, bool successful) {
    std::vector<const Json*> ended;
    for (const Json& job : jobs_) {
      if (IsJobFinished(job) && IsJobComplete(job) == successful && !kube::IsDeleting(job))
        ended.push_back(&job);
    }
    std::sort(ended.begin(), ended.end(), [](const Json* a, const Json* b) {
      const auto key = [](const Json& job) {
        return std::pair(StringAt(job, "status.startTime"), kube::NameOf(job));
      };
      return key(*a) < key(*b);
    });
    for (std::size_t i = 0;
         i + static_cast<std::size_t>(std::max<std::int64_t>(limit, 0)) < ended.size(); ++i) {
      plan_.expired.push_back(*ended[i]);
    }
  }

  void Decide() {
    const auto zone_name = StringAt(cron_job_, "spec.timeZone");
    const auto zone = TimeZone::Find(zone_name);
    if (!zone.ok()) {
      return Emit("Warning", "UnknownTimeZone",
                  "invalid timeZone: \"" + zone_name + "\": " + zone.error().message());
    }
    if (BoolAt(cron_job_, "spec.suspend")) return;
    const auto text = StringAt(cron_job_, "spec.schedule");
    const auto schedule = CronSchedule::Parse(text, *zone);
    if (!schedule.ok()) {
      return Emit("Warning", "UnparseableSchedule",
                  "unparseable schedule: \"" + text + "\" : " + schedule.error().message());
    }
    const auto scheduled = MostRecent(*schedule);
    if (const auto next = schedule->Next(now_)) plan_.again = *next - now_ + kNextScheduleDelta;
    if (scheduled) Launch(*scheduled);
  }

  // The last time of the schedule that is due and not yet done.
  std::optional<WallTime> MostRecent(const CronSchedule& schedule) {
    auto earliest = placement::TimeAt(plan_.status, "lastScheduleTime");
    if (!earliest) earliest = placement::TimeAt(cron_job_, "metadata.creationTimestamp");
    if (!earliest) return std::nullopt;
    if (const auto deadline = StartingDeadline()) earliest = std::max(*earliest, now_ - *deadline);
    const auto first = schedule.Next(*earliest);
    if (!first || *first > now_) return std::nullopt;
    auto second = schedule.Next(*first);
    if (!second || *second > now_) return first;
    // Whole intervals are leapt over; the rest is walked, as the interval may not be constant.
    const Duration interval = *second - *first;
    const auto missed = (now_ - *first) / interval;
    if (missed > 100) {
      Emit("Warning", "TooManyMissedTimes",
           "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check "
           "clock skew");
    }
    WallTime last = *first;
    if (missed > 2) {
      if (const auto near = schedule.Next(now_ - 2 * interval - std::chrono::seconds(1));
          near && *near <= now_)
        last = *near;
    }
    for (auto next = schedule.Next(last); next && *next <= now_; next = schedule.Next(last))
      last = *next;
    return last;
  }

  std::optional<Duration> StartingDeadline() const {
    const Json* deadline = Find(cron_job_, "spec.startingDeadlineSeconds");
    if (deadline == nullptr || !deadline->is_int64()) return std::nullopt;
    return std::chrono::seconds(deadline->get_int64());
  }

  void Launch(WallTime scheduled) {
    const auto name = kube::NameOf(CronRun(cron_job_, scheduled));
    if (const auto deadline = StartingDeadline(); deadline && scheduled + *deadline < now_) {
      return Emit("Warning", "MissSchedule",
                  "Missed scheduled time to start a job: " + FormatRfc3339(scheduled));
    }
    JsonArray active = ArrayAt(plan_.status, "active");
    const auto is_this = [&](const Json& reference) { return StringAt(reference, "name") == name; };
    if (std::any_of(active.begin(), active.end(), is_this) ||
        StringAt(plan_.status, "lastScheduleTime") == FormatRfc3339(scheduled)) {
      return;
    }
    const auto policy = StringAt(cron_job_, "spec.concurrencyPolicy", "Allow");
    if (policy == "Forbid" && !active.empty()) {
      return Emit(
          "Normal", "JobAlreadyActive",
          "Not starting job because prior execution is running and concurrency policy is Forbid");
    }
    if (policy == "Replace") {
      for (const Json& job : jobs_) {
        if (Lists(active, job)) plan_.replaced.push_back(job);
      }
    }
    plan_.start = scheduled;
  }

  const Json& cron_job_;
  const std::vector<Json>& jobs_;
  const WallTime now_;
  CronPlan plan_;
};

}  // namespace

CronPlan PlanCronJob(const Json& cron_job, const std::vector<Json>& jobs, WallTime now) {
  return Planner(cron_job, jobs, now).Run();
}

Json CronRun(const Json& cron_job, WallTime scheduled) {
  Json job = kube::NewObject(kube::types::kJob, {kube::NamespaceOf(cron_job),
                                                 kube::NameOf(cron_job) + "-" +
                                                     std::to_string(UnixSeconds(scheduled) / 60)});
  for (const char* member : {"labels", "annotations"}) {
    if (const Json* value = Find(cron_job, std::string("spec.jobTemplate.metadata.") + member)) {
      Set(job, std::string("metadata.") + member, *value);
    }
  }
  if (const Json* spec = Find(cron_job, "spec.jobTemplate.spec")) Set(job, "spec", *spec);
  const auto zone = TimeZone::Find(StringAt(cron_job, "spec.timeZone"));
  kube::SetAnnotation(job, "batch.kubernetes.io/cronjob-scheduled-timestamp",
                      zone.ok() ? zone->Format(scheduled) : FormatRfc3339(scheduled));
  kube::AddOwnerReference(job, kube::OwnerReference(cron_job));
  return job;
}

void EraseReference(JsonArray& references, const std::string& uid) {
  for (auto reference = references.begin(); reference != references.end();) {
    reference = StringAt(*reference, "uid") == uid ? references.erase(reference) : reference + 1;
  }
}

Json JobReference(const Json& job) {
  return {{"kind", "Job"},
          {"namespace", kube::NamespaceOf(job)},
          {"name", kube::NameOf(job)},
          {"uid", kube::UidOf(job)},
          {"apiVersion", "batch/v1"},
          {"resourceVersion", kube::ResourceVersionOf(job)}};
}

}  // namespace thinsnap::workloads
