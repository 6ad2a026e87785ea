#include "base/core/random.h"

#include <gtest/gtest.h>
#include <set>

#include "base/core/id.h"

namespace thinsnap {
namespace {

TEST(RandomTest, TheSameSeedGivesTheSameStream) {
  SeededRandom a(42), b(42), c(43);
  const std::uint64_t first = a.NextU64();
  EXPECT_EQ(first, b.NextU64());
  EXPECT_NE(first, c.NextU64());
}

TEST(RandomTest, AStreamDependsOnSeedAndNameAlone) {
  SeededRandom a(42), b(42), c(43);
  const auto names = a.Stream("names");
  b.NextU64();
  const std::uint64_t first = names->NextU64();
  EXPECT_EQ(b.Stream("names")->NextU64(), first) << "whatever else is drawn";
  EXPECT_NE(a.Stream("jitter")->NextU64(), first);
  EXPECT_NE(c.Stream("names")->NextU64(), first);
  EXPECT_NE(a.Stream("")->NextU64(), a.NextU64());
  EXPECT_EQ(a.Stream("x")->Stream("y")->NextU64(), b.Stream("x")->Stream("y")->NextU64());
  EXPECT_NE(a.Stream("x")->Stream("y")->NextU64(), a.Stream("y")->Stream("x")->NextU64());
  SystemRandom system;
  EXPECT_NE(system.Stream("names")->NextU64(), system.Stream("names")->NextU64());
}

TEST(RandomTest, BelowReachesEveryValueAndNoOther) {
  SeededRandom random(1);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(random.Below(7));
  EXPECT_EQ(seen, (std::set<std::uint64_t>{0, 1, 2, 3, 4, 5, 6}));
}

TEST(RandomTest, UuidsHaveVersionAndVariant) {
  SystemRandom random;
  const std::string uuid = random.Uuid();
  ASSERT_EQ(uuid.size(), 36U);
  EXPECT_EQ(uuid[14], '4');
  EXPECT_NE(std::string("89ab").find(uuid[19]), std::string::npos);
  EXPECT_NE(uuid, random.Uuid());
}

TEST(UlidTest, SortsByTime) {
  SeededRandom random(1);
  const WallTime now = FromUnixSeconds(1'800'000'000);
  const std::string earlier = NewUlid(now, random);
  const std::string later = NewUlid(now + std::chrono::milliseconds(1), random);
  EXPECT_LT(earlier, later);
  EXPECT_TRUE(IsUlid(earlier));
  EXPECT_FALSE(IsUlid("01arz3ndektsv4rrffq69g5fa"));
  EXPECT_FALSE(IsUlid("01arz3ndektsv4rrffq69g5fai"));
}

}  // namespace
}  // namespace thinsnap
