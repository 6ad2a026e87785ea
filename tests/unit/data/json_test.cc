#include "base/data/json.h"

#include <gtest/gtest.h>

namespace thinsnap {
namespace {

TEST(JsonTest, KeepsIntegersExact) {
  const Json value =
      *ParseJson(R"({"a": 9223372036854775807, "b": 18446744073709551615, "c": 1.5})");
  EXPECT_EQ(ToJson(value), R"({"a":9223372036854775807,"b":18446744073709551615,"c":1.5E0})");
}

TEST(JsonTest, SaysWhereItWentWrong) {
  EXPECT_NE(ParseJson("{\n  \"a\": x\n}").error().message().find("line 2, column"),
            std::string::npos);
  EXPECT_FALSE(ParseJson("{} {}").ok());
  EXPECT_FALSE(ParseJson("").ok());
}

TEST(JsonTest, RefusesWhatIsNestedTooDeep) {
  EXPECT_FALSE(ParseJson(std::string(1000, '[')).ok());
  EXPECT_FALSE(ParseJson(std::string(100, '[') + std::string(100, ']')).ok());
  EXPECT_TRUE(ParseJson(std::string(30, '[') + std::string(30, ']')).ok());
}

TEST(JsonTest, FindsByPathAndFallsBack) {
  const Json value = *ParseJson(R"({"a": {"b": [1], "c": "x", "n": 7}, "k": {"a.b/c": "dotted"}})");
  EXPECT_EQ(StringAt(value, "a.c"), "x");
  EXPECT_EQ(StringAt(value, "a.n", "no text"), "no text");
  EXPECT_EQ(IntAt(value, "a.n"), 7);
  EXPECT_EQ(IntAt(value, "a.c", -1), -1);
  EXPECT_EQ(ArrayAt(value, "a.b").size(), 1U);
  EXPECT_TRUE(ArrayAt(value, "a.c").empty());
  EXPECT_EQ(Find(value, "a.c.d"), nullptr);
  EXPECT_EQ(StringIn(value, "k", "a.b/c"), "dotted");
}

TEST(JsonTest, SetsAndRemovesByPath) {
  Json value = JsonObject();
  Set(value, "a.b.c", 1);
  Set(value, "a.d", "x");
  Remove(value, "a.b");
  Remove(value, "none.at.all");
  EXPECT_EQ(ToJson(value), R"({"a":{"d":"x"}})");
}

}  // namespace
}  // namespace thinsnap
