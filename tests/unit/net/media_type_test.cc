#include "base/net/media_type.h"

#include <gtest/gtest.h>

namespace thinsnap::net {
namespace {

TEST(MediaTypeTest, SortsByQuality) {
  const auto all = ParseAccept("text/html;q=0.5, application/json;q=0.9, a/b");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].type, "a/b");
  EXPECT_EQ(all[1].type, "application/json");
}

TEST(MediaTypeTest, KeepsParametersAndLowersTheType) {
  const auto media = ParseMediaType(" Application/JSON ; as=Table;v=v1 ");
  EXPECT_EQ(media.type, "application/json");
  EXPECT_EQ(media.Parameter("as"), "Table");
  EXPECT_EQ(media.Parameter("v"), "v1");
  EXPECT_EQ(media.Parameter("g"), "");
}

}  // namespace
}  // namespace thinsnap::net
