// The busy world, seed by seed; `--gtest_filter=*Seeds/BusyWorldTest*/N` runs one again.
#include "tests/unit/driver/busy_world.h"

#include <gtest/gtest.h>
#include <string>

#include "tests/virtual_time.h"

namespace thinsnap::driver {
namespace {

struct Outcome {
  std::uint64_t hash = 0;
  std::string end;
};

Outcome RunSeed(std::uint64_t seed) {
  FiberRuntime runtime(seed);
  Outcome outcome;
  RunWell(runtime, [&] {
    BusyWorld world(runtime, seed);
    world.Run();
    outcome.end = world.Describe();
    std::cout << world.Summary() << "\n";
  });
  outcome.hash = runtime.trace_hash();
  return outcome;
}

class BusyWorldTest : public testing::TestWithParam<std::uint64_t> {};

TEST_P(BusyWorldTest, HoldsTogether) { RunSeed(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Seeds, BusyWorldTest, testing::Range<std::uint64_t>(1, 21));
INSTANTIATE_TEST_SUITE_P(DeepSeeds, BusyWorldTest, testing::Range<std::uint64_t>(21, 1021));

TEST(BusyWorldRepeatTest, TheSameSeedIsTheSameRun) {
  const Outcome first = RunSeed(1), again = RunSeed(1);
  EXPECT_EQ(first.hash, again.hash);
  EXPECT_EQ(first.end, again.end);
  EXPECT_NE(first.hash, RunSeed(2).hash);
}

}  // namespace
}  // namespace thinsnap::driver
