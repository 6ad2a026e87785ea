#include "simulator/workloads/job_plan.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "base/kube/object.h"
#include "simulator/placement/pod_state.h"
#include "simulator/workloads/job_policy.h"

namespace thinsnap::workloads {

namespace {

constexpr Duration kMaxBackoff = std::chrono::minutes(10);

// status.conditions of a Job, which have no observedGeneration and know lastProbeTime.
bool HasCondition(const Json& job, std::string_view type) { return kube::ConditionIs(job, type); }

void SetJobCondition(Json& job, const char* type, bool value, const std::string& reason,
                     const std::string& message, WallTime now) {
  const char* text = value ? "True" : "False";
  JsonArray conditions = ArrayAt(job, "status.conditions");
  const auto stamp = FormatRfc3339(now);
  Json condition{{"type", type},           {"status", text},
                 {"lastProbeTime", stamp}, {"lastTransitionTime", stamp},
                 {"reason", reason},       {"message", message}};
  for (Json& present : conditions) {
    if (StringAt(present, "type") != type) continue;
    if (StringAt(present, "status") == text) return;
    present = std::move(condition);
    Set(job, "status.conditions", std::move(conditions));
    return;
  }
  conditions.push_back(std::move(condition));
  Set(job, "status.conditions", std::move(conditions));
}

std::set<std::string> UidsAt(const Json& job, std::string_view path) {
  std::set<std::string> uids;
  for (const Json& uid : ArrayAt(job, path)) {
    if (uid.is_string()) uids.emplace(uid.get_string());
  }
  return uids;
}

int IndexOf(const Json& pod) {
  const auto text = kube::AnnotationOf(pod, kCompletionIndex);
  int index = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  return error == std::errc() && end == text.data() + text.size() ? index : -1;
}

JsonArray ToArray(const std::set<std::string>& uids) {
  JsonArray array;
  for (const auto& uid : uids) array.emplace_back(uid);
  return array;
}

class Planner {
 public:
  Planner(const Json& job, const std::vector<Json>& pods, WallTime now, Duration base_backoff)
      : job_(job), pods_(pods), now_(now), base_backoff_(base_backoff) {
    deleting_ = kube::IsDeleting(job);
    suspended_ = BoolAt(job, "spec.suspend");
    indexed_ = StringAt(job, "spec.completionMode") == "Indexed";
    const Json* completions = Find(job, "spec.completions");
    if (completions != nullptr && completions->is_int64()) completions_ = completions->get_int64();
    replace_failed_only_ = StringAt(job, "spec.podReplacementPolicy") == "Failed" ||
                           FindObject(job, "spec.podFailurePolicy") != nullptr;
  }

  JobPlan Run() {
    if (IsJobFinished(job_)) {
      ReleaseAll();
      plan_.status = StatusOf(job_);
      return std::move(plan_);
    }
    Start();
    Count();
    Judge();
    if (!deleting_) Manage();
    Report();
    return std::move(plan_);
  }

 private:
  static Json StatusOf(const Json& job) {
    const Json* status = Find(job, "status");
    return status != nullptr && status->is_object() ? *status : Json(JsonObject());
  }

  bool IsLost(const Json& pod) const {
    // A pod that is going counts as failed at once, unless the Job replaces only what has ended.
    return placement::IsFailed(pod) ||
           (!replace_failed_only_ && kube::IsDeleting(pod) && !placement::IsSucceeded(pod));
  }

  void Start() {
    if (deleting_) return;
    if (suspended_) return;
    if (StringAt(job_, "status.startTime").empty())
      Set(job_, "status.startTime", Json(FormatRfc3339(now_)));
  }

  void ReleaseAll() {
    for (const Json& pod : pods_) {
      if (kube::HasFinalizer(pod, kJobTracking)) plan_.release.push_back(pod);
    }
  }

  // Two-phase counting; see the head of the header.
  void Count() {
    succeeded_ = IntAt(job_, "status.succeeded");
    failed_ = IntAt(job_, "status.failed");
    uncounted_succeeded_ = UidsAt(job_, "status.uncountedTerminatedPods.succeeded");
    uncounted_failed_ = UidsAt(job_, "status.uncountedTerminatedPods.failed");
    for (const int index : ParseIndexes(StringAt(job_, "status.completedIndexes")))
      completed_.insert(index);

    std::set<std::string> held;  // pods that still have the finalizer
    for (const Json& pod : pods_) {
      if (kube::HasFinalizer(pod, kJobTracking)) held.insert(kube::UidOf(pod));
    }
    const auto settle = [&](std::set<std::string>& uids, std::int64_t& counter) {
      for (auto uid = uids.begin(); uid != uids.end();) {
        if (held.contains(*uid)) {
          ++uid;
        } else {
          ++counter;
          uid = uids.erase(uid);
        }
      }
    };
    settle(uncounted_succeeded_, succeeded_);
    settle(uncounted_failed_, failed_);

    for (const Json& pod : pods_) {
      const auto uid = kube::UidOf(pod);
      if (!held.contains(uid)) continue;
      if (placement::IsSucceeded(pod)) {
        const int index = IndexOf(pod);
        if (indexed_ &&
            (index < 0 || (completions_ && index >= *completions_) || completed_.contains(index))) {
          // Of a smaller or earlier Job, or a second success of an index: not counted.
        } else {
          uncounted_succeeded_.insert(uid);
          if (indexed_) completed_.insert(index);
        }
        plan_.release.push_back(pod);
      } else if (IsLost(pod)) {
        if (uncounted_failed_.contains(uid) ||
            JudgePodFailure(job_, pod).action != PodFailureAction::kIgnore) {
          uncounted_failed_.insert(uid);
        }
        plan_.release.push_back(pod);
      }
    }
    all_succeeded_ = succeeded_ + static_cast<std::int64_t>(uncounted_succeeded_.size());
    all_failed_ = failed_ + static_cast<std::int64_t>(uncounted_failed_.size());

    for (const Json& pod : pods_) {
      if (placement::IsActive(pod)) active_.push_back(&pod);
      if (!placement::IsTerminal(pod) && kube::IsDeleting(pod)) ++terminating_;
    }
  }

  void Fail(const std::string& reason, const std::string& message) {
    if (!HasCondition(job_, "FailureTarget"))
      SetJobCondition(job_, "FailureTarget", true, reason, message, now_);
  }

  // Decides whether the Job has met its end; the end itself waits for its pods.
  void Judge() {
    if (HasCondition(job_, "FailureTarget") || HasCondition(job_, "SuccessCriteriaMet")) return;
    for (const Json& pod : pods_) {
      if (!placement::IsFailed(pod) || !kube::HasFinalizer(pod, kJobTracking)) continue;
      const auto verdict = JudgePodFailure(job_, pod);
      if (verdict.action == PodFailureAction::kFailJob)
        return Fail("PodFailurePolicy", verdict.message);
    }
    const auto limit = IntAt(job_, "spec.backoffLimit", 6);
    if (all_failed_ > limit || Restarts() > limit) {
      return Fail("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    const Json* deadline = Find(job_, "spec.activeDeadlineSeconds");
    const auto started = placement::TimeAt(job_, "status.startTime");
    if (deadline != nullptr && deadline->is_int64() && started && !suspended_) {
      const auto end = *started + std::chrono::seconds(deadline->get_int64());
      if (end <= now_)
        return Fail("DeadlineExceeded", "Job was active longer than specified deadline");
      Again(end - now_);
    }
    const bool done =
        completions_ ? all_succeeded_ >= *completions_ : all_succeeded_ > 0 && active_.empty();
    if (done && !(suspended_ && completions_ && *completions_ > 0 && all_succeeded_ == 0)) {
      SetJobCondition(job_, "SuccessCriteriaMet", true, "CompletionsReached",
                      "Reached expected number of succeeded pods", now_);
    }
  }

  // Container restarts count against the limit where pods restart their containers themselves; a
  // limit of 0 allows none, a limit of n fewer than n.
  std::int64_t Restarts() const {
    if (StringAt(job_, "spec.template.spec.restartPolicy") != "OnFailure") return 0;
    std::int64_t restarts = 0;
    for (const Json& pod : pods_) {
      if (placement::IsTerminal(pod)) continue;
      for (const char* list : {"status.initContainerStatuses", "status.containerStatuses"}) {
        for (const Json& container : ArrayAt(pod, list))
          restarts += IntAt(container, "restartCount");
      }
    }
    const auto limit = IntAt(job_, "spec.backoffLimit", 6);
    return restarts > 0 && restarts >= limit ? limit + 1 : 0;
  }

  void Manage() {
    const bool ending =
        HasCondition(job_, "FailureTarget") || HasCondition(job_, "SuccessCriteriaMet");
    if (ending || suspended_) {
      for (const Json* pod : active_) Dismiss(*pod, ending);
      terminating_ += static_cast<std::int64_t>(active_.size());
      active_.clear();
    }
    if (ending) return Finish();
    if (suspended_) {
      if (!HasCondition(job_, "Suspended")) {
        SetJobCondition(job_, "Suspended", true, "JobSuspended", "Job suspended", now_);
        plan_.events.push_back({"Normal", "Suspended", "Job suspended"});
      }
      Remove(job_, "status.startTime");
      return;
    }
    if (HasCondition(job_, "Suspended")) {
      SetJobCondition(job_, "Suspended", false, "JobResumed", "Job resumed", now_);
      Set(job_, "status.startTime", Json(FormatRfc3339(now_)));
      plan_.events.push_back({"Normal", "Resumed", "Job resumed"});
    }
    Scale();
  }

  // A pod that the Job itself sends away counts as failed when the Job ends, and not at all
  // otherwise.
  void Dismiss(const Json& pod, bool counts) {
    if (!counts && kube::HasFinalizer(pod, kJobTracking)) plan_.release.push_back(pod);
    plan_.remove.push_back(pod);
  }

  void Finish() {
    // Everything that ran has ended and was counted.
    if (terminating_ > 0 || !uncounted_succeeded_.empty() || !uncounted_failed_.empty() ||
        !plan_.release.empty())
      return;
    if (const Json* failure = kube::FindCondition(job_, "FailureTarget");
        failure != nullptr && HasCondition(job_, "FailureTarget")) {
      const auto reason = StringAt(*failure, "reason");
      const auto message = StringAt(*failure, "message");
      SetJobCondition(job_, "Failed", true, reason, message, now_);
      plan_.events.push_back({"Warning", reason, message});
      return;
    }
    SetJobCondition(job_, "Complete", true, "CompletionsReached",
                    "Reached expected number of succeeded pods", now_);
    Set(job_, "status.completionTime", Json(FormatRfc3339(now_)));
    plan_.events.push_back({"Normal", "Completed", "Job completed"});
  }

  std::int64_t Wanted() const {
    const auto parallelism = IntAt(job_, "spec.parallelism", 1);
    if (!completions_) {
      // A work queue: once one pod succeeded no new ones start, and the others end by themselves.
      return all_succeeded_ > 0 ? static_cast<std::int64_t>(active_.size()) : parallelism;
    }
    return std::max<std::int64_t>(0, std::min(parallelism, *completions_ - all_succeeded_));
  }

  void Scale() {
    const auto active = static_cast<std::int64_t>(active_.size());
    const auto wanted = Wanted();
    if (active > wanted) {
      // Those that have got least far go first.
      std::stable_sort(active_.begin(), active_.end(), [](const Json* a, const Json* b) {
        const auto rank = [](const Json& pod) {
          return placement::NodeOf(pod).empty() ? 0 : placement::IsReady(pod) ? 2 : 1;
        };
        return rank(*a) < rank(*b);
      });
      for (std::int64_t i = 0; i < active - wanted; ++i)
        Dismiss(*active_[static_cast<std::size_t>(i)], false);
      return;
    }
    // With replacement of failed pods only, those on their way out hold their place.
    const auto room = wanted - active - (replace_failed_only_ ? terminating_ : 0);
    if (room <= 0) return;
    if (const auto wait = Backoff(); wait > Duration::zero()) return Again(wait);
    if (!indexed_) {
      plan_.create.assign(static_cast<std::size_t>(std::min<std::int64_t>(room, 500)), -1);
      return;
    }
    std::set<int> taken = completed_;
    for (const Json* pod : active_) taken.insert(IndexOf(*pod));
    for (int index = 0; completions_ && index < *completions_; ++index) {
      if (static_cast<std::int64_t>(plan_.create.size()) >= std::min<std::int64_t>(room, 500))
        break;
      if (!taken.contains(index)) plan_.create.push_back(index);
    }
  }

  // Doubles with each failure since the last success, from the end of the last failed pod.
  Duration Backoff() const {
    std::optional<WallTime> last_success, last_failure;
    for (const Json& pod : pods_) {
      if (placement::IsSucceeded(pod) &&
          (!last_success || *last_success < placement::FinishTime(pod)))
        last_success = placement::FinishTime(pod);
    }
    int failures = 0;
    for (const Json& pod : pods_) {
      if (!placement::IsFailed(pod) || (last_success && placement::FinishTime(pod) < *last_success))
        continue;
      ++failures;
      if (!last_failure || *last_failure < placement::FinishTime(pod))
        last_failure = placement::FinishTime(pod);
    }
    if (failures == 0) return Duration::zero();
    Duration wait = base_backoff_;
    for (int i = 1; i < failures && wait < kMaxBackoff; ++i) wait *= 2;
    return std::max(Duration::zero(), *last_failure + std::min(wait, kMaxBackoff) - now_);
  }

  void Again(Duration wait) {
    if (!plan_.again || *plan_.again > wait) plan_.again = wait;
  }

  void Report() {
    const auto set_count = [&](const char* path, std::int64_t count) {
      if (count > 0) {
        Set(job_, path, count);
      } else {
        Remove(job_, path);
      }
    };
    const auto ready = std::count_if(active_.begin(), active_.end(),
                                     [](const Json* pod) { return placement::IsReady(*pod); });
    set_count("status.active", static_cast<std::int64_t>(active_.size()));
    set_count("status.succeeded", succeeded_);
    set_count("status.failed", failed_);
    Set(job_, "status.ready", static_cast<std::int64_t>(ready));
    Set(job_, "status.terminating", terminating_);
    Json uncounted = JsonObject();
    if (!uncounted_succeeded_.empty()) Set(uncounted, "succeeded", ToArray(uncounted_succeeded_));
    if (!uncounted_failed_.empty()) Set(uncounted, "failed", ToArray(uncounted_failed_));
    Set(job_, "status.uncountedTerminatedPods", std::move(uncounted));
    if (indexed_ && !completed_.empty()) {
      Set(job_, "status.completedIndexes",
          Json(FormatIndexes({completed_.begin(), completed_.end()})));
    }
    plan_.status = StatusOf(job_);
  }

  Json job_;  // its status is what becomes the plan's
  const std::vector<Json>& pods_;
  const WallTime now_;
  const Duration base_backoff_;
  bool deleting_ = false, suspended_ = false, indexed_ = false, replace_failed_only_ = false;
  std::optional<std::int64_t> completions_;

  std::int64_t succeeded_ = 0, failed_ = 0, all_succeeded_ = 0, all_failed_ = 0, terminating_ = 0;
  std::set<std::string> uncounted_succeeded_, uncounted_failed_;
  std::set<int> completed_;
  std::vector<const Json*> active_;
  JobPlan plan_;
};

}  // namespace

JobPlan PlanJob(const Json& job, const std::vector<Json>& pods, WallTime now,
                Duration base_backoff) {
  return Planner(job, pods, now, base_backoff).Run();
}

bool IsJobComplete(const Json& job) { return HasCondition(job, "Complete"); }
bool IsJobFinished(const Json& job) { return IsJobComplete(job) || HasCondition(job, "Failed"); }

std::string FormatIndexes(const std::vector<int>& sorted) {
  std::string text;
  for (std::size_t first = 0; first < sorted.size();) {
    std::size_t last = first;
    while (last + 1 < sorted.size() && sorted[last + 1] == sorted[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(sorted[first]);
    // Two neighbours are listed, three or more are a range, as upstream writes it.
    if (last > first) text += (last == first + 1 ? "," : "-") + std::to_string(sorted[last]);
    first = last + 1;
  }
  return text;
}

std::vector<int> ParseIndexes(std::string_view text) {
  std::vector<int> indexes;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const auto part = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const auto dash = part.find('-');
    int first = 0, last = 0;
    const auto head = part.substr(0, dash);
    if (std::from_chars(head.data(), head.data() + head.size(), first).ec != std::errc()) continue;
    last = first;
    if (dash != std::string_view::npos) {
      const auto tail = part.substr(dash + 1);
      if (std::from_chars(tail.data(), tail.data() + tail.size(), last).ec != std::errc()) continue;
    }
    for (int index = first; index <= last; ++index) indexes.push_back(index);
  }
  return indexes;
}

Json JobPod(const Json& job, int index, std::string_view name_suffix) {
  const Json* pod_template = Find(job, "spec.template");
  Json pod = placement::PodFromTemplate(pod_template == nullptr ? Json() : *pod_template, job);
  const auto job_name = kube::NameOf(job);
  const auto uid = kube::UidOf(job);
  for (const char* key : {"batch.kubernetes.io/job-name", "job-name"})
    kube::SetLabel(pod, key, job_name);
  for (const char* key : {"batch.kubernetes.io/controller-uid", "controller-uid"})
    kube::SetLabel(pod, key, uid);
  kube::AddFinalizer(pod, kJobTracking);
  std::string name = job_name.substr(0, 57) + "-";
  if (index >= 0) {
    const auto number = std::to_string(index);
    name = job_name.substr(0, 56 - number.size()) + "-" + number + "-";
    kube::SetAnnotation(pod, kCompletionIndex, number);
    kube::SetLabel(pod, kCompletionIndex, number);
    if (StringAt(pod, "spec.hostname").empty())
      Set(pod, "spec.hostname", Json(job_name + "-" + number));
    for (const char* list : {"spec.initContainers", "spec.containers"}) {
      Json* containers = FindMutable(pod, list);
      if (containers == nullptr || !containers->is_array()) continue;
      for (Json& container : containers->get_array()) {
        JsonArray env = ArrayAt(container, "env");
        env.emplace_back(Json{{"name", "JOB_COMPLETION_INDEX"}, {"value", number}});
        Set(container, "env", std::move(env));
      }
    }
  }
  Set(pod, "metadata.name", Json(name + std::string(name_suffix)));
  return pod;
}

}  // namespace thinsnap::workloads
