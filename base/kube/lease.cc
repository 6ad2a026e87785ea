#include "base/kube/lease.h"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/core/guarded.h"
#include "base/core/log.h"
#include "base/kube/object.h"

namespace thinsnap::kube {
namespace {

// What another holder last said, and when we saw it: its lease ends one of its durations after
// that, by our own clock.
struct Observed {
  std::string holder, renewed;
  MonoTime at;
};

Json LeaseObject(const LeaseOptions& options, WallTime now, const Json* previous) {
  Json lease = previous != nullptr ? *previous : NewObject(types::kLease, options.key);
  const bool same_holder = StringAt(lease, "spec.holderIdentity") == options.identity;
  if (!same_holder) {
    Set(lease, "spec.acquireTime", FormatRfc3339Micro(now).c_str());
    Set(lease, "spec.leaseTransitions", IntAt(lease, "spec.leaseTransitions", -1) + 1);
  }
  Set(lease, "spec.holderIdentity", options.identity.c_str());
  Set(lease, "spec.renewTime", FormatRfc3339Micro(now).c_str());
  Set(lease, "spec.leaseDurationSeconds",
      std::chrono::duration_cast<std::chrono::seconds>(options.duration).count());
  return lease;
}

// One attempt. True when the Lease is ours, false when somebody else holds it; kAborted when it
// changed meanwhile.
Result<bool> TryAcquire(Runtime& runtime, KubeClient& client, const LeaseOptions& options,
                        Observed& observed) {
  const Result<Json> current = client.Get(types::kLease, options.key);
  if (current.Is(Code::kNotFound)) {
    const Result<Json> made =
        client.Create(types::kLease, LeaseObject(options, runtime.clock().Now(), nullptr));
    if (!made.ok()) return made.error();
    return true;
  }
  if (!current.ok()) return current.error();
  const std::string holder = StringAt(*current, "spec.holderIdentity");
  if (!holder.empty() && holder != options.identity) {
    const std::string renewed = StringAt(*current, "spec.renewTime");
    const MonoTime now = runtime.clock().MonoNow();
    if (observed.holder != holder || observed.renewed != renewed) observed = {holder, renewed, now};
    const auto duration = std::chrono::seconds(IntAt(*current, "spec.leaseDurationSeconds", 15));
    if (now - observed.at < duration) return false;
  }
  const Result<Json> taken =
      client.Update(types::kLease, LeaseObject(options, runtime.clock().Now(), &*current));
  if (!taken.ok()) return taken.error();
  return true;
}

// How long we count on a Lease after its renewal was sent.
Duration Term(const LeaseOptions& options) { return options.duration * 4 / 5; }

Duration RetryPause(const LeaseOptions& options) {
  return std::min<Duration>(options.renew_every, std::chrono::seconds(2));
}

// What a request, or a few in a row, may take: so that one without an answer leaves time for
// another.
Duration RequestLimit(const LeaseOptions& options) {
  return (Term(options) - options.renew_every) / 2;
}

// Runs `requests` as a task that is stopped after the limit or when the caller is stopped: false.
bool RunLimited(Runtime& runtime, const LeaseOptions& options,
                const std::function<void()>& requests) {
  const auto done = runtime.NewEventCount();
  const auto seen = done->Seen();
  TaskGroup group(runtime);
  group.Spawn("lease-request", [&] {
    requests();
    done->Notify();
  });
  return done->Wait(seen, runtime.clock().MonoNow() + RequestLimit(options)).ok();
}

Result<bool> TryAcquireLimited(Runtime& runtime, KubeClient& client, const LeaseOptions& options,
                               Observed& observed) {
  Result<bool> outcome = Error(Code::kCancelled, "the task was stopped");
  const bool in_time = RunLimited(
      runtime, options, [&] { outcome = TryAcquire(runtime, client, options, observed); });
  TRY(Runtime::CheckCancelled());
  if (!in_time && outcome.Is(Code::kCancelled)) {
    return Error(Code::kDeadlineExceeded,
                 "no answer within " + FormatDuration(RequestLimit(options)));
  }
  return outcome;
}

// The time for which the Lease is ours. Thread-safe.
class Tenure {
 public:
  Tenure(Duration term, MonoTime renewed) : term_(term), ends_(renewed + term) {}

  MonoTime ends() const {
    const std::lock_guard lock(mutex_);
    return ends_;
  }
  void Renew(MonoTime renewed) {
    const std::lock_guard lock(mutex_);
    ends_ = renewed + term_;
  }

 private:
  const Duration term_;
  mutable std::mutex mutex_;
  MonoTime ends_ GUARDED_BY(mutex_);
};

// Renews until the task is stopped. Returns earlier when somebody else holds the Lease.
void KeepRenewing(Runtime& runtime, KubeClient& client, const LeaseOptions& options,
                  Tenure& tenure) {
  Observed observed;
  Duration pause = options.renew_every;
  while (runtime.SleepFor(pause).ok()) {
    const MonoTime sent = runtime.clock().MonoNow();
    const Result<bool> outcome = TryAcquireLimited(runtime, client, options, observed);
    if (outcome.ok() && !*outcome) return;
    if (outcome.ok()) tenure.Renew(sent);
    pause = outcome.ok() ? options.renew_every : RetryPause(options);
    if (!outcome.ok())
      LogDebug("lease", options.key.ToString() + ": " + outcome.error().ToString());
  }
}

// Returns when the tenure has ended or the task is stopped.
void AwaitEnd(Runtime& runtime, const Tenure& tenure) {
  for (;;) {
    const Duration left = tenure.ends() - runtime.clock().MonoNow();
    if (left <= Duration::zero() || !runtime.SleepFor(left).ok()) return;
  }
}

void Release(Runtime& runtime, KubeClient& client, const LeaseOptions& options) {
  Result<Json> current = client.Get(types::kLease, options.key);
  if (!current.ok() || StringAt(*current, "spec.holderIdentity") != options.identity) return;
  Set(*current, "spec.holderIdentity", "");
  Set(*current, "spec.renewTime", FormatRfc3339Micro(runtime.clock().Now()).c_str());
  // Not released is released one duration later.
  static_cast<void>(client.Update(types::kLease, *current));
}

}  // namespace

Status RunWithLease(Runtime& runtime, KubeClient& client, TaskGroup& parent, TaskGroup& farewell,
                    const LeaseOptions& options,
                    const std::function<Status(TaskGroup& group)>& lead) {
  ASSERT(options.renew_every < Term(options));
  Observed observed;
  MonoTime sent{};
  for (;;) {
    TRY(Runtime::CheckCancelled());
    sent = runtime.clock().MonoNow();
    const Result<bool> ours = TryAcquireLimited(runtime, client, options, observed);
    if (ours.ok() && *ours) break;
    if (!ours.ok()) LogDebug("lease", options.key.ToString() + ": " + ours.error().ToString());
    TRY(runtime.SleepFor(RetryPause(options)));
  }

  Tenure tenure(Term(options), sent);
  std::atomic<bool> done{false};
  std::atomic<bool> lost{false};
  Status outcome = Error(Code::kCancelled, "the task was stopped");
  {
    TaskGroup work(runtime, &parent);
    TaskGroup keeping(runtime, &parent);
    // Either of the two ends the leadership: a renewal that finds another holder, and the time.
    const auto lose = [&] {
      if (Runtime::Cancelled() || done || lost.exchange(true)) return;
      LogWarning("lease", options.key.ToString() + " was lost");
      work.Stop();
    };
    keeping.Spawn("lease-renewal", [&] {
      KeepRenewing(runtime, client, options, tenure);
      lose();
    });
    keeping.Spawn("lease-term", [&] {
      AwaitEnd(runtime, tenure);
      lose();
    });
    work.Spawn("lead", [&] {
      outcome = lead(work);
      done = true;
      keeping.Stop();
    });
    work.Join();
  }
  if (lost) return Error(Code::kAborted, "lost the Lease " + options.key.ToString());
  // The calling task may be stopped, and could send nothing any more.
  TaskGroup releasing(runtime, &farewell);
  releasing.Spawn("lease-release", [&] {
    RunLimited(runtime, options, [&] { Release(runtime, client, options); });
  });
  releasing.Join();
  return outcome;
}

}  // namespace thinsnap::kube
