#include "base/core/result.h"

#include <gtest/gtest.h>
#include <memory>
#include <vector>

namespace thinsnap {
namespace {

Result<int> Half(int value) {
  if (value % 2 != 0) return Error(Code::kInvalidArgument, "odd");
  return value / 2;
}

Result<int> Quarter(int value) {
  const int half = TRY(Half(value).In("first"));
  return Half(half).In("second");
}

TEST(ResultTest, TryPassesValuesOnAndErrorsUp) {
  EXPECT_EQ(*Quarter(12), 3);
  EXPECT_EQ(Quarter(3).error().message(), "first: odd");
  EXPECT_EQ(Quarter(6).error().ToString(), "INVALID_ARGUMENT: second: odd");
}

TEST(ResultTest, CarriesMoveOnlyValues) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 7);
}

TEST(ResultTest, ATemporarysValueOutlivesIt) {
  const auto make = []() -> Result<std::vector<int>> { return std::vector<int>{1, 2, 3}; };
  int sum = 0;
  for (const int value : *make()) sum += value;
  EXPECT_EQ(sum, 6);
}

TEST(ResultTest, StatusHasNoValueButAnError) {
  const auto check = [](bool good) -> Status {
    if (!good) return Error(Code::kNotFound, "gone");
    return {};
  };
  EXPECT_TRUE(check(true).ok());
  EXPECT_TRUE(check(false).Is(Code::kNotFound));
}

TEST(ResultDeathTest, AssertAbortsInEveryBuild) {
  EXPECT_DEATH(ASSERT(1 + 1 == 3), "assertion failed: 1 \\+ 1 == 3");
}

}  // namespace
}  // namespace thinsnap
