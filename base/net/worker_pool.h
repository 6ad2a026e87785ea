// WorkerPool: runs jobs that come from Asio's threads as Runtime tasks. Workers start when needed,
// the last to rest is the first to work again, and an idle one holds nothing but its stack.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/runtime.h"

namespace thinsnap::net {

class WorkerPool {
 public:
  WorkerPool(Runtime& runtime, std::string name, int workers)
      : runtime_(runtime), name_(std::move(name)), max_workers_(workers), group_(runtime) {}

  // Never blocks. Dropped once stopped.
  void Post(std::function<void()> job);
  // Cancels the waits of running jobs; what was posted before still runs.
  void Stop();
  void Join() { group_.Join(); }

 private:
  struct Worker {
    std::unique_ptr<EventCount> wake;
    std::function<void()> job;
  };

  void Work(const std::shared_ptr<Worker>& worker);

  Runtime& runtime_;
  const std::string name_;
  const int max_workers_;
  std::mutex mutex_;
  int started_ GUARDED_BY(mutex_) = 0;
  bool stopped_ GUARDED_BY(mutex_) = false;
  std::vector<std::shared_ptr<Worker>> idle_ GUARDED_BY(mutex_);
  std::deque<std::function<void()>> waiting_ GUARDED_BY(mutex_);
  TaskGroup group_;  // last: its tasks use the rest
};

}  // namespace thinsnap::net
