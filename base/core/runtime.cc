#include "base/core/runtime.h"

#include <condition_variable>
#include <pthread.h>
#include <system_error>
#include <thread>

#include "base/core/log.h"
#include "base/core/task_state.h"

namespace thinsnap {
namespace {

Error Cancelled() { return Error(Code::kCancelled, "the task was stopped"); }

// Tasks of ThreadRuntime that are still running, by group: the condition on which Join waits.
std::mutex join_mutex;
std::condition_variable join_condition;

// Threads come back when others end.
constexpr Duration kPauseWithoutThread = std::chrono::milliseconds(100);

struct ThreadTask {
  ThreadTask(std::string a_name, std::function<void()> a_body)
      : name(std::move(a_name)), body(std::move(a_body)) {}
  const std::string name;
  std::function<void()> body;
  std::thread thread;
};

// False when the machine or the process has no thread left.
bool StartThread(const std::shared_ptr<TaskGroup::State>& group,
                 const std::shared_ptr<ThreadTask>& task) {
  const std::lock_guard start_lock(group->mutex);  // the task cannot return before `thread` is set
  try {
    task->thread = std::thread([group, task] {
      pthread_setname_np(pthread_self(), task->name.substr(0, 15).c_str());
      CurrentTaskGroup() = group;
      task->body();
      task->body = nullptr;  // what it captured goes before Join returns
      CurrentTaskGroup() = nullptr;
      std::thread before;
      {
        const std::lock_guard lock(join_mutex);
        const std::lock_guard state_lock(group->mutex);
        before = std::exchange(group->ended, std::move(task->thread));
        --group->tasks;
        join_condition.notify_all();
      }
      if (before.joinable()) before.join();
    });
  } catch (const std::system_error& error) {
    ASSERT(error.code() == std::errc::resource_unavailable_try_again);
    return false;
  }
  return true;
}

class ThreadEventCount final : public EventCount {
 public:
  explicit ThreadEventCount(Clock& clock) : clock_(clock) {}

  std::uint64_t Seen() override {
    const std::lock_guard lock(mutex_);
    return version_;
  }

  void Notify() override {
    {
      const std::lock_guard lock(mutex_);
      ++version_;
    }
    condition_.notify_all();
  }

  Status Wait(std::uint64_t seen, MonoTime deadline) override {
    const std::shared_ptr<TaskGroup::State> group = CurrentTaskGroup();
    TaskGroup::StopToken token;
    bool stopped = false;
    if (group != nullptr) {
      token = group->AddStopCallback([this, &stopped] {
        {
          const std::lock_guard lock(mutex_);
          stopped = true;
        }
        condition_.notify_all();
      });
    }
    // Unlocked before the token goes: its removal waits for a callback that wants this mutex.
    std::unique_lock lock(mutex_);
    while (version_ == seen && !stopped) {
      if (deadline == kForever) {
        condition_.wait(lock);
        continue;
      }
      const Duration left = deadline - clock_.MonoNow();
      if (left <= Duration::zero()) return Error(Code::kDeadlineExceeded, "waited in vain");
      condition_.wait_for(lock, left);
    }
    if (stopped) return Cancelled();
    return {};
  }

 private:
  Clock& clock_;
  std::mutex mutex_;
  std::condition_variable condition_;
  std::uint64_t version_ = 0;
};

}  // namespace

std::shared_ptr<TaskGroup::State>& CurrentTaskGroup() {
  thread_local std::shared_ptr<TaskGroup::State> current;
  return current;
}

TaskGroup::StopToken TaskGroup::State::AddStopCallback(std::function<void()> function) {
  auto callback = std::make_shared<StopCallback>();
  callback->function = std::move(function);
  // The token's deleter takes the callback out and disarms it, waiting for a call that is under
  // way.
  StopToken token(callback.get(), [callback, group = weak_from_this()](void*) {
    if (const auto state = group.lock()) {
      const std::lock_guard lock(state->mutex);
      if (!state->is_stopped) state->callbacks.erase(callback->place);
    }
    const std::lock_guard lock(callback->mutex);
    callback->function = nullptr;
  });
  bool already = false;
  {
    const std::lock_guard lock(mutex);
    already = is_stopped;
    if (!already) callback->place = callbacks.insert(callbacks.end(), callback);
  }
  if (already) callback->function();
  return token;
}

void TaskGroup::State::Stop() {
  std::list<std::shared_ptr<StopCallback>> to_call;
  {
    const std::lock_guard lock(mutex);
    if (is_stopped) return;
    is_stopped = true;
    to_call.swap(callbacks);
  }
  for (const auto& callback : to_call) {
    const std::lock_guard lock(callback->mutex);
    if (callback->function) callback->function();
  }
}

bool TaskGroup::State::stopped() {
  const std::lock_guard lock(mutex);
  return is_stopped;
}

TaskGroup::TaskGroup(Runtime& runtime, TaskGroup* parent)
    : runtime_(runtime), state_(std::make_shared<State>()) {
  if (parent == nullptr) return;
  state_->parent_link = parent->state_->AddStopCallback([weak = std::weak_ptr<State>(state_)] {
    if (const auto state = weak.lock()) state->Stop();
  });
}

TaskGroup::~TaskGroup() {
  Stop();
  Join();
}

void TaskGroup::Spawn(std::string name, std::function<void()> body) {
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->is_stopped) return;
    ++state_->tasks;
  }
  runtime_.Start(state_, std::move(name), std::move(body));
}

void TaskGroup::Stop() { state_->Stop(); }
bool TaskGroup::stopped() const { return state_->stopped(); }
void TaskGroup::Join() { runtime_.JoinTasks(*state_); }

TaskGroup::StopToken TaskGroup::OnStop(std::function<void()> callback) {
  return state_->AddStopCallback(std::move(callback));
}

bool Runtime::Cancelled() {
  const auto& group = CurrentTaskGroup();
  return group != nullptr && group->stopped();
}

Status Runtime::CheckCancelled() {
  if (Cancelled()) return ::thinsnap::Cancelled();
  return {};
}

// Each thread joins the one that ended before it, and Join the last: libraries clean up after a
// thread in its last moments (OpenSSL, the allocator), which may be neither while the process exits
// nor after what the thread used is gone.
void ThreadRuntime::Start(std::shared_ptr<TaskGroup::State> group, std::string name,
                          std::function<void()> body) {
  const auto task = std::make_shared<ThreadTask>(std::move(name), std::move(body));
  for (bool told = false; !StartThread(group, task); told = true) {
    if (!told) LogWarning("runtime", "there is no thread for " + task->name + ": it waits for one");
    // On behalf of the task, whose end alone ends the wait.
    auto current = group;
    current.swap(CurrentTaskGroup());
    const Status waited = SleepFor(kPauseWithoutThread);
    current.swap(CurrentTaskGroup());
    if (waited.ok()) continue;
    const std::lock_guard lock(join_mutex);
    const std::lock_guard state_lock(group->mutex);
    --group->tasks;
    join_condition.notify_all();
    return;
  }
}

std::unique_ptr<EventCount> ThreadRuntime::NewEventCount(std::source_location) {
  return std::make_unique<ThreadEventCount>(clock_);
}

Status ThreadRuntime::SleepFor(Duration duration) {
  ThreadEventCount never(clock_);
  Status waited = never.Wait(0, clock_.MonoNow() + duration);
  if (waited.Is(Code::kDeadlineExceeded)) return {};
  return waited;
}

void ThreadRuntime::JoinTasks(TaskGroup::State& group) {
  std::thread last;
  {
    std::unique_lock lock(join_mutex);
    join_condition.wait(lock, [&group, &last] {
      const std::lock_guard state_lock(group.mutex);
      if (group.tasks != 0) return false;
      last = std::move(group.ended);
      return true;
    });
  }
  if (last.joinable()) last.join();
}

}  // namespace thinsnap
