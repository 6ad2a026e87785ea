#include "base/core/text.h"

#include <gtest/gtest.h>
#include <string>

namespace thinsnap {
namespace {

TEST(TextTest, CutsBeforeTheCharacterThatDoesNotFit) {
  const std::string text = "a\u00e4\u20ac\U0001F4BE!";  // 1, 2, 3, 4 and 1 bytes
  const std::size_t lengths[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
  for (std::size_t most = 0; most < std::size(lengths); ++most) {
    EXPECT_EQ(CutText(text, most), text.substr(0, lengths[most])) << most;
  }
  EXPECT_EQ(CutText("", 5), "");
}

TEST(TextTest, WhatIsNotUtf8IsCutAllTheSame) {
  const std::string odd(100, '\x80');
  EXPECT_EQ(CutText(odd, 50).size(), 50U);
}

}  // namespace
}  // namespace thinsnap
