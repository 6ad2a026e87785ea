// Controller: the reconcile loop. Keys are queued once however often they are added, one worker has
// a key at a time, failures back off from 5 ms doubling to 5 minutes. Reconcile is level-based:
// read, plan, one small idempotent step.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <queue>
#include <set>
#include <string>

#include "base/core/guarded.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "base/kube/informer.h"

namespace thinsnap::kube {

// What Reconcile asks for: to be called again after a while, or not before something changes.
struct Requeue {
  std::optional<Duration> after;
  static Requeue Done() { return {}; }
  static Requeue After(Duration duration) { return {duration}; }
};

class Controller {
 public:
  // An Error is logged (kAborted, a lost race, only at debug level) and the key comes back with
  // backoff.
  using Reconcile = std::function<Result<Requeue>(const ObjectKey& key)>;

  Controller(Runtime& runtime, std::string name, Reconcile reconcile);

  // Each change of an object of the informer adds its own key, or those that `map` makes of it.
  void WatchOwn(Informer& informer);
  void WatchMapped(Informer& informer,
                   std::function<std::vector<ObjectKey>(const Json& object)> map);
  // The controller owner's key, where the owner is of this kind.
  void WatchOwned(Informer& informer, const std::string& owner_kind);

  void Add(const ObjectKey& key);
  void AddAfter(const ObjectKey& key, Duration delay);
  void Start(TaskGroup& group, int workers = 1);

 private:
  void Worker();
  Result<ObjectKey> Next();
  void Finish(const ObjectKey& key, const Result<Requeue>& outcome);

  Runtime& runtime_;
  const std::string name_;
  const Reconcile reconcile_;
  std::unique_ptr<EventCount> changed_;

  std::mutex mutex_;
  std::deque<ObjectKey> queue_ GUARDED_BY(mutex_);  // ready, in order
  std::set<ObjectKey> queued_ GUARDED_BY(mutex_);
  std::set<ObjectKey> running_ GUARDED_BY(mutex_);
  std::set<ObjectKey> dirty_ GUARDED_BY(mutex_);                         // added while running
  std::set<std::pair<MonoTime, ObjectKey>> delayed_ GUARDED_BY(mutex_);  // one for each key
  std::map<ObjectKey, MonoTime> delayed_until_ GUARDED_BY(mutex_);
  std::map<ObjectKey, int> failures_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::kube
