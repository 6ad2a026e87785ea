#include "base/core/baton_runtime.h"

#include <gtest/gtest.h>
#include <set>
#include <string>
#include <vector>

namespace thinsnap {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

// Producers, consumers, sleepers and a stop: what it did, in order, as far as its tasks could see.
std::vector<std::string> Workload(std::uint64_t seed, std::vector<std::string>* trace) {
  BatonRuntime runtime(seed);
  std::vector<std::string> seen;
  runtime.Run([&] {
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
    for (int i = 0; i < 12; ++i) seen.push_back(**channel.Receive());
    group.Stop();
    group.Join();
  });
  *trace = runtime.trace();
  return seen;
}

TEST(BatonRuntimeTest, ARunRepeatsExactlyFromItsSeed) {
  std::vector<std::string> first_trace, second_trace;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto first = Workload(seed, &first_trace);
    const auto second = Workload(seed, &second_trace);
    EXPECT_EQ(first, second);
    EXPECT_EQ(first_trace, second_trace);
  }
}

TEST(BatonRuntimeTest, SeedsExploreDifferentOrders) {
  std::set<std::vector<std::string>> orders;
  std::vector<std::string> trace;
  for (std::uint64_t seed = 0; seed < 20; ++seed) orders.insert(Workload(seed, &trace));
  EXPECT_GT(orders.size(), 5U);
}

TEST(BatonRuntimeTest, TimeJumpsWhenNobodyCanRun) {
  BatonRuntime runtime(1);
  WallTime before, after;
  runtime.Run([&] {
    before = runtime.clock().Now();
    ASSERT_TRUE(runtime.SleepFor(24h * 7).ok());
    after = runtime.clock().Now();
  });
  EXPECT_EQ(after - before, 24h * 7);
}

TEST(BatonRuntimeTest, OnlyOneTaskRunsAtATime) {
  BatonRuntime runtime(3);
  int inside = 0;  // no atomic, no lock: the baton is enough
  runtime.Run([&] {
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

TEST(BatonRuntimeTest, StopCancelsWaits) {
  BatonRuntime runtime(5);
  bool cancelled = false;
  runtime.Run([&] {
    TaskGroup group(runtime);
    const auto never = runtime.NewEventCount();
    group.Spawn("waiter", [&] { cancelled = never->Wait(never->Seen()).Is(Code::kCancelled); });
    ASSERT_TRUE(runtime.SleepFor(1s).ok());
    group.Stop();
    group.Join();
  });
  EXPECT_TRUE(cancelled);
}

TEST(BatonRuntimeDeathTest, ADeadlockIsNamed) {
  const auto deadlock = [] {
    BatonRuntime runtime(1);
    runtime.Run([&] {
      const auto never = runtime.NewEventCount();
      static_cast<void>(never->Wait(never->Seen()));
    });
  };
  EXPECT_DEATH(deadlock(), "deadlock: all of these wait without a deadline: root");
}

}  // namespace
}  // namespace thinsnap
