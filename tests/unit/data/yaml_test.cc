#include "base/data/yaml.h"

#include <gtest/gtest.h>

#include "base/data/json.h"

namespace thinsnap {
namespace {

std::string Read(const std::string& yaml) {
  const Result<Json> value = ParseYaml(yaml);
  return value.ok() ? ToJson(*value) : value.error().message();
}

TEST(YamlTest, ReadsScalarsOfTheCoreSchema) {
  EXPECT_EQ(
      Read("[1, -2, 0x10, 1.5, true, False, null, ~, yes, on, '1', \"true\", 1Gi, 1705402801, "
           "2024-01-16]"),
      R"([1,-2,16,1.5E0,true,false,null,null,"yes","on","1","true","1Gi",1705402801,"2024-01-16"])");
}

// As kubectl does: a file's mode is written in octal.
TEST(YamlTest, ReadsIntegersAsApiServersDo) {
  EXPECT_EQ(Read("[0644, 0o644, 0, 00, -0755, +0600, 089, 0xFF, -0x10, 0b101, 1_000, 0_644]"),
            "[420,420,0,0,-493,384,89,255,-16,5,1000,420]");
  EXPECT_EQ(Read("[9223372036854775807, -9223372036854775808, 18446744073709551615]"),
            "[9223372036854775807,-9223372036854775808,18446744073709551615]");
  EXPECT_EQ(Read("['0644', 0x, 0b2, 0o8, 0644-1, 0-1, 10.0.0.1, 1.2.3, 0644a]"),
            R"(["0644","0x","0b2","0o8","0644-1","0-1","10.0.0.1","1.2.3","0644a"])");
  EXPECT_EQ(Read("defaultMode: 0400"), R"({"defaultMode":256})");
}

TEST(YamlTest, ReadsWhatManifestsHold) {
  EXPECT_EQ(Read("a:\n- b: |\n    one\n    two\n  c: {d: [x, y]}\ne:\n"),
            R"({"a":[{"b":"one\ntwo\n","c":{"d":["x","y"]}}],"e":null})");
}

TEST(YamlTest, RefusesDuplicateKeysAndBombs) {
  EXPECT_NE(Read("a: 1\na: 2\n").find("\"a\" stands twice"), std::string::npos);
  std::string bomb = "a0: &a0 [x]\n";
  for (int i = 1; i < 40; ++i) {
    const std::string last = "*a" + std::to_string(i - 1);
    bomb +=
        "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last + ", " + last + "]\n";
  }
  EXPECT_NE(Read(bomb).find("unfolds to too many"), std::string::npos);
  EXPECT_FALSE(ParseYaml("a: [").ok());
}

TEST(YamlTest, NothingIsNoDocument) {
  EXPECT_TRUE(ParseYaml(std::string_view()).ok());
  EXPECT_TRUE(ParseYaml(std::string_view())->is_null());
}

TEST(YamlTest, ReadsStreams) {
  EXPECT_EQ(ParseYamlStream("---\na: 1\n---\n---\nb: 2\n")->size(), 2U);
  EXPECT_FALSE(ParseYaml("a: 1\n---\nb: 2\n").ok());
  EXPECT_TRUE(ParseYaml("")->is_null());
}

TEST(YamlTest, WritesWhatItReads) {
  const Json value = *ParseJson(
      R"({"plain":"text","empty":"","number":"1","word":"yes","colon":"a: b","multi":"x\ny\n","list":[1,{"a":[],"b":{}},[2,3],"- x"],)"
      R"("nested":{"deep":{"deeper":[{"k":"v","l":[{"m":"n"}]}]}},"none":null,"flag":true,"hash":"a #b","time":"2024-01-16T11:00:01Z",)"
      R"("key: odd":"v","quote":"it's \"so\"","big":18446744073709551615})");
  const std::string yaml = ToYaml(value);
  const Result<Json> again = ParseYaml(yaml);
  ASSERT_TRUE(again.ok()) << again.error().message() << "\n" << yaml;
  EXPECT_EQ(ToJson(*again), ToJson(value)) << yaml;
}

}  // namespace
}  // namespace thinsnap
