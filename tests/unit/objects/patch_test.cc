#include "simulator/objects/patch.h"

#include <gtest/gtest.h>

#include "base/data/json.h"

namespace thinsnap::objects {
namespace {

Json J(const char* text) {
  auto value = ParseJson(text);
  EXPECT_TRUE(value.ok()) << text;
  return value.ok() ? *value : Json();
}

std::string JsonPatched(const char* object, const char* patch) {
  auto result = ApplyJsonPatch(J(object), J(patch));
  return result.ok() ? ToJson(*result) : std::to_string(result.error().code);
}

TEST(JsonPatchTest, DoesTheSixOperations) {
  EXPECT_EQ(JsonPatched(R"({"a":1})", R"([{"op":"add","path":"/b","value":2}])"),
            R"({"a":1,"b":2})");
  EXPECT_EQ(JsonPatched(R"({"a":[1,2]})", R"([{"op":"add","path":"/a/1","value":9}])"),
            R"({"a":[1,9,2]})");
  EXPECT_EQ(JsonPatched(R"({"a":[1]})", R"([{"op":"add","path":"/a/-","value":9}])"),
            R"({"a":[1,9]})");
  EXPECT_EQ(JsonPatched(R"({"a":1,"b":2})", R"([{"op":"remove","path":"/a"}])"), R"({"b":2})");
  EXPECT_EQ(JsonPatched(R"({"a":[1,2]})", R"([{"op":"remove","path":"/a/0"}])"), R"({"a":[2]})");
  EXPECT_EQ(JsonPatched(R"({"a":1})", R"([{"op":"replace","path":"/a","value":null}])"),
            R"({"a":null})");
  EXPECT_EQ(JsonPatched(R"({"a":1})", R"([{"op":"move","from":"/a","path":"/b"}])"), R"({"b":1})");
  EXPECT_EQ(JsonPatched(R"({"a":{"x":1}})", R"([{"op":"copy","from":"/a","path":"/b"}])"),
            R"({"a":{"x":1},"b":{"x":1}})");
  EXPECT_EQ(JsonPatched(R"({"a":1})", R"([{"op":"test","path":"/a","value":1}])"), R"({"a":1})");
}

TEST(JsonPatchTest, AddsWhatReplaceDoesNotFind) {
  EXPECT_EQ(JsonPatched(R"({})", R"([{"op":"replace","path":"/status","value":{}}])"),
            R"({"status":{}})");
  EXPECT_EQ(JsonPatched(R"({})", R"([{"op":"replace","path":"/status/error","value":1}])"), "422");
}

TEST(JsonPatchTest, ReadsEscapes) {
  EXPECT_EQ(JsonPatched(R"({"m":{"a.b/c~d":1}})", R"([{"op":"remove","path":"/m/a.b~1c~0d"}])"),
            R"({"m":{}})");
}

TEST(JsonPatchTest, RefusesWhatCannotBeDone) {
  EXPECT_EQ(JsonPatched(R"({})", R"([{"op":"remove","path":"/a"}])"), "422");
  EXPECT_EQ(JsonPatched(R"({})", R"([{"op":"add","path":"/a/b","value":1}])"), "422");
  EXPECT_EQ(JsonPatched(R"({"a":[]})", R"([{"op":"add","path":"/a/1","value":1}])"), "422");
  EXPECT_EQ(JsonPatched(R"({"a":1})", R"([{"op":"test","path":"/a","value":2}])"), "422");
  EXPECT_EQ(JsonPatched(R"({})", R"([{"op":"jump","path":"/a"}])"), "422");
  EXPECT_EQ(JsonPatched(R"({})", R"([{"op":"add"}])"), "422");
  EXPECT_EQ(JsonPatched(R"({})", R"({"op":"add"})"), "400");
}

TEST(MergePatchTest, FollowsTheStandard) {
  auto merged = ApplyMergePatch(J(R"({"a":{"b":1,"c":2},"d":[1]})"),
                                J(R"({"a":{"b":null,"e":{"f":null}},"d":[2]})"));
  ASSERT_TRUE(merged.ok());
  EXPECT_EQ(ToJson(*merged), R"({"a":{"c":2,"e":{}},"d":[2]})");
  EXPECT_EQ(ApplyMergePatch(J("{}"), J("[]")).error().code, 400);
}

class StrategicMergeTest : public ::testing::Test {
 protected:
  static std::string Patched(const char* spec, const char* patch) {
    Json pod = JsonObject{{"spec", J(spec)}};
    Json change = JsonObject{{"spec", J(patch)}};
    auto result = ApplyStrategicMergePatch(pod, change, *schema::BuiltinSchema("core.v1.Pod"));
    return result.ok() ? ToJson(result->at("spec")) : std::to_string(result.error().code);
  }
};

TEST_F(StrategicMergeTest, MergesListsByKey) {
  EXPECT_EQ(
      Patched(R"({"containers":[{"name":"a","image":"1"},{"name":"b","image":"1"}]})",
              R"({"containers":[{"name":"b","image":"2"},{"name":"c","image":"3"}]})"),
      R"({"containers":[{"name":"a","image":"1"},{"name":"b","image":"2"},{"name":"c","image":"3"}]})");
}

TEST_F(StrategicMergeTest, PutsNewElementsInFront) {
  EXPECT_EQ(Patched(R"({"containers":[{"name":"a"},{"name":"b"}]})",
                    R"({"containers":[{"name":"n"},{"name":"b"}]})"),
            R"({"containers":[{"name":"n"},{"name":"a"},{"name":"b"}]})");
}

TEST_F(StrategicMergeTest, ObeysDirectives) {
  EXPECT_EQ(Patched(R"({"containers":[{"name":"a"},{"name":"b"}]})",
                    R"({"containers":[{"$patch":"delete","name":"a"}]})"),
            R"({"containers":[{"name":"b"}]})");
  EXPECT_EQ(Patched(R"({"containers":[{"name":"a"}]})",
                    R"({"containers":[{"name":"c"},{"$patch":"replace"}]})"),
            R"({"containers":[{"name":"c"}]})");
  EXPECT_EQ(
      Patched(R"({"nodeSelector":{"a":"1"}})", R"({"nodeSelector":{"$patch":"replace","b":"2"}})"),
      R"({"nodeSelector":{"b":"2"}})");
  EXPECT_EQ(
      Patched(
          R"({"containers":[{"name":"a"},{"name":"b"}]})",
          R"({"$setElementOrder/containers":[{"name":"b"},{"name":"a"}],"containers":[{"name":"a","image":"i"}]})"),
      R"({"containers":[{"name":"b"},{"name":"a","image":"i"}]})");
  EXPECT_EQ(
      Patched(
          R"({"volumes":[{"name":"v","emptyDir":{}}]})",
          R"({"volumes":[{"$retainKeys":["name","hostPath"],"name":"v","hostPath":{"path":"/x"}}]})"),
      R"({"volumes":[{"name":"v","hostPath":{"path":"/x"}}]})");
}

TEST_F(StrategicMergeTest, ReplacesListsWithoutKeys) {
  EXPECT_EQ(Patched(R"({"containers":[{"name":"a","args":["1","2"]}]})",
                    R"({"containers":[{"name":"a","args":["3"]}]})"),
            R"({"containers":[{"name":"a","args":["3"]}]})");
}

TEST_F(StrategicMergeTest, MergesPrimitiveLists) {
  const schema::Schema& schema = *schema::BuiltinSchema("core.v1.Pod");
  auto result = ApplyStrategicMergePatch(
      J(R"({"metadata":{"finalizers":["a/x","a/y"]}})"),
      J(R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["a/x"],"finalizers":["a/z"]}})"),
      schema);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(ToJson(*result), R"({"metadata":{"finalizers":["a/z","a/y"]}})");
}

TEST_F(StrategicMergeTest, RefusesElementsWithoutTheirKey) {
  EXPECT_EQ(Patched(R"({"containers":[{"name":"a"}]})", R"({"containers":[{"image":"i"}]})"),
            "400");
}

}  // namespace
}  // namespace thinsnap::objects
