// The Job controller: applies what PlanJob wants, in its order: status, finalizers, deletions,
// creations. Pods are listed afresh in every pass, so no memory of expected pods is needed.
#include <utility>

#include "simulator/controllers/parts.h"
#include "simulator/placement/pod_state.h"
#include "simulator/workloads/job_plan.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::Requeue;

class JobController final : public QueuePart {
 public:
  JobController(const Context& context, Duration pod_backoff)
      : QueuePart(context, "job-controller"), pod_backoff_(pod_backoff) {
    queue_.WatchOwn(For(types::kJob));
    queue_.WatchOwned(For(types::kPod), "Job");
  }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    auto found = client_.Get(types::kJob, key);
    if (found.Is(Code::kNotFound)) return ReleaseOrphans(key, "");
    const Json job = TRY(std::move(found));
    const auto uid = kube::UidOf(job);
    auto listed = TRY(client_.List(types::kPod, key.ns));
    std::vector<Json> pods;
    bool strangers = false;
    for (Json& pod : listed.items) {
      const Json* owner = kube::ControllerOf(pod);
      if (owner == nullptr || StringAt(*owner, "kind") != "Job") continue;
      if (StringAt(*owner, "uid") == uid) {
        pods.push_back(std::move(pod));
      } else if (StringAt(*owner, "name") == key.name) {
        strangers = true;
      }
    }
    // Pods of an earlier Job of this name hold finalizers that nobody else removes.
    if (strangers) TRY(ReleaseOrphans(key, uid));

    const workloads::JobPlan plan = workloads::PlanJob(job, pods, context_.Now(), pod_backoff_);
    return Apply(job, plan);
  }

  Result<Requeue> Apply(Json job, const workloads::JobPlan& plan) {
    const Json* status = Find(job, "status");
    bool changed = false;
    if (status == nullptr || *status != plan.status) {
      Set(job, "status", plan.status);
      const auto version = kube::ResourceVersionOf(job);
      job = TRY(client_.Update(types::kJob, job, "status"));
      changed = kube::ResourceVersionOf(job) != version;
    }
    for (const Json& pod : plan.release) {
      TRY(ReleasePod(pod));
      changed = true;
    }
    for (const workloads::JobEvent& event : plan.events)
      events_.Emit(job, event.type, event.reason, event.message);
    for (const Json& pod : plan.remove) {
      kube::DeleteOptions options;
      options.uid = kube::UidOf(pod);
      const auto deleted = client_.Delete(types::kPod, kube::KeyOf(pod), options);
      if (!deleted.ok() && !deleted.Is(Code::kNotFound)) return deleted.error();
      events_.Emit(job, "Normal", "SuccessfulDelete", "Deleted pod: " + kube::NameOf(pod));
    }
    for (const int index : plan.create) TRY(CreatePod(job, index));
    // What was written shapes the next step; the deletion of a pod may leave nothing that would
    // call us.
    if (changed || !plan.remove.empty()) queue_.Add(kube::KeyOf(job));
    return plan.again ? Requeue::After(*plan.again) : Requeue::Done();
  }

  Status CreatePod(const Json& job, int index) {
    auto created =
        client_.Create(types::kPod, workloads::JobPod(job, index, context_.random.NameSuffix(5)));
    if (!created.ok()) {
      events_.Emit(job, "Warning", "FailedCreate", "Error creating: " + created.error().message());
      return std::move(created).error();
    }
    events_.Emit(job, "Normal", "SuccessfulCreate", "Created pod: " + kube::NameOf(*created));
    return {};
  }

  Status ReleasePod(Json pod) {
    kube::RemoveFinalizer(pod, workloads::kJobTracking);
    auto updated = client_.Update(types::kPod, pod);
    if (!updated.ok() && !updated.Is(Code::kNotFound)) return std::move(updated).error();
    return {};
  }

  // Pods of Jobs of this name that are gone; `present` is the uid of the Job that is there, if any.
  Result<Requeue> ReleaseOrphans(const ObjectKey& key, const std::string& present) {
    const auto listed = TRY(client_.List(types::kPod, key.ns));
    for (const Json& pod : listed.items) {
      const Json* owner = kube::ControllerOf(pod);
      if (owner == nullptr || StringAt(*owner, "kind") != "Job" ||
          StringAt(*owner, "name") != key.name || StringAt(*owner, "uid") == present ||
          !kube::HasFinalizer(pod, workloads::kJobTracking)) {
        continue;
      }
      TRY(ReleasePod(pod));
    }
    return Requeue::Done();
  }

  const Duration pod_backoff_;
};

// Deletes finished Jobs ttlSecondsAfterFinished after their end.
class TtlAfterFinished final : public QueuePart {
 public:
  explicit TtlAfterFinished(const Context& context)
      : QueuePart(context, "ttl-after-finished-controller"), jobs_(For(types::kJob)) {
    queue_.WatchOwn(jobs_);
  }

 private:
  static std::optional<WallTime> Expiry(const Json& job) {
    const Json* ttl = Find(job, "spec.ttlSecondsAfterFinished");
    if (ttl == nullptr || !ttl->is_int64() || !workloads::IsJobFinished(job) ||
        kube::IsDeleting(job))
      return std::nullopt;
    const Json* end =
        kube::FindCondition(job, workloads::IsJobComplete(job) ? "Complete" : "Failed");
    if (end == nullptr) return std::nullopt;
    const auto time = placement::TimeAt(*end, "lastTransitionTime");
    if (!time) return std::nullopt;
    return *time + std::chrono::seconds(ttl->get_int64());
  }

  Result<Requeue> Reconcile(const ObjectKey& key) override {
    const auto cached = jobs_.Get(key);
    if (!cached) return Requeue::Done();
    auto expiry = Expiry(*cached);
    if (!expiry) return Requeue::Done();
    if (*expiry > context_.Now()) return Requeue::After(*expiry - context_.Now());
    // The limit may have been raised since.
    auto live = client_.Get(types::kJob, key);
    if (live.Is(Code::kNotFound)) return Requeue::Done();
    const Json job = TRY(std::move(live));
    expiry = Expiry(job);
    if (!expiry) return Requeue::Done();
    if (*expiry > context_.Now()) return Requeue::After(*expiry - context_.Now());
    kube::DeleteOptions options;
    options.propagation_policy = "Foreground";
    options.uid = kube::UidOf(job);
    options.resource_version = kube::ResourceVersionOf(job);
    const auto deleted = client_.Delete(types::kJob, key, options);
    if (!deleted.ok() && !deleted.Is(Code::kNotFound)) return deleted.error();
    return Requeue::Done();
  }

  kube::Informer& jobs_;
};

}  // namespace

std::unique_ptr<Part> MakeJobController(const Context& context, Duration pod_backoff) {
  return std::make_unique<JobController>(context, pod_backoff);
}

std::unique_ptr<Part> MakeTtlAfterFinished(const Context& context) {
  return std::make_unique<TtlAfterFinished>(context);
}

}  // namespace thinsnap::controllers
