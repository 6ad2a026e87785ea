// StopSignal: waits for the end of a group from a thread that need not be one of its tasks.
#pragma once

#include <memory>
#include <mutex>

#include "base/core/guarded.h"
#include "base/core/runtime.h"

namespace thinsnap::driver {

class StopSignal {
 public:
  StopSignal(Runtime& runtime, TaskGroup& group)
      : changed_(runtime.NewEventCount()), token_(group.OnStop([this] {
          {
            const std::lock_guard lock(mutex_);
            stopped_ = true;
          }
          changed_->Notify();
        })) {}

  void Wait() {
    for (;;) {
      const auto seen = changed_->Seen();
      {
        const std::lock_guard lock(mutex_);
        if (stopped_) return;
      }
      if (!changed_->Wait(seen).ok()) return;
    }
  }

 private:
  std::unique_ptr<EventCount> changed_;
  std::mutex mutex_;
  bool stopped_ GUARDED_BY(mutex_) = false;
  TaskGroup::StopToken token_;
};

}  // namespace thinsnap::driver
