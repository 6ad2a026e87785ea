// The CronJob controller. Order of writes: the status as it is found, expired Jobs, replaced Jobs,
// the new Job, and the status with that Job. A crash between the last two leaves a Job whose name
// says that it is ours.
#include <utility>

#include "simulator/controllers/parts.h"
#include "simulator/workloads/cron_plan.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::Requeue;

class CronJobController final : public QueuePart {
 public:
  explicit CronJobController(const Context& context)
      : QueuePart(context, "cronjob-controller"), cron_jobs_(For(types::kCronJob)) {
    queue_.WatchOwn(cron_jobs_);
    queue_.WatchOwned(For(types::kJob), "CronJob");
  }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    if (!cron_jobs_.Get(key)) return Requeue::Done();
    auto live = client_.Get(types::kCronJob, key);
    if (live.Is(Code::kNotFound)) return Requeue::Done();
    Json cron_job = TRY(std::move(live));
    auto listed = TRY(client_.List(types::kJob, key.ns));
    std::vector<Json> jobs;
    for (Json& job : listed.items) {
      const Json* owner = kube::ControllerOf(job);
      if (owner != nullptr && StringAt(*owner, "uid") == kube::UidOf(cron_job))
        jobs.push_back(std::move(job));
    }
    const workloads::CronPlan plan = workloads::PlanCronJob(cron_job, jobs, context_.Now());
    cron_job = TRY(WriteStatus(std::move(cron_job), plan.status));
    for (const workloads::CronEvent& event : plan.events)
      events_.Emit(cron_job, event.type, event.reason, event.message);
    for (const Json& job : plan.expired) TRY(DeleteJob(cron_job, job));
    for (const Json& job : plan.replaced) TRY(DeleteJob(cron_job, job));
    if (plan.start) TRY(Launch(std::move(cron_job), *plan.start, plan.replaced));
    return plan.again ? Requeue::After(*plan.again) : Requeue::Done();
  }

  Result<Json> WriteStatus(Json cron_job, const Json& status) {
    const Json* present = Find(cron_job, "status");
    if (present != nullptr ? *present == status : status.as_object().empty()) return cron_job;
    Set(cron_job, "status", status);
    return client_.Update(types::kCronJob, cron_job, "status");
  }

  Status DeleteJob(const Json& cron_job, const Json& job) {
    kube::DeleteOptions options;
    options.propagation_policy = "Background";
    options.uid = kube::UidOf(job);
    const auto deleted = client_.Delete(types::kJob, kube::KeyOf(job), options);
    if (!deleted.ok() && !deleted.Is(Code::kNotFound)) {
      events_.Emit(cron_job, "Warning", "FailedDelete",
                   "Error deleting job: " + deleted.error().message());
      return deleted.error();
    }
    events_.Emit(cron_job, "Normal", "SuccessfulDelete", "Deleted job " + kube::NameOf(job));
    return {};
  }

  Status Launch(Json cron_job, WallTime scheduled, const std::vector<Json>& replaced) {
    Json run = workloads::CronRun(cron_job, scheduled);
    auto created = client_.Create(types::kJob, run);
    if (created.Is(Code::kAlreadyExists)) {
      // Ours from before a crash, or somebody else's: theirs stays, and the time counts as done by
      // it.
      created = client_.Get(types::kJob, kube::KeyOf(run));
      if (!created.ok()) return std::move(created).error();
      if (!kube::IsOwnedBy(*created, kube::UidOf(cron_job))) return {};
    } else if (!created.ok()) {
      events_.Emit(cron_job, "Warning", "FailedCreate",
                   "Error creating job: " + created.error().message());
      // A namespace on its way out takes no more Jobs.
      if (created.Is(Code::kPermissionDenied)) return {};
      return std::move(created).error();
    } else {
      events_.Emit(cron_job, "Normal", "SuccessfulCreate", "Created job " + kube::NameOf(*created));
    }
    const Json* status = Find(cron_job, "status");
    Json changed = status == nullptr ? Json(JsonObject()) : *status;
    JsonArray active = ArrayAt(changed, "active");
    for (const Json& job : replaced) workloads::EraseReference(active, kube::UidOf(job));
    active.push_back(workloads::JobReference(*created));
    Set(changed, "active", std::move(active));
    Set(changed, "lastScheduleTime", Json(FormatRfc3339(scheduled)));
    TRY(WriteStatus(std::move(cron_job), changed));
    return {};
  }

  kube::Informer& cron_jobs_;
};

}  // namespace

std::unique_ptr<Part> MakeCronJobController(const Context& context) {
  return std::make_unique<CronJobController>(context);
}

}  // namespace thinsnap::controllers
