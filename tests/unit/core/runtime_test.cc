#include "base/core/runtime.h"

#include <atomic>
#include <gtest/gtest.h>
#include <memory>
#include <poll.h>
#include <pthread.h>

namespace thinsnap {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""ms;

class RuntimeTest : public testing::Test {
 protected:
  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
};

TEST_F(RuntimeTest, JoinWaitsForEveryTask) {
  std::atomic<int> done{0};
  TaskGroup group(runtime_);
  for (int i = 0; i < 20; ++i) group.Spawn("task", [&done] { ++done; });
  group.Join();
  EXPECT_EQ(done, 20);
}

// What a thread leaves behind goes when it ends, after its task has returned: OpenSSL's state, say,
// which the end of the process frees as well.
TEST_F(RuntimeTest, JoinWaitsForTheEndOfTheThreadsToo) {
  struct Remains {
    std::atomic<int>& gone;
    ~Remains() {
      ::poll(nullptr, 0, 20);
      ++gone;
    }
  };
  for (const int tasks : {1, 20}) {
    std::atomic<int> gone{0};
    TaskGroup group(runtime_);
    for (int i = 0; i < tasks; ++i) {
      group.Spawn("task", [&gone] { thread_local const Remains remains{gone}; });
    }
    group.Join();
    EXPECT_EQ(gone, tasks);
  }
}

// While it lives the kernel has no room for the stack of another thread.
class NoMoreThreads {
 public:
  NoMoreThreads() {
    pthread_attr_t huge;
    pthread_attr_init(&huge);
    pthread_attr_setstacksize(&huge, std::size_t{1} << 46);
    EXPECT_EQ(pthread_getattr_default_np(&before_), 0);
    EXPECT_EQ(pthread_setattr_default_np(&huge), 0);
    pthread_attr_destroy(&huge);
  }
  ~NoMoreThreads() {
    EXPECT_EQ(pthread_setattr_default_np(&before_), 0);
    pthread_attr_destroy(&before_);
  }
  NoMoreThreads(const NoMoreThreads&) = delete;
  NoMoreThreads& operator=(const NoMoreThreads&) = delete;

 private:
  pthread_attr_t before_;
};

TEST_F(RuntimeTest, ATaskWaitsForAThread) {
  std::atomic<bool> ran{false};
  std::unique_ptr<NoMoreThreads> none;
  const auto asked = runtime_.NewEventCount();
  TaskGroup group(runtime_);
  group.Spawn("healer", [&, seen = asked->Seen()] {
    if (!asked->Wait(seen).ok() || !runtime_.SleepFor(20ms).ok()) return;
    none.reset();
  });
  none = std::make_unique<NoMoreThreads>();
  asked->Notify();
  group.Spawn("late", [&ran] { ran = true; });
  group.Join();
  EXPECT_TRUE(ran);
}

TEST_F(RuntimeTest, AGroupThatIsStoppedWaitsForNoThread) {
  std::atomic<bool> ran{false};
  TaskGroup helpers(runtime_);
  TaskGroup group(runtime_);
  const auto asked = runtime_.NewEventCount();
  helpers.Spawn("stopper", [&, seen = asked->Seen()] {
    if (!asked->Wait(seen).ok() || !runtime_.SleepFor(20ms).ok()) return;
    group.Stop();
  });
  const NoMoreThreads none;
  asked->Notify();
  group.Spawn("late", [&ran] { ran = true; });
  group.Join();
  EXPECT_TRUE(group.stopped());
  EXPECT_FALSE(ran);
}

// More than the kernel has room for: each stack is a mapping.
TEST_F(RuntimeTest, ATaskThatReturnedLeavesNothingInItsGroup) {
  const auto returned = runtime_.NewEventCount();
  TaskGroup group(runtime_);
  for (int i = 0; i < 33'000; ++i) {
    const auto seen = returned->Seen();
    group.Spawn("task", [&returned] { returned->Notify(); });
    ASSERT_TRUE(returned->Wait(seen).ok());
  }
}

TEST_F(RuntimeTest, StopEndsPresentAndLaterWaits) {
  std::atomic<int> cancelled{0};
  const auto never = runtime_.NewEventCount();
  const auto started = runtime_.NewEventCount();
  TaskGroup group(runtime_);
  const auto seen = started->Seen();
  group.Spawn("waiter", [&] {
    const auto version = never->Seen();
    started->Notify();
    if (never->Wait(version).Is(Code::kCancelled)) ++cancelled;
    if (runtime_.SleepFor(1h).Is(Code::kCancelled)) ++cancelled;
    if (Runtime::Cancelled()) ++cancelled;
  });
  ASSERT_TRUE(started->Wait(seen).ok());
  group.Stop();
  group.Join();
  EXPECT_EQ(cancelled, 3);
  group.Spawn("late", [&cancelled] { cancelled = 100; });
  group.Join();
  EXPECT_EQ(cancelled, 3) << "after Stop nothing is started";
}

TEST_F(RuntimeTest, AChildGroupStopsWithItsParent) {
  std::atomic<bool> cancelled{false};
  TaskGroup parent(runtime_);
  TaskGroup child(runtime_, &parent);
  child.Spawn("sleeper", [&] { cancelled = runtime_.SleepFor(1h).Is(Code::kCancelled); });
  parent.Stop();
  child.Join();
  EXPECT_TRUE(cancelled);
}

TEST_F(RuntimeTest, OnStopIsCalledOnceAndNotAfterItsToken) {
  TaskGroup group(runtime_);
  int called = 0;
  int dropped = 0;
  const auto token = group.OnStop([&called] { ++called; });
  auto gone = group.OnStop([&dropped] { ++dropped; });
  gone.reset();
  group.Stop();
  group.Stop();
  EXPECT_EQ(called, 1);
  EXPECT_EQ(dropped, 0);
  const auto late = group.OnStop([&called] { ++called; });
  EXPECT_EQ(called, 2) << "at once, since it is stopped already";
}

TEST_F(RuntimeTest, WaitEndsAtItsDeadline) {
  const auto never = runtime_.NewEventCount();
  EXPECT_TRUE(never->Wait(never->Seen(), clock_.MonoNow() + 1ms).Is(Code::kDeadlineExceeded));
}

TEST_F(RuntimeTest, AChannelPassesEverythingOnInOrder) {
  Channel<int> channel(runtime_, 2);
  TaskGroup group(runtime_);
  group.Spawn("producer", [&channel] {
    for (int i = 0; i < 100; ++i) {
      if (!channel.Send(i).ok()) return;
    }
    channel.Close();
  });
  for (int i = 0; i < 100; ++i) EXPECT_EQ(**channel.Receive(), i);
  EXPECT_FALSE(channel.Receive()->has_value());
  EXPECT_TRUE(channel.Send(1).Is(Code::kFailedPrecondition));
}

// For the thread sanitizer: many tasks, one counter, stops at random moments.
TEST_F(RuntimeTest, StandsStress) {
  for (int round = 0; round < 20; ++round) {
    Channel<int> channel(runtime_, 4);
    TaskGroup group(runtime_);
    for (int i = 0; i < 4; ++i) {
      group.Spawn("send", [&channel] {
        for (int n = 0; n < 50; ++n) {
          if (!channel.Send(n).ok()) return;
        }
      });
      group.Spawn("receive", [&channel] {
        for (;;) {
          const auto item = channel.Receive();
          if (!item.ok() || !item->has_value()) return;
        }
      });
    }
    if (round % 2 == 0) {
      ASSERT_TRUE(runtime_.SleepFor(1ms).ok());
    }
    group.Stop();
  }
}

}  // namespace
}  // namespace thinsnap
