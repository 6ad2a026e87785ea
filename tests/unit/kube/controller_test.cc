#include "base/kube/controller.h"

#include <gtest/gtest.h>
#include <map>
#include <mutex>

#include "tests/virtual_time.h"

namespace thinsnap::kube {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

const ObjectKey kA{"ns", "a"}, kB{"ns", "b"};

// On virtual time: what the loop does is exact, and waits cost nothing.
TEST(ControllerTest, AKeyIsQueuedOnceHoweverOftenItIsAdded) {
  FiberRuntime runtime(1);
  std::map<ObjectKey, int> calls;
  RunWell(runtime, [&] {
    Controller controller(runtime, "test", [&](const ObjectKey& key) -> Result<Requeue> {
      ++calls[key];
      return Requeue::Done();
    });
    for (int i = 0; i < 10; ++i) controller.Add(kA);
    controller.Add(kB);
    TaskGroup group(runtime);
    controller.Start(group, 2);
    ASSERT_TRUE(runtime.SleepFor(1s).ok());
    group.Stop();
  });
  EXPECT_EQ(calls[kA], 1);
  EXPECT_EQ(calls[kB], 1);
}

TEST(ControllerTest, OneWorkerHasAKeyAtATimeAndALateChangeIsNotLost) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    FiberRuntime runtime(seed);
    int inside = 0, calls = 0;
    RunWell(runtime, [&] {
      Controller controller(runtime, "test", [&](const ObjectKey& key) -> Result<Requeue> {
        EXPECT_EQ(++inside, 1);
        ++calls;
        if (calls == 1) controller.Add(key);
        const Status slept = runtime.SleepFor(10ms);
        --inside;
        if (!slept.ok()) return slept.error();
        return Requeue::Done();
      });
      controller.Add(kA);
      TaskGroup group(runtime);
      controller.Start(group, 4);
      EXPECT_TRUE(runtime.SleepFor(1s).ok());
      group.Stop();
    });
    EXPECT_EQ(calls, 2);
  }
}

TEST(ControllerTest, FailuresBackOffAndSuccessForgetsThem) {
  FiberRuntime runtime(1);
  std::vector<Duration> at;
  RunWell(runtime, [&] {
    const MonoTime start = runtime.clock().MonoNow();
    Controller controller(runtime, "test", [&](const ObjectKey&) -> Result<Requeue> {
      at.push_back(runtime.clock().MonoNow() - start);
      if (at.size() < 5) return Error(Code::kAborted, "conflict");
      return Requeue::Done();
    });
    controller.Add(kA);
    TaskGroup group(runtime);
    controller.Start(group);
    ASSERT_TRUE(runtime.SleepFor(1h).ok());
    group.Stop();
  });
  ASSERT_EQ(at.size(), 5U);
  EXPECT_EQ(at[1] - at[0], 5ms);
  EXPECT_EQ(at[4] - at[3], 40ms);
}

TEST(ControllerTest, RequeueAfterComesBackThen) {
  FiberRuntime runtime(1);
  std::vector<Duration> at;
  RunWell(runtime, [&] {
    const MonoTime start = runtime.clock().MonoNow();
    Controller controller(runtime, "test", [&](const ObjectKey&) -> Result<Requeue> {
      at.push_back(runtime.clock().MonoNow() - start);
      return Requeue::After(10min);
    });
    controller.Add(kA);
    TaskGroup group(runtime);
    controller.Start(group);
    ASSERT_TRUE(runtime.SleepFor(25min).ok());
    group.Stop();
  });
  EXPECT_EQ(at, (std::vector<Duration>{0s, 10min, 20min}));
}

// A driver's or a server's own "cancelled" is a failure like any other.
TEST(ControllerTest, OnlyItsOwnStopEndsIt) {
  FiberRuntime runtime(1);
  int calls = 0;
  RunWell(runtime, [&] {
    Controller controller(runtime, "test", [&](const ObjectKey&) -> Result<Requeue> {
      if (++calls < 3) return Error(Code::kCancelled, "the peer gave up");
      return Requeue::Done();
    });
    TaskGroup group(runtime);
    controller.Start(group);
    controller.Add(kA);
    EXPECT_TRUE(runtime.SleepFor(1h).ok());
    group.Stop();
  });
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace thinsnap::kube
