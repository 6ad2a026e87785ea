#include "base/net/worker_pool.h"

namespace thinsnap::net {

void WorkerPool::Post(std::function<void()> job) {
  std::shared_ptr<Worker> worker;
  bool start = false;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return;
    if (!idle_.empty()) {
      worker = std::move(idle_.back());
      idle_.pop_back();
      worker->job = std::move(job);
    } else if (started_ < max_workers_) {
      ++started_;
      start = true;
      worker = std::make_shared<Worker>();
      worker->job = std::move(job);
    } else {
      waiting_.push_back(std::move(job));
    }
  }
  if (start) {
    worker->wake = runtime_.NewEventCount();
    group_.Spawn(name_, [this, worker] { Work(worker); });
  } else if (worker != nullptr) {
    worker->wake->Notify();
  }
}

void WorkerPool::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  group_.Stop();
}

void WorkerPool::Work(const std::shared_ptr<Worker>& worker) {
  for (;;) {
    const auto seen = worker->wake->Seen();
    std::function<void()> job;
    {
      const std::lock_guard lock(mutex_);
      job = std::move(worker->job);
      worker->job = nullptr;
    }
    if (job) {
      job();
      job = nullptr;
      const std::lock_guard lock(mutex_);
      if (waiting_.empty()) {
        idle_.push_back(worker);
      } else {
        worker->job = std::move(waiting_.front());
        waiting_.pop_front();
      }
      continue;
    }
    if (worker->wake->Wait(seen).ok()) continue;
    const std::lock_guard lock(mutex_);
    if (!worker->job && stopped_) return;
  }
}

}  // namespace thinsnap::net
