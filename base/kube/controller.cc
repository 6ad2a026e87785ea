#include "base/kube/controller.h"

#include <algorithm>
#include <chrono>

#include "base/core/log.h"

namespace thinsnap::kube {
namespace {

constexpr Duration kFirstBackoff = std::chrono::milliseconds(5);
constexpr Duration kLongestBackoff = std::chrono::minutes(5);

Duration Backoff(int failures) {
  const int doublings = std::min(failures - 1, 20);
  return std::min<Duration>(kFirstBackoff * (1LL << doublings), kLongestBackoff);
}

}  // namespace

Controller::Controller(Runtime& runtime, std::string name, Reconcile reconcile)
    : runtime_(runtime),
      name_(std::move(name)),
      reconcile_(std::move(reconcile)),
      changed_(runtime.NewEventCount()) {}

void Controller::WatchOwn(Informer& informer) {
  informer.AddHandler([this](const ObjectPtr& old, const ObjectPtr& current) {
    Add(KeyOf(current != nullptr ? *current : *old));
  });
}

void Controller::WatchMapped(Informer& informer,
                             std::function<std::vector<ObjectKey>(const Json& object)> map) {
  informer.AddHandler([this, map = std::move(map)](const ObjectPtr& old, const ObjectPtr& current) {
    // Both states count: what the object pointed to before may have to change, too.
    if (old != nullptr) {
      for (const ObjectKey& key : map(*old)) Add(key);
    }
    if (current != nullptr) {
      for (const ObjectKey& key : map(*current)) Add(key);
    }
  });
}

void Controller::WatchOwned(Informer& informer, const std::string& owner_kind) {
  WatchMapped(informer, [owner_kind](const Json& object) -> std::vector<ObjectKey> {
    const Json* owner = ControllerOf(object);
    if (owner == nullptr || StringAt(*owner, "kind") != owner_kind) return {};
    return {{NamespaceOf(object), StringAt(*owner, "name")}};
  });
}

void Controller::Add(const ObjectKey& key) {
  {
    const std::lock_guard lock(mutex_);
    if (running_.contains(key)) {
      dirty_.insert(key);
      return;
    }
    if (!queued_.insert(key).second) return;
    queue_.push_back(key);
  }
  changed_->Notify();
}

void Controller::AddAfter(const ObjectKey& key, Duration delay) {
  if (delay <= Duration::zero()) {
    Add(key);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    const MonoTime due = runtime_.clock().MonoNow() + delay;
    // One timer for each key, the earliest: otherwise each pass that asks for another one adds to
    // them.
    const auto known = delayed_until_.find(key);
    if (known != delayed_until_.end()) {
      if (known->second <= due) return;
      delayed_.erase({known->second, key});
    }
    delayed_.insert({due, key});
    delayed_until_[key] = due;
  }
  changed_->Notify();
}

void Controller::Start(TaskGroup& group, int workers) {
  for (int i = 0; i < workers; ++i) group.Spawn(name_, [this] { Worker(); });
}

void Controller::Worker() {
  for (;;) {
    Result<ObjectKey> key = Next();
    if (!key.ok()) return;
    const Result<Requeue> outcome = reconcile_(*key);
    // Only a stop ends it: kCancelled may be somebody else's word.
    if (Runtime::Cancelled()) return;
    Finish(*key, outcome);
  }
}

Result<ObjectKey> Controller::Next() {
  for (;;) {
    const auto seen = changed_->Seen();
    MonoTime wake = kForever;
    {
      const std::lock_guard lock(mutex_);
      const MonoTime now = runtime_.clock().MonoNow();
      while (!delayed_.empty() && delayed_.begin()->first <= now) {
        const ObjectKey due = delayed_.begin()->second;
        delayed_.erase(delayed_.begin());
        delayed_until_.erase(due);
        if (running_.contains(due)) {
          dirty_.insert(due);
        } else if (queued_.insert(due).second) {
          queue_.push_back(due);
        }
      }
      if (!queue_.empty()) {
        ObjectKey key = queue_.front();
        queue_.pop_front();
        queued_.erase(key);
        running_.insert(key);
        return key;
      }
      if (!delayed_.empty()) wake = delayed_.begin()->first;
    }
    const Status waited = changed_->Wait(seen, wake);
    if (!waited.ok() && !waited.Is(Code::kDeadlineExceeded)) return waited.error();
  }
}

void Controller::Finish(const ObjectKey& key, const Result<Requeue>& outcome) {
  std::optional<Duration> again;
  {
    const std::lock_guard lock(mutex_);
    running_.erase(key);
    if (outcome.ok()) {
      failures_.erase(key);
      again = outcome->after;
    } else {
      again = Backoff(++failures_[key]);
    }
    if (dirty_.erase(key) != 0 && queued_.insert(key).second) queue_.push_back(key);
  }
  if (!outcome.ok()) {
    const LogLevel level = outcome.Is(Code::kAborted) ? LogLevel::kDebug : LogLevel::kWarning;
    Log(level, name_, key.ToString() + ": " + outcome.error().ToString());
  }
  if (again.has_value()) AddAfter(key, *again);
  changed_->Notify();
}

}  // namespace thinsnap::kube
