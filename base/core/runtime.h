// Runtime: tasks and waiting. Code is written blocking and direct; every wait goes through here, so
// that it can be cancelled, and so that the simulator can run the same code on virtual time, one
// task at a time.
//
// Vocabulary
//   Task        a function running on a thread of its own, or on a fiber.
//   TaskGroup   tasks that are stopped together: a lost lease, a shutdown, a simulated kill.
//   EventCount  the one thing to wait on; channels and queues are built from it and a std::mutex.
//
// Rules: no std::mutex is held across a call into Runtime, EventCount::Wait or Channel. A
// kCancelled is passed up.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <source_location>
#include <string>
#include <utility>

#include "base/core/clock.h"
#include "base/core/result.h"

namespace thinsnap {

class Runtime;

// Wakes those who wait for something to change. The pattern, free of lost wake-ups:
//   for (;;) {
//     const auto seen = changed->Seen();
//     { std::lock_guard lock(mutex_); if (ready_) break; }
//     TRY(changed->Wait(seen));
//   }
// Thread-safe. Notify never blocks.
class EventCount {
 public:
  virtual ~EventCount() = default;
  virtual std::uint64_t Seen() = 0;
  virtual void Notify() = 0;
  // Returns OK once Notify was called after Seen() returned `seen`; kDeadlineExceeded at the
  // deadline; kCancelled when the calling task's group is stopped.
  virtual Status Wait(std::uint64_t seen, MonoTime deadline = kForever) = 0;
};

// Tasks that are stopped together. Stop() makes every present and later wait of its tasks return
// kCancelled; a child group is stopped with its parent. The destructor stops and joins.
class TaskGroup {
 public:
  explicit TaskGroup(Runtime& runtime, TaskGroup* parent = nullptr);
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Runs `body` as a task of this group. After Stop() it is not started. Where threads are scarce
  // it blocks until there is one or the group is stopped, and says so in the log.
  void Spawn(std::string name, std::function<void()> body);
  void Stop();
  bool stopped() const;
  // Blocks until its tasks returned and their threads ended. Not from one of its own tasks.
  void Join();
  // Called once, at Stop() (at once if already stopped), from the stopping thread: to break a
  // blocking system call. Returns a token; the callback is not called after the token is gone.
  using StopToken = std::shared_ptr<void>;
  StopToken OnStop(std::function<void()> callback);

  struct State;  // shared with the tasks; defined by the implementation
  State& state() { return *state_; }

 private:
  Runtime& runtime_;
  std::shared_ptr<State> state_;
};

class Runtime {
 public:
  virtual ~Runtime() = default;

  virtual Clock& clock() = 0;
  // Starts a task; called by TaskGroup::Spawn.
  virtual void Start(std::shared_ptr<TaskGroup::State> group, std::string name,
                     std::function<void()> body) = 0;
  // `where` names it to people.
  virtual std::unique_ptr<EventCount> NewEventCount(
      std::source_location where = std::source_location::current()) = 0;
  // kCancelled when the calling task's group is stopped.
  virtual Status SleepFor(Duration duration) = 0;
  // Blocks until the group has no task left; called by TaskGroup::Join.
  virtual void JoinTasks(TaskGroup::State& group) = 0;

  // True if the calling task's group is stopped: for loops that compute or block in the kernel.
  static bool Cancelled();
  // kCancelled if Cancelled().
  static Status CheckCancelled();
};

// The production runtime: one thread for each task.
class ThreadRuntime final : public Runtime {
 public:
  explicit ThreadRuntime(Clock& clock) : clock_(clock) {}

  Clock& clock() override { return clock_; }
  void Start(std::shared_ptr<TaskGroup::State> group, std::string name,
             std::function<void()> body) override;
  std::unique_ptr<EventCount> NewEventCount(
      std::source_location where = std::source_location::current()) override;
  Status SleepFor(Duration duration) override;
  void JoinTasks(TaskGroup::State& group) override;

 private:
  Clock& clock_;
};

// A bounded queue between tasks. Thread-safe. Whoever has received the last item may destroy it: it
// notifies under its mutex.
template <typename T>
class Channel {
 public:
  Channel(Runtime& runtime, std::size_t capacity,
          std::source_location where = std::source_location::current())
      : changed_(runtime.NewEventCount(where)), capacity_(capacity) {}

  // Waits while full. kFailedPrecondition after Close().
  Status Send(T item) {
    for (;;) {
      const auto seen = changed_->Seen();
      {
        std::lock_guard lock(mutex_);
        if (closed_) return Error(Code::kFailedPrecondition, "channel is closed");
        if (items_.size() < capacity_) {
          items_.push_back(std::move(item));
          changed_->Notify();
          return {};
        }
      }
      TRY(changed_->Wait(seen));
    }
  }

  // Waits while empty; nullopt once closed and drained.
  Result<std::optional<T>> Receive() {
    for (;;) {
      const auto seen = changed_->Seen();
      {
        std::lock_guard lock(mutex_);
        if (!items_.empty()) {
          std::optional<T> item = std::move(items_.front());
          items_.pop_front();
          changed_->Notify();
          return item;
        }
        if (closed_) return std::optional<T>();
      }
      TRY(changed_->Wait(seen));
    }
  }

  void Close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    changed_->Notify();
  }

 private:
  std::unique_ptr<EventCount> changed_;
  std::mutex mutex_;
  std::deque<T> items_;
  const std::size_t capacity_;
  bool closed_ = false;
};

}  // namespace thinsnap
