#include "base/core/fiber_runtime.h"

#include <gtest/gtest.h>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "tests/virtual_time.h"

namespace thinsnap {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

struct Outcome {
  std::vector<std::string> seen;
  std::uint64_t hash = 0;
  bool operator==(const Outcome&) const = default;
  bool operator<(const Outcome& other) const { return seen < other.seen; }
};

// Producers, consumers, sleepers and a stop: what it did, in order, as far as its tasks could see.
Outcome Workload(Choices& choices) {
  FiberRuntime runtime(choices);
  Outcome outcome;
  RunWell(runtime, [&] {
    TaskGroup group(runtime);
    Channel<std::string> channel(runtime, 2);
    for (const char* name : {"a", "b", "c"}) {
      group.Spawn(name, [&, name = std::string(name)] {
        for (int i = 0; i < 5; ++i) {
          if (!channel.Send(name + std::to_string(i)).ok()) return;
          if (i % 2 == 0 && !runtime.SleepFor(10ms).ok()) return;
        }
      });
    }
    for (int i = 0; i < 12; ++i) outcome.seen.push_back(**channel.Receive());
    group.Stop();
    group.Join();
  });
  outcome.hash = runtime.trace_hash();
  return outcome;
}

TEST(FiberRuntimeTest, ARunRepeatsExactlyFromItsSeed) {
  std::set<std::uint64_t> hashes;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SeededChoices first(seed), second(seed);
    const auto outcome = Workload(first);
    EXPECT_EQ(outcome, Workload(second));
    hashes.insert(outcome.hash);
  }
  EXPECT_EQ(hashes.size(), 20U);
}

TEST(FiberRuntimeTest, SeedsExploreDifferentOrders) {
  std::set<Outcome> seeded, by_priority;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    SeededChoices any(seed);
    seeded.insert(Workload(any));
    PctChoices priorities(seed, 3, 50);
    by_priority.insert(Workload(priorities));
  }
  EXPECT_GT(seeded.size(), 5U);
  EXPECT_GT(by_priority.size(), 5U);
}

TEST(FiberRuntimeTest, ARecordedRunIsReplayed) {
  SeededChoices seeded(7);
  RecordedChoices recorded(seeded);
  const auto outcome = Workload(recorded);
  EXPECT_FALSE(recorded.list().empty());
  ReplayedChoices replayed(recorded.list());
  EXPECT_EQ(outcome, Workload(replayed));
  ReplayedChoices nothing({});
  EXPECT_NE(outcome, Workload(nothing));
}

TEST(FiberRuntimeTest, TimeJumpsWhenNobodyCanRun) {
  FiberRuntime runtime(1);
  WallTime before, after;
  RunWell(runtime, [&] {
    before = runtime.clock().Now();
    ASSERT_TRUE(runtime.SleepFor(24h * 7).ok());
    after = runtime.clock().Now();
  });
  EXPECT_EQ(after - before, 24h * 7);
}

TEST(FiberRuntimeTest, TheTimeOfDayCanBeSetWhileDeadlinesStay) {
  FiberRuntime runtime(1);
  RunWell(runtime, [&] {
    const WallTime before = runtime.clock().Now();
    runtime.clock().StepWallTime(-2h);
    ASSERT_TRUE(runtime.SleepFor(1h).ok());
    EXPECT_EQ(runtime.clock().Now(), before - 1h);
    EXPECT_EQ(runtime.clock().MonoNow(), MonoTime(1h));
  });
}

TEST(FiberRuntimeTest, ThoseWhoWakeTogetherRunInAnyOrder) {
  std::set<std::string> orders;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    FiberRuntime runtime(seed);
    std::string order;
    RunWell(runtime, [&] {
      TaskGroup group(runtime);
      for (const char* name : {"a", "b", "c"}) {
        group.Spawn(name, [&, name] {
          if (runtime.SleepFor(1s).ok()) order += name;
        });
      }
      group.Join();
    });
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 6U);
}

TEST(FiberRuntimeTest, OnlyOneTaskRunsAtATime) {
  FiberRuntime runtime(3);
  int inside = 0;  // no atomic, no lock
  RunWell(runtime, [&] {
    TaskGroup group(runtime);
    for (int i = 0; i < 8; ++i) {
      group.Spawn("t", [&] {
        for (int n = 0; n < 100; ++n) {
          EXPECT_EQ(++inside, 1);
          --inside;
          if (!runtime.SleepFor(1ms).ok()) return;
        }
      });
    }
    group.Join();
  });
}

TEST(FiberRuntimeTest, ASleepOfNoTimeLetsOthersRun) {
  FiberRuntime runtime(1);
  RunWell(runtime, [&] {
    bool ran = false;
    TaskGroup group(runtime);
    group.Spawn("other", [&] { ran = true; });
    while (!ran) ASSERT_TRUE(runtime.SleepFor(0s).ok());
    EXPECT_EQ(runtime.clock().MonoNow(), MonoTime());
  });
}

TEST(FiberRuntimeTest, StopCancelsWaitsAndSleeps) {
  FiberRuntime runtime(5);
  int cancelled = 0;
  RunWell(runtime, [&] {
    TaskGroup group(runtime);
    TaskGroup child(runtime, &group);
    const auto never = runtime.NewEventCount();
    group.Spawn("waiter", [&] {
      if (never->Wait(never->Seen()).Is(Code::kCancelled)) ++cancelled;
      if (never->Wait(never->Seen(), MonoTime(24h)).Is(Code::kCancelled)) ++cancelled;
    });
    child.Spawn("sleeper", [&] {
      if (runtime.SleepFor(24h).Is(Code::kCancelled)) ++cancelled;
      if (Runtime::Cancelled()) ++cancelled;
    });
    ASSERT_TRUE(runtime.SleepFor(1s).ok());
    group.Stop();
    group.Join();
    child.Join();
    EXPECT_EQ(runtime.clock().MonoNow(), MonoTime(1s));
    EXPECT_FALSE(Runtime::Cancelled());
  });
  EXPECT_EQ(cancelled, 4);
}

TEST(FiberRuntimeTest, AWaitEndsAtItsDeadlineOrBefore) {
  FiberRuntime runtime(1);
  RunWell(runtime, [&] {
    const auto event = runtime.NewEventCount();
    EXPECT_TRUE(event->Wait(event->Seen(), MonoTime(1s)).Is(Code::kDeadlineExceeded));
    TaskGroup group(runtime);
    group.Spawn("teller", [&] {
      if (runtime.SleepFor(1s).ok()) event->Notify();
    });
    EXPECT_TRUE(event->Wait(event->Seen(), MonoTime(1h)).ok());
    EXPECT_EQ(runtime.clock().MonoNow(), MonoTime(2s));
  });
}

// Someone who is stopped still waits for those whom he started.
TEST(FiberRuntimeTest, AJoinIsNotCutShort) {
  FiberRuntime runtime(1);
  bool ended = false, joined = false;
  RunWell(runtime, [&] {
    TaskGroup outer(runtime);
    outer.Spawn("joiner", [&] {
      TaskGroup inner(runtime);
      inner.Spawn("worker", [&] {
        if (runtime.SleepFor(1h).ok()) ended = true;
      });
      inner.Join();
      joined = ended;
    });
    ASSERT_TRUE(runtime.SleepFor(1s).ok());
    outer.Stop();
  });
  EXPECT_TRUE(joined);
}

TEST(FiberRuntimeTest, WhoIsStuckIsNamedAndUnwound) {
  FiberRuntime runtime(1);
  int unwound = 0;
  const Status ran = runtime.Run([&] {
    const auto never = runtime.NewEventCount();
    Channel<int> channel(runtime, 1);
    TaskGroup group(runtime);
    group.Spawn("reader", [&] {
      if (channel.Receive().Is(Code::kCancelled)) ++unwound;
    });
    group.Spawn("joiner", [&] {
      TaskGroup inner(runtime);
      inner.Spawn("sleeper", [&] {
        while (runtime.SleepFor(Duration::max()).ok()) {
        }
        ++unwound;
      });
      inner.Join();
    });
    if (never->Wait(never->Seen()).Is(Code::kCancelled)) ++unwound;
  });
  ASSERT_TRUE(ran.Is(Code::kInternal));
  EXPECT_EQ(unwound, 3);
  for (const char* part :
       {"all tasks wait and no timer runs: root (for the event of fiber_runtime_test.cc:",
        "reader (for the event of fiber_runtime_test.cc:",
        "joiner (for the end of 1 tasks), sleeper"}) {
    EXPECT_NE(ran.error().message().find(part), std::string::npos) << ran.error().message();
  }
  RunWell(runtime, [&] { EXPECT_TRUE(runtime.SleepFor(1s).ok()); });
}

TEST(FiberRuntimeTest, ALoopWithoutAPauseIsNamed) {
  FiberRuntime runtime(1);
  const Status ran = runtime.Run([&] {
    TaskGroup group(runtime);
    group.Spawn("retry", [&] {
      while (runtime.SleepFor(0s).ok()) {
      }
    });
    group.Join();
  });
  ASSERT_TRUE(ran.Is(Code::kInternal));
  EXPECT_NE(ran.error().message().find("time stands still"), std::string::npos);
  EXPECT_NE(ran.error().message().find(" retry"), std::string::npos);
}

TEST(FiberRuntimeTest, TheLastLinesAreKept) {
  FiberRuntime runtime(1);
  RunWell(runtime, [&] {
    for (int i = 0; i < 20'000; ++i) ASSERT_TRUE(runtime.SleepFor(1ms).ok());
    runtime.Note("the end");
  });
  EXPECT_EQ(runtime.LastLines(20'000).size(), 10'000U);
  EXPECT_EQ(runtime.LastLines(2), (std::vector<std::string>{"20s 1 root", "20s 1 the end"}));
}

// Many times the threads that a process can have, and what a turn costs.
TEST(FiberRuntimeTest, CarriesMoreTasksThanThereAreThreads) {
  FiberRuntime runtime(1);
  SystemClock real;
  int ran = 0;
  const MonoTime start = real.MonoNow();
  RunWell(runtime, [&] {
    for (int round = 0; round < 1000; ++round) {
      TaskGroup group(runtime);
      for (int i = 0; i < 100; ++i) {
        group.Spawn("task", [&] {
          for (int n = 0; n < 5; ++n) {
            if (!runtime.SleepFor(1s).ok()) return;
          }
          ++ran;
        });
      }
      group.Join();
    }
  });
  EXPECT_EQ(ran, 100'000);
  const auto ns = (real.MonoNow() - start).count() / static_cast<std::int64_t>(runtime.turns());
  std::cout << ran << " tasks, " << runtime.turns() << " turns, " << ns << " ns each\n";
}

TEST(FiberRuntimeDeathTest, AStackEndsAtItsGuardPage) {
  struct Deep {
    // NOLINTNEXTLINE(misc-no-recursion): on purpose
    static std::uint64_t Down(std::uint64_t depth) {
      volatile std::uint64_t here = depth;
      return depth == ~std::uint64_t{0} ? here : Down(depth + 1) + here;
    }
  };
  FiberRuntime runtime(1);
  EXPECT_DEATH(RunWell(runtime, [] { EXPECT_GT(Deep::Down(0), 1U); }), "");
}

TEST(FiberRuntimeDeathTest, AWaitWithAMutexHeldIsNamed) {
  const auto hold = [] {
    FiberRuntime runtime(1);
    std::mutex mutex;
    RunWell(runtime, [&] {
      TaskGroup group(runtime);
      group.Spawn("holder", [&] {
        const std::lock_guard lock(mutex);
        EXPECT_TRUE(runtime.SleepFor(1s).ok());
      });
      group.Join();
    });
  };
  EXPECT_DEATH(hold(), "holder waits with 1 mutexes held");
}

TEST(FiberRuntimeDeathTest, ATaskThatLoopsThoughStuckIsNamed) {
  const auto loop = [] {
    FiberRuntime runtime(1);
    RunWell(runtime, [&] {
      const auto never = runtime.NewEventCount();
      while (!never->Wait(never->Seen()).ok()) {
      }
    });
  };
  EXPECT_DEATH(loop(), "and now its tasks do not end: time stands still");
}

}  // namespace
}  // namespace thinsnap
