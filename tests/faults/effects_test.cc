// A sweep that sweeps nothing must not pass.
#include "tests/faults/effects.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

namespace thinsnap::faults {
namespace {

// A process that writes three things, each until it is done.
std::string WriteThree(FiberRuntime& runtime, Effects& effects) {
  std::string written;
  effects.Begin();
  for (const std::string what : {"a", "b", "c"}) {
    for (;;) {
      Process process(runtime);
      const auto looked =
          Observe<void>(effects, process, "look at " + what, [] { return Status(); });
      if (!looked.ok()) continue;
      if (written.find(what) != std::string::npos) break;
      Perform<void>(effects, process, "write " + what, [&]() -> Status {
        written += what;
        return {};
      }).IgnoreError();  // the next look tells
    }
    EXPECT_TRUE(runtime.SleepFor(std::chrono::seconds(1)).ok());
  }
  effects.End();
  return written;
}

TEST(SweepTest, GoesThroughEveryEffectAndEveryRead) {
  static int runs = 0;
  const auto journey = [](FiberRuntime& runtime, Effects& effects) {
    ++runs;
    return WriteThree(runtime, effects);
  };
  Sweep(1, {Fault::kCrash, Fault::kNotDone}, journey);
  EXPECT_EQ(runs, 2 + 2 * (3 + 1)) << "undisturbed twice, and the first of each fault";
  runs = 0;
  Sweep(1, {Fault::kUnread}, journey);
  EXPECT_EQ(runs, 2 + 3 + 1);
  runs = 0;
  SweepPairs(1, {Fault::kNotDone}, 2, journey);
  EXPECT_EQ(runs, 2 + 2 * (3 + 1));
}

TEST(SweepTest, AnotherEndFails) {
  EXPECT_NONFATAL_FAILURE(Sweep(1, {Fault::kAnswerLost},
                                [](FiberRuntime& runtime, Effects& effects) {
                                  Process process(runtime);
                                  effects.Begin();
                                  const auto wrote = Perform<void>(effects, process, "write",
                                                                   [] { return Status(); });
                                  return std::string(wrote.ok() ? "done" : "given up");
                                }),
                          "- done\n+ given up");
}

// The first and second run are the undisturbed ones.
TEST(SweepTest, AnEffectThatIsNotThereAnyMoreFails) {
  static int runs = 0;
  EXPECT_NONFATAL_FAILURE(Sweep(1, {Fault::kNotDone},
                                [](FiberRuntime& runtime, Effects& effects) {
                                  if (++runs != 3) return WriteThree(runtime, effects);
                                  EXPECT_TRUE(runtime.SleepFor(std::chrono::seconds(3)).ok());
                                  return std::string("abc");
                                }),
                          "it never came to no connection at effect 1, write a");
}

TEST(SweepTest, ARunThatDoesNotRepeatFails) {
  static int runs = 0;
  EXPECT_NONFATAL_FAILURE(Sweep(1, {},
                                [](FiberRuntime& runtime, Effects& effects) {
                                  if (++runs == 2) {
                                    EXPECT_TRUE(runtime.SleepFor(std::chrono::hours(1)).ok());
                                  }
                                  return WriteThree(runtime, effects);
                                }),
                          "\"1s 1 root\" became \"1h0m0s 1 root\"");
}

TEST(SweepTest, AWorldThatIsStuckFails) {
  static int disturbed = 0;
  EXPECT_NONFATAL_FAILURE(Sweep(1, {Fault::kCrash},
                                [](FiberRuntime& runtime, Effects& effects) {
                                  auto state = WriteThree(runtime, effects);
                                  if (effects.fired() > 0 && ++disturbed == 3) {
                                    const auto never = runtime.NewEventCount();
                                    never->Wait(never->Seen()).IgnoreError();
                                  }
                                  return state;
                                }),
                          "no timer runs: root (for the event of effects_test.cc:");
}

}  // namespace
}  // namespace thinsnap::faults
