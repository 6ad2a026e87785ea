// FiberRuntime: the runtime of tests and simulations. Tasks are fibers of one thread, so one runs
// at a time; at each wait a choice decides who runs next; when nobody can, virtual time jumps to
// the next deadline. The same choices give the same run, and trace_hash() tells whether they did.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <pthread.h>
#include <source_location>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/core/choices.h"
#include "base/core/runtime.h"
#include "base/core/virtual_clock.h"

namespace thinsnap {

class StackPool;

// All calls come from its tasks, or from the thread of Run before and after it.
class FiberRuntime final : public Runtime {
 public:
  explicit FiberRuntime(std::uint64_t seed);
  explicit FiberRuntime(Choices& choices);
  ~FiberRuntime() override;

  // Runs `root` as a task on the calling thread and returns when it and all other tasks have
  // returned. When all wait and no timer runs, or when a million turns pass without time moving,
  // the world is stuck: every wait from then on ends with kCancelled, so that the tasks return, and
  // the answer is kInternal and names who waited for what.
  Status Run(std::function<void()> root);

  // Of who ran when since the beginning, and of all notes.
  std::uint64_t trace_hash() const { return trace_hash_; }
  // The last lines of that, oldest first: time, number and name of the task. Ten thousand are kept.
  std::vector<std::string> LastLines(std::size_t most) const;
  // A line of its own in the trace.
  void Note(std::string_view text);
  // How often a task was resumed.
  std::uint64_t turns() const { return turns_; }

  VirtualClock& clock() override { return clock_; }
  void Start(std::shared_ptr<TaskGroup::State> group, std::string name,
             std::function<void()> body) override;
  std::unique_ptr<EventCount> NewEventCount(
      std::source_location where = std::source_location::current()) override;
  // Others may run meanwhile even if the duration is zero.
  Status SleepFor(Duration duration) override;
  void JoinTasks(TaskGroup::State& group) override;

 private:
  friend class FiberEventCount;
  struct Task;
  struct Line;
  // What stuck tasks are said to wait for: what this place made, or the end of a group.
  struct WaitsFor {
    const std::source_location* made_at = nullptr;
    const TaskGroup::State* end_of = nullptr;
  };
  // Who waits for one thing, in order of arrival. A task moves its one node from list to list.
  using Waiters = std::list<Task*>;
  // By deadline, then by age of the timer.
  using Timers = std::map<std::pair<MonoTime, std::uint64_t>, Task*>;

  // Of the calling task: others run until it is woken, its deadline comes, or, unless it joins, its
  // group is stopped.
  void Park(Waiters& waiters, MonoTime deadline, const WaitsFor& what);
  void Wake(Task& task);
  void WakeAll(Waiters& waiters);
  // kCancelled when the calling task should end.
  Status CheckGoesOn();

  // Who runs next; null when all tasks have returned.
  Task* Choose();
  void Turn(Task& task);
  void End(Task& task);
  // Makes those ready whose deadline comes next.
  bool AdvanceTime();
  void GiveUp(std::string why);
  std::string WhoWaits() const;
  void Mix(std::uint64_t word);
  void AddLine(TaskNumber task, std::string_view text);

  VirtualClock clock_;
  const std::unique_ptr<Choices> own_choices_;
  Choices& choices_;
  const std::unique_ptr<StackPool> stacks_;

  TaskNumber last_number_ = 0;
  std::list<Task> tasks_;
  std::vector<TaskNumber> ready_numbers_;
  std::vector<Task*> ready_;  // the same ones
  Timers timers_;
  std::uint64_t last_timer_ = 0;
  std::unordered_map<const TaskGroup::State*, Waiters> joiners_;
  Task* running_ = nullptr;
  std::optional<pthread_t> thread_;  // of Run
  std::optional<Error> stuck_;

  std::uint64_t turns_ = 0, turns_when_time_moved_ = 0;
  std::uint64_t trace_hash_ = 1, lines_ = 0;
  std::vector<Line> kept_;  // a ring of the last lines
};

}  // namespace thinsnap
