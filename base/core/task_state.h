// What a TaskGroup shares with its tasks: for implementations of Runtime only.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "base/core/guarded.h"
#include "base/core/runtime.h"

namespace thinsnap {

// Thread-safe.
struct TaskGroup::State : std::enable_shared_from_this<State> {
  // A registered callback. The recursive mutex makes removal wait for a call that is under way, and
  // lets the callback itself drop its token.
  struct StopCallback {
    std::recursive_mutex mutex;
    std::function<void()> function;
    std::list<std::shared_ptr<StopCallback>>::iterator place;  // until the group is stopped
  };

  StopToken AddStopCallback(std::function<void()> function);
  void Stop();
  bool stopped();

  std::mutex mutex;
  bool is_stopped GUARDED_BY(mutex) = false;
  int tasks = 0;  // started and not yet returned; kept by the Runtime
  // ThreadRuntime: the thread of the last task that returned. It joins the one before it.
  std::thread ended GUARDED_BY(mutex);
  std::list<std::shared_ptr<StopCallback>> callbacks GUARDED_BY(mutex);  // until it is stopped
  StopToken parent_link;  // stops this group with its parent
};

// The group of the task that runs on this thread; null outside of tasks.
std::shared_ptr<TaskGroup::State>& CurrentTaskGroup();

}  // namespace thinsnap
