#include "base/core/fiber_runtime.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstring>
#include <exception>

#include "base/core/fiber.h"
#include "base/core/held_locks.h"
#include "base/core/task_state.h"

namespace thinsnap {
namespace {

constexpr std::size_t kKeptLines = 10'000;
constexpr std::size_t kNamedTasks = 20;
constexpr std::uint64_t kMostTurnsAtOnce = 1'000'000;

std::string ShortName(const std::source_location& where) {
  const std::string_view path = where.file_name();
  return std::string(path.substr(path.rfind('/') + 1)) + ":" + std::to_string(where.line());
}

}  // namespace

struct FiberRuntime::Task {
  TaskNumber number = 0;
  std::string name;
  std::shared_ptr<TaskGroup::State> group;
  std::function<void()> body;
  std::list<Task>::iterator self;
  TaskGroup::StopToken stop_link;

  std::unique_ptr<Fiber> fiber;  // since its first turn
  std::shared_ptr<TaskGroup::State> current_group;

  bool waits = false;
  WaitsFor what;
  Waiters node{this};  // here while it does not wait
  const Waiters::iterator place = node.begin();
  Waiters* waits_in = nullptr;
  std::optional<Timers::iterator> timer;
  Timers::node_type spare_timer;
};

struct FiberRuntime::Line {
  Duration time;
  TaskNumber task;
  std::array<char, 48> text;
};

class FiberEventCount final : public EventCount {
 public:
  FiberEventCount(FiberRuntime& runtime, const std::source_location& where)
      : runtime_(runtime), where_(where) {}
  ~FiberEventCount() override { ASSERT(waiters_.empty()); }

  std::uint64_t Seen() override { return version_; }

  void Notify() override {
    ++version_;
    runtime_.WakeAll(waiters_);
  }

  Status Wait(std::uint64_t seen, MonoTime deadline) override {
    while (version_ == seen) {
      TRY(runtime_.CheckGoesOn());
      if (runtime_.clock().MonoNow() >= deadline) {
        return Error(Code::kDeadlineExceeded, "waited in vain");
      }
      runtime_.Park(waiters_, deadline, {&where_, nullptr});
    }
    return runtime_.CheckGoesOn();
  }

 private:
  FiberRuntime& runtime_;
  const std::source_location where_;
  std::uint64_t version_ = 0;
  FiberRuntime::Waiters waiters_;
};

FiberRuntime::FiberRuntime(std::uint64_t seed)
    : own_choices_(std::make_unique<SeededChoices>(seed)),
      choices_(*own_choices_),
      stacks_(std::make_unique<StackPool>()) {}

FiberRuntime::FiberRuntime(Choices& choices)
    : choices_(choices), stacks_(std::make_unique<StackPool>()) {}

FiberRuntime::~FiberRuntime() { ASSERT(tasks_.empty()); }

Status FiberRuntime::Run(std::function<void()> root) {
  ASSERT(!thread_);
  thread_ = pthread_self();
  turns_when_time_moved_ = turns_;
  Start(nullptr, "root", std::move(root));
  while (Task* task = Choose()) Turn(*task);
  thread_.reset();
  if (auto stuck = std::exchange(stuck_, std::nullopt)) return *std::move(stuck);
  return {};
}

void FiberRuntime::Start(std::shared_ptr<TaskGroup::State> group, std::string name,
                         std::function<void()> body) {
  ASSERT(!thread_ || pthread_equal(*thread_, pthread_self()) != 0);
  Task& task = tasks_.emplace_back();
  task.self = std::prev(tasks_.end());
  task.number = ++last_number_;
  task.name = std::move(name);
  task.group = std::move(group);
  task.body = std::move(body);
  Note("start " + task.name);
  ready_.push_back(&task);
  ready_numbers_.push_back(task.number);
  if (task.group == nullptr) return;
  task.stop_link = task.group->AddStopCallback([this, &task] {
    if (task.waits && task.what.end_of == nullptr) Wake(task);
  });
}

FiberRuntime::Task* FiberRuntime::Choose() {
  if (turns_ - turns_when_time_moved_ > kMostTurnsAtOnce) {
    std::string last;
    for (const std::string& line : LastLines(5)) last += "\n  " + line;
    GiveUp("time stands still: " + std::to_string(kMostTurnsAtOnce) +
           " turns at once, the last:" + last);
  }
  if (ready_.empty() && !AdvanceTime()) {
    if (tasks_.empty()) return nullptr;
    GiveUp("all tasks wait and no timer runs: " + WhoWaits());
  }
  const std::size_t place = ready_.size() == 1 ? 0 : choices_.Pick(ready_numbers_);
  ASSERT(place < ready_.size());
  Task* task = ready_[place];
  ready_.erase(ready_.begin() + static_cast<std::ptrdiff_t>(place));
  ready_numbers_.erase(ready_numbers_.begin() + static_cast<std::ptrdiff_t>(place));
  return task;
}

bool FiberRuntime::AdvanceTime() {
  if (timers_.empty()) return false;
  const MonoTime now = timers_.begin()->first.first;
  clock_.AdvanceTo(now);
  turns_when_time_moved_ = turns_;
  while (!timers_.empty() && timers_.begin()->first.first <= now) Wake(*timers_.begin()->second);
  return true;
}

void FiberRuntime::Turn(Task& task) {
  AddLine(task.number, task.name);
  ++turns_;
  if (task.fiber == nullptr) {
    task.current_group = task.group;
    task.fiber = std::make_unique<Fiber>(*stacks_, [&task] {
      task.body();
      task.body = nullptr;  // what it captured goes before Join returns
    });
  }
  running_ = &task;
  task.current_group.swap(CurrentTaskGroup());
  const bool goes_on = task.fiber->Resume();
  task.current_group.swap(CurrentTaskGroup());
  running_ = nullptr;
  if (!goes_on) End(task);
}

void FiberRuntime::End(Task& task) {
  const auto group = task.group;
  tasks_.erase(task.self);
  if (group == nullptr) return;
  if (--group->tasks > 0) return;
  const auto joiners = joiners_.find(group.get());
  if (joiners == joiners_.end()) return;
  WakeAll(joiners->second);
  joiners_.erase(joiners);
}

void FiberRuntime::Park(Waiters& waiters, MonoTime deadline, const WaitsFor& what) {
  ASSERT(running_ != nullptr && pthread_equal(*thread_, pthread_self()) != 0);
  if (const int locks = HeldLocks(); locks != 0) {
    std::fprintf(stderr, "%s waits with %d mutexes held\n", running_->name.c_str(), locks);
  }
  ASSERT(HeldLocks() == 0);
  // The C++ library counts exceptions by thread, not by fiber.
  ASSERT(std::current_exception() == nullptr);
  Task& task = *running_;
  task.waits = true;
  task.what = what;
  task.waits_in = &waiters;
  waiters.splice(waiters.end(), task.node, task.place);
  if (deadline <= clock_.MonoNow()) {
    Wake(task);
  } else if (deadline != kForever) {
    const std::pair key(deadline, ++last_timer_);
    if (task.spare_timer.empty()) {
      task.timer = timers_.emplace(key, &task).first;
    } else {
      task.spare_timer.key() = key;
      task.timer = timers_.insert(std::move(task.spare_timer)).position;
    }
  }
  task.fiber->Pause();
}

void FiberRuntime::Wake(Task& task) {
  task.waits = false;
  task.node.splice(task.node.begin(), *task.waits_in, task.place);
  if (task.timer) task.spare_timer = timers_.extract(*task.timer);
  task.timer.reset();
  ready_.push_back(&task);
  ready_numbers_.push_back(task.number);
}

void FiberRuntime::WakeAll(Waiters& waiters) {
  ASSERT(!thread_ || pthread_equal(*thread_, pthread_self()) != 0);
  while (!waiters.empty()) Wake(*waiters.front());
}

Status FiberRuntime::CheckGoesOn() {
  if (stuck_) {
    // A turn, so that a task that goes on all the same is found out.
    Waiters nobody;
    Park(nobody, clock_.MonoNow(), {});
    return Error(Code::kCancelled, "the world is stuck");
  }
  return CheckCancelled();
}

std::unique_ptr<EventCount> FiberRuntime::NewEventCount(std::source_location where) {
  return std::make_unique<FiberEventCount>(*this, where);
}

Status FiberRuntime::SleepFor(Duration duration) {
  TRY(CheckGoesOn());
  Waiters nobody;
  const MonoTime now = clock_.MonoNow();
  Park(nobody, duration < kForever - now ? now + duration : kForever, {});
  return CheckGoesOn();
}

void FiberRuntime::JoinTasks(TaskGroup::State& group) {
  while (group.tasks > 0) {
    ASSERT(running_ != nullptr && running_->group.get() != &group);
    Park(joiners_[&group], kForever, {nullptr, &group});
  }
}

void FiberRuntime::GiveUp(std::string why) {
  if (stuck_) {
    std::fprintf(stderr, "stuck: %s\nand now its tasks do not end: %s\n", stuck_->message().c_str(),
                 why.c_str());
  }
  ASSERT(!stuck_);
  stuck_ = Error(Code::kInternal, std::move(why));
  turns_when_time_moved_ = turns_;
  for (Task& task : tasks_) {
    if (task.group != nullptr) task.group->Stop();
    if (task.waits && task.what.end_of == nullptr) Wake(task);
  }
  ASSERT(!ready_.empty());
}

std::string FiberRuntime::WhoWaits() const {
  std::string text;
  std::size_t named = 0;
  for (const Task& task : tasks_) {
    if (++named > kNamedTasks) {
      return text + " and " + std::to_string(tasks_.size() - kNamedTasks) + " more";
    }
    text += (text.empty() ? "" : ", ") + task.name;
    if (task.what.made_at != nullptr)
      text += " (for the event of " + ShortName(*task.what.made_at) + ")";
    if (task.what.end_of != nullptr)
      text += " (for the end of " + std::to_string(task.what.end_of->tasks) + " tasks)";
  }
  return text;
}

void FiberRuntime::Mix(std::uint64_t word) {
  trace_hash_ = std::rotl((trace_hash_ ^ word) * 0x9e3779b97f4a7c15, 29);
}

void FiberRuntime::AddLine(TaskNumber task, std::string_view text) {
  const Duration now = clock_.MonoNow().time_since_epoch();
  Mix(static_cast<std::uint64_t>(now.count()));
  Mix(task);
  if (kept_.size() < kKeptLines) kept_.emplace_back();
  Line& line = kept_[lines_++ % kKeptLines];
  line = {now, task, {}};
  std::memcpy(line.text.data(), text.data(), std::min(text.size(), line.text.size() - 1));
}

void FiberRuntime::Note(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  Mix(hash);
  AddLine(running_ == nullptr ? 0 : running_->number, text);
}

std::vector<std::string> FiberRuntime::LastLines(std::size_t most) const {
  const std::uint64_t count = std::min<std::uint64_t>(most, kept_.size());
  std::vector<std::string> texts;
  for (std::uint64_t i = lines_ - count; i < lines_; ++i) {
    const Line& line = kept_[i % kKeptLines];
    texts.push_back(FormatDuration(line.time) + " " + std::to_string(line.task) + " " +
                    line.text.data());
  }
  return texts;
}

}  // namespace thinsnap
