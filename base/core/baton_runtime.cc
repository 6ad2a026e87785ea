#include "base/core/baton_runtime.h"

#include <algorithm>
#include <cstdio>
#include <thread>

#include "base/core/task_state.h"

namespace thinsnap {

struct BatonRuntime::Task {
  std::string name;
  std::shared_ptr<TaskGroup::State> group;
  std::condition_variable turn;
  bool has_baton = false;
  bool parked = false;
  std::thread thread;
};

namespace {
// Names the task of this thread; null on others.
thread_local void* current_task = nullptr;
}  // namespace

class BatonEventCount final : public EventCount {
 public:
  explicit BatonEventCount(BatonRuntime& runtime) : runtime_(runtime) {}

  std::uint64_t Seen() override { return version_; }

  void Notify() override {
    ++version_;
    std::vector<BatonRuntime::Task*> waiters;
    waiters.swap(waiters_);
    for (BatonRuntime::Task* task : waiters) runtime_.MakeReady(*task);
  }

  Status Wait(std::uint64_t seen, MonoTime deadline) override {
    auto* task = static_cast<BatonRuntime::Task*>(current_task);
    ASSERT(task != nullptr);
    const std::shared_ptr<TaskGroup::State> group = CurrentTaskGroup();
    TaskGroup::StopToken token;
    if (group != nullptr) {
      token = group->AddStopCallback([this, task] { runtime_.MakeReady(*task); });
    }
    while (version_ == seen) {
      TRY(Runtime::CheckCancelled());
      if (runtime_.clock().MonoNow() >= deadline) {
        return Error(Code::kDeadlineExceeded, "waited in vain");
      }
      waiters_.push_back(task);
      runtime_.Park(*task, deadline);
      std::erase(waiters_, task);
    }
    return Runtime::CheckCancelled();
  }

 private:
  BatonRuntime& runtime_;
  // Only the holder of the baton gets here: no lock.
  std::uint64_t version_ = 0;
  std::vector<BatonRuntime::Task*> waiters_;
};

WallTime VirtualClock::Now() {
  const std::lock_guard lock(mutex_);
  return FromUnixSeconds(1'800'000'000) + elapsed_;
}

MonoTime VirtualClock::MonoNow() {
  const std::lock_guard lock(mutex_);
  return MonoTime(elapsed_);
}

BatonRuntime::BatonRuntime(std::uint64_t seed)
    : random_(seed), task_ended_(std::make_unique<BatonEventCount>(*this)) {}

BatonRuntime::~BatonRuntime() {
  for (const auto& task : tasks_) {
    if (task->thread.joinable()) task->thread.join();
  }
}

void BatonRuntime::Run(std::function<void()> root) {
  auto task = std::make_shared<Task>();
  task->name = "root";
  StartThread(task, std::move(root));
  std::unique_lock lock(mutex_);
  PassBaton();
  finished_.wait(lock, [this] { return alive_ == 0; });
}

void BatonRuntime::Start(std::shared_ptr<TaskGroup::State> group, std::string name,
                         std::function<void()> body) {
  auto task = std::make_shared<Task>();
  task->name = std::move(name);
  task->group = std::move(group);
  StartThread(task, std::move(body));
}

void BatonRuntime::StartThread(const std::shared_ptr<Task>& task, std::function<void()> body) {
  const std::lock_guard lock(mutex_);
  ++alive_;
  tasks_.push_back(task);
  ready_.push_back(task.get());
  task->thread = std::thread([this, task = task.get(), body = std::move(body)]() mutable {
    {
      std::unique_lock turn_lock(mutex_);
      task->turn.wait(turn_lock, [task] { return task->has_baton; });
    }
    current_task = task;
    CurrentTaskGroup() = task->group;
    body();
    body = nullptr;
    CurrentTaskGroup() = nullptr;
    if (task->group != nullptr) {
      {
        const std::lock_guard state_lock(task->group->mutex);
        --task->group->tasks;
      }
      task_ended_->Notify();
    }
    const std::lock_guard end_lock(mutex_);
    task->has_baton = false;
    if (--alive_ == 0) {
      finished_.notify_all();
    } else {
      PassBaton();
    }
  });
}

void BatonRuntime::MakeReady(Task& task) {
  const std::lock_guard lock(mutex_);
  if (!task.parked) return;
  task.parked = false;
  std::erase_if(sleeping_, [&task](const auto& entry) { return entry.second == &task; });
  ready_.push_back(&task);
}

void BatonRuntime::Park(Task& task, MonoTime deadline) {
  std::unique_lock lock(mutex_);
  task.parked = true;
  task.has_baton = false;
  if (deadline != kForever) sleeping_.emplace(deadline, &task);
  PassBaton();
  task.turn.wait(lock, [&task] { return task.has_baton; });
}

void BatonRuntime::PassBaton() {
  if (ready_.empty()) {
    if (sleeping_.empty()) {
      std::string waiting;
      for (const auto& task : tasks_) {
        if (task->parked) waiting += " " + task->name;
      }
      std::fprintf(stderr, "deadlock: all of these wait without a deadline:%s\n", waiting.c_str());
    }
    ASSERT(!sleeping_.empty());
    const auto first = sleeping_.begin();
    {
      const std::lock_guard clock_lock(clock_.mutex_);
      clock_.elapsed_ = std::max(clock_.elapsed_, first->first.time_since_epoch());
    }
    first->second->parked = false;
    ready_.push_back(first->second);
    sleeping_.erase(first);
  }
  const auto place = static_cast<std::ptrdiff_t>(random_.Below(ready_.size()));
  Task* next = ready_[static_cast<std::size_t>(place)];
  ready_.erase(ready_.begin() + place);
  trace_.push_back(std::to_string(clock_.MonoNow().time_since_epoch().count()) + " " + next->name);
  next->has_baton = true;
  next->turn.notify_one();
}

std::unique_ptr<EventCount> BatonRuntime::NewEventCount() {
  return std::make_unique<BatonEventCount>(*this);
}

Status BatonRuntime::SleepFor(Duration duration) {
  BatonEventCount never(*this);
  Status waited = never.Wait(0, clock_.MonoNow() + duration);
  if (waited.Is(Code::kDeadlineExceeded)) return {};
  return waited;
}

void BatonRuntime::JoinTasks(TaskGroup::State& group) {
  // Joining must not end early because the joiner itself is being stopped: it leaves its group for
  // the while.
  std::shared_ptr<TaskGroup::State> own;
  own.swap(CurrentTaskGroup());
  for (;;) {
    const auto seen = task_ended_->Seen();
    {
      const std::lock_guard lock(group.mutex);
      if (group.tasks == 0) break;
    }
    const Status waited = task_ended_->Wait(seen);
    ASSERT(waited.ok());
  }
  own.swap(CurrentTaskGroup());
}

}  // namespace thinsnap
