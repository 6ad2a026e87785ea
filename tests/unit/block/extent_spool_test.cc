#include "base/block/extent_spool.h"

#include <gtest/gtest.h>
#include <limits>
#include <vector>

#include "base/core/random.h"

namespace thinsnap::block {
namespace {

std::vector<Extent> ReadAll(ExtentStream& stream) {
  std::vector<Extent> extents;
  for (;;) {
    const Result<std::optional<Extent>> next = stream.Next();
    EXPECT_TRUE(next.ok());
    if (!next.ok() || !next->has_value()) return extents;
    extents.push_back(**next);
  }
}

TEST(ExtentSpoolTest, GivesBackWhatWasPutInWhateverItsLength) {
  SeededRandom random(5);
  // 0 and 1; what fits into memory; what does not, and ends anywhere in a buffer.
  for (const std::size_t count : {0, 1, 1000, 9000, 20000, 200003}) {
    std::vector<Extent> put;
    std::uint64_t at = random.Below(2);
    ExtentSpool spool;
    for (std::size_t i = 0; i < count; ++i) {
      const Extent extent{at, 1 + random.Below(std::uint64_t{1} << (1 + i % 40))};
      at = extent.end() + 1 + random.Below(std::uint64_t{1} << (1 + i % 37));
      put.push_back(extent);
      ASSERT_TRUE(spool.Add(extent).ok());
    }
    auto stream = std::move(spool).Finish();
    ASSERT_TRUE(stream.ok()) << stream.error().ToString();
    ASSERT_EQ(ReadAll(**stream), put) << count;
    EXPECT_FALSE((*stream)->Next()->has_value()) << "the end stays the end";
  }
}

TEST(ExtentSpoolTest, JoinsNeighboursAndCutsAtTheStart) {
  ExtentSpool spool(150);
  for (const Extent& extent :
       {Extent{0, 100}, Extent{100, 100}, Extent{200, 0}, Extent{200, 50}, Extent{300, 1}}) {
    ASSERT_TRUE(spool.Add(extent).ok());
  }
  auto stream = std::move(spool).Finish();
  ASSERT_TRUE(stream.ok());
  EXPECT_EQ(ReadAll(**stream), (std::vector<Extent>{{150, 100}, {300, 1}}));
}

TEST(ExtentSpoolTest, RefusesWhatDoesNotAscend) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
  for (const Extent& extent : {Extent{0, 1}, Extent{99, 1}, Extent{200, kMost}}) {
    ExtentSpool spool;
    ASSERT_TRUE(spool.Add({0, 100}).ok());
    EXPECT_TRUE(spool.Add(extent).Is(Code::kInternal));
  }
  ExtentSpool spool;
  ASSERT_TRUE(spool.Add({kMost - 1, 1}).ok());
  auto stream = std::move(spool).Finish();
  EXPECT_EQ(ReadAll(**stream), (std::vector<Extent>{{kMost - 1, 1}}));
}

TEST(ExtentSpoolTest, AnErrorOfTheWalkIsTheAnswer) {
  const auto collected = CollectExtents([](const ExtentVisitor& visit) -> Status {
    TRY(visit({0, 1}));
    return Error(Code::kFailedPrecondition, "lost track");
  });
  EXPECT_TRUE(collected.Is(Code::kFailedPrecondition));
}

}  // namespace
}  // namespace thinsnap::block
