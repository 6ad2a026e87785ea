#include "base/core/choices.h"

#include <array>
#include <gtest/gtest.h>

namespace thinsnap {
namespace {

constexpr std::array<TaskNumber, 4> kReady{3, 5, 8, 9};

TEST(ChoicesTest, SeededOnesReachEveryTask) {
  SeededChoices choices(1);
  std::set<std::size_t> picked;
  for (int i = 0; i < 100; ++i) picked.insert(choices.Pick(kReady));
  EXPECT_EQ(picked.size(), kReady.size());
}

TEST(ChoicesTest, PctRunsTheHighestUntilItFalls) {
  int changes = 0;
  std::set<std::size_t> first;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    PctChoices choices(seed, 2, 100);
    std::size_t last = choices.Pick(kReady);
    first.insert(last);
    for (int i = 1; i < 100; ++i) {
      const std::size_t now = choices.Pick(kReady);
      if (now != last) ++changes;
      last = now;
    }
  }
  EXPECT_EQ(first.size(), kReady.size());
  // One fall for each seed; at the very first choice it is not seen.
  EXPECT_GE(changes, 45);
  EXPECT_LE(changes, 50);
}

TEST(ChoicesTest, WhoFellLastIsLowest) {
  PctChoices choices(1, 5, 5);  // falls at four of the first five
  std::set<std::size_t> picked;
  for (int i = 0; i < 5; ++i) picked.insert(choices.Pick(kReady));
  EXPECT_GE(picked.size(), 4U);
}

TEST(ChoicesTest, AReplayGoesOnAfterItsEndAndBesideIt) {
  ReplayedChoices choices({2, 7});
  EXPECT_EQ(choices.Pick(kReady), 2U);
  EXPECT_EQ(choices.Pick(kReady), 3U) << "there is no eighth";
  EXPECT_EQ(choices.Pick(kReady), 0U);
}

}  // namespace
}  // namespace thinsnap
