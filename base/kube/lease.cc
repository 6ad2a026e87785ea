#include "base/kube/lease.h"

#include <algorithm>
#include <atomic>

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

// One attempt. True when the Lease is ours.
Result<bool> TryAcquire(Runtime& runtime, KubeClient& client, const LeaseOptions& options,
                        Observed& observed) {
  const Result<Json> current = client.Get(types::kLease, options.key);
  if (current.Is(Code::kNotFound)) {
    const Result<Json> made =
        client.Create(types::kLease, LeaseObject(options, runtime.clock().Now(), nullptr));
    if (made.Is(Code::kAlreadyExists)) return false;
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
  if (taken.Is(Code::kAborted)) return false;
  if (!taken.ok()) return taken.error();
  return true;
}

// Keeps the Lease until the group is stopped or one duration passed without a renewal.
void KeepRenewing(Runtime& runtime, KubeClient& client, const LeaseOptions& options,
                  TaskGroup& work, std::atomic<bool>& lost) {
  MonoTime renewed = runtime.clock().MonoNow();
  Observed observed;
  while (runtime.SleepFor(options.renew_every).ok()) {
    const Result<bool> outcome = TryAcquire(runtime, client, options, observed);
    const MonoTime now = runtime.clock().MonoNow();
    if (outcome.ok() && *outcome) {
      renewed = now;
      continue;
    }
    // Another holder, or an API server that has not answered for as long as the Lease lasts.
    if (outcome.ok() || now - renewed >= options.duration) {
      LogWarning("lease", options.key.ToString() + " was lost");
      lost = true;
      work.Stop();
      return;
    }
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

Status RunWithLease(Runtime& runtime, KubeClient& client, TaskGroup& parent,
                    const LeaseOptions& options,
                    const std::function<Status(TaskGroup& group)>& lead) {
  Observed observed;
  for (;;) {
    TRY(Runtime::CheckCancelled());
    const Result<bool> ours = TryAcquire(runtime, client, options, observed);
    if (ours.ok() && *ours) break;
    if (!ours.ok()) LogDebug("lease", options.key.ToString() + ": " + ours.error().ToString());
    TRY(runtime.SleepFor(std::min<Duration>(options.renew_every, std::chrono::seconds(2))));
  }

  std::atomic<bool> lost{false};
  Status outcome;
  {
    TaskGroup work(runtime, &parent);
    TaskGroup renewing(runtime, &parent);
    renewing.Spawn("lease", [&] { KeepRenewing(runtime, client, options, work, lost); });
    work.Spawn("lead", [&] {
      outcome = lead(work);
      renewing.Stop();
    });
    renewing.Join();
    work.Stop();
    work.Join();
  }
  if (lost) return Error(Code::kAborted, "lost the Lease " + options.key.ToString());
  Release(runtime, client, options);
  return outcome;
}

}  // namespace thinsnap::kube
