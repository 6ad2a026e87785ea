// BatonRuntime: tasks are threads, but only the one that holds the baton runs. At each wait a
// seeded choice decides who gets it next; when nobody can run, virtual time jumps to the next
// deadline. The same seed gives the same run.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/core/random.h"
#include "base/core/runtime.h"

namespace thinsnap {

// Starts at a fixed time and moves only when BatonRuntime says so.
class VirtualClock final : public Clock {
 public:
  WallTime Now() override;
  MonoTime MonoNow() override;

 private:
  friend class BatonRuntime;
  std::mutex mutex_;
  Duration elapsed_{0};
};

// All calls come from its tasks, except Run.
class BatonRuntime final : public Runtime {
 public:
  explicit BatonRuntime(std::uint64_t seed);
  ~BatonRuntime() override;

  // Runs `root` as the first task and returns when it and all other tasks have returned. Aborts
  // with the list of waiting tasks when nobody can run any more.
  void Run(std::function<void()> root);
  // Who ran when: one line for each time the baton was passed.
  const std::vector<std::string>& trace() const { return trace_; }

  Clock& clock() override { return clock_; }
  void Start(std::shared_ptr<TaskGroup::State> group, std::string name,
             std::function<void()> body) override;
  std::unique_ptr<EventCount> NewEventCount() override;
  Status SleepFor(Duration duration) override;
  void JoinTasks(TaskGroup::State& group) override;

 private:
  friend class BatonEventCount;
  struct Task;

  // Gives the baton away and returns when it comes back: the task was made ready or its deadline
  // passed.
  void Park(Task& task, MonoTime deadline);
  void MakeReady(Task& task);
  // Hands the baton to a ready task, moving time if need be; the caller holds mutex_.
  void PassBaton();
  void StartThread(const std::shared_ptr<Task>& task, std::function<void()> body);

  VirtualClock clock_;
  SeededRandom random_;
  std::unique_ptr<EventCount> task_ended_;

  std::mutex mutex_;
  std::condition_variable finished_;
  int alive_ = 0;
  std::vector<Task*> ready_;
  std::multimap<MonoTime, Task*> sleeping_;  // with a deadline
  std::vector<std::shared_ptr<Task>> tasks_;
  std::vector<std::string> trace_;
};

}  // namespace thinsnap
