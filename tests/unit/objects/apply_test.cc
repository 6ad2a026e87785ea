#include "simulator/objects/apply.h"

#include <gmock/gmock.h>

#include "simulator/objects/field_set.h"
#include "tests/unit/schema/values.h"

namespace thinsnap::objects {
namespace {

constexpr WallTime kNow{};

const schema::Schema& SchemaOf(std::string_view group, std::string_view resource) {
  return *BuiltinKind(group, resource)->versions.front().schema;
}

Json Applied(const schema::Schema& schema, const Json* live, std::string_view patch,
             const std::string& manager, bool force = false) {
  auto result = ApplyConfiguration(schema, live, J(patch), {manager, "v1", ""}, force, kNow);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
  return result.ok() ? *result : Json();
}

std::string FieldsOfManager(const Json& object, std::string_view manager) {
  for (const Json& entry : ArrayAt(object, "metadata.managedFields")) {
    if (StringAt(entry, "manager") == manager) return ToJson(*Find(entry, "fieldsV1"));
  }
  return "none";
}

TEST(ApplyTest, MakesAndOwns) {
  const Json made = Applied(SchemaOf("", "configmaps"), nullptr,
                            R"({"metadata":{"name":"c"},"data":{"a":"1"}})", "m");
  EXPECT_EQ(StringAt(made, "data.a"), "1");
  EXPECT_EQ(FieldsOfManager(made, "m"), R"({"f:data":{"f:a":{}}})");
}

TEST(ApplyTest, RemovesWhatItAppliesNoMore) {
  const schema::Schema& schema = SchemaOf("", "configmaps");
  const Json first = Applied(schema, nullptr, R"({"data":{"a":"1","b":"2"}})", "m");
  const Json second = Applied(schema, &first, R"({"data":{"b":"2"}})", "m");
  EXPECT_EQ(ToJson(*Find(second, "data")), R"({"b":"2"})");
}

TEST(ApplyTest, KeepsTheMapOfWhatItStillApplies) {
  // kubectl makes this of what it applied on its own side before: the map itself is owned too.
  const Json live = J(R"({"metadata":{"managedFields":[{"manager":"m","operation":"Apply",
      "apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1",
      "fieldsV1":{"f:data":{".":{},"f:a":{},"f:b":{}}}}]},"data":{"a":"1","b":"2"}})");
  const schema::Schema& schema = SchemaOf("", "configmaps");
  const Json next = Applied(schema, &live, R"({"data":{"b":"2"}})", "m");
  EXPECT_EQ(ToJson(*Find(next, "data")), R"({"b":"2"})");
  const Json none = Applied(schema, &live, R"({"metadata":{"name":"c"}})", "m");
  EXPECT_EQ(Find(none, "data"), nullptr);
}

TEST(ApplyTest, TellsWhoOwnsWhatItWouldChange) {
  const schema::Schema& schema = SchemaOf("", "configmaps");
  const Json first = Applied(schema, nullptr, R"({"data":{"a":"1"}})", "m");
  const auto refused =
      ApplyConfiguration(schema, &first, J(R"({"data":{"a":"2"}})"), {"n", "v1", ""}, false, kNow);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, 409);
  ASSERT_EQ(refused.error().causes.size(), 1U);
  EXPECT_EQ(refused.error().causes[0].field, ".data.a");
  EXPECT_THAT(refused.error().message, testing::HasSubstr("conflict with \"m\""));
  // The same value is no conflict: both own it then, and one of them leaving changes nothing.
  const Json shared = Applied(schema, &first, R"({"data":{"a":"1"}})", "n");
  const Json left = Applied(schema, &shared, R"({"data":{}})", "m");
  EXPECT_EQ(StringAt(left, "data.a"), "1");
  const Json forced = Applied(schema, &first, R"({"data":{"a":"2"}})", "n", true);
  EXPECT_EQ(FieldsOfManager(forced, "m"), "none");
}

TEST(ApplyTest, MergesListsByTheirKeys) {
  const schema::Schema& schema = SchemaOf("apps", "deployments");
  const Json first =
      Applied(schema, nullptr,
              R"({"spec":{"template":{"spec":{"containers":[{"name":"a","image":"1"}]}}}})", "m");
  const Json second =
      Applied(schema, &first,
              R"({"spec":{"template":{"spec":{"containers":[{"name":"b","image":"2"}]}}}})", "n");
  EXPECT_EQ(ArrayAt(second, "spec.template.spec.containers").size(), 2U);
  const auto twice = ApplyConfiguration(
      schema, &first,
      J(R"({"spec":{"template":{"spec":{"containers":[{"name":"a"},{"name":"a"}]}}}})"),
      {"m", "v1", ""}, false, kNow);
  ASSERT_FALSE(twice.ok());
  EXPECT_EQ(twice.error().code, 400);
}

TEST(ApplyTest, RefusesBookkeepingFromOutside) {
  const auto refused = ApplyConfiguration(SchemaOf("", "configmaps"), nullptr,
                                          J(R"({"metadata":{"managedFields":[{"manager":"x"}]}})"),
                                          {"m", "v1", ""}, false, kNow);
  EXPECT_FALSE(refused.ok());
}

TEST(TrackUpdateTest, OwnsWhatChanged) {
  const schema::Schema& schema = SchemaOf("", "configmaps");
  Json object = J(R"({"metadata":{"name":"c","labels":{"x":"y"}},"data":{"a":"1"}})");
  TrackUpdate(schema, nullptr, object, {"m", "v1", ""}, kNow);
  // A map that was not there before is a change itself.
  EXPECT_EQ(FieldsOfManager(object, "m"),
            R"({"f:data":{".":{},"f:a":{}},"f:metadata":{"f:labels":{".":{},"f:x":{}}}})");
  Json next = object;
  Set(next, "data.b", Json("2"));
  TrackUpdate(schema, &object, next, {"n", "v1", ""}, kNow);
  EXPECT_EQ(FieldsOfManager(next, "n"), R"({"f:data":{"f:b":{}}})");
  EXPECT_THAT(FieldsOfManager(next, "m"), testing::HasSubstr("f:a"));
}

TEST(TrackUpdateTest, SkipsTheParentsThatAreAlwaysThere) {
  Json object = J(R"({"spec":{"replicas":1,"strategy":{"type":"Recreate"},
                      "template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}})");
  TrackUpdate(SchemaOf("apps", "deployments"), nullptr, object, {"m", "v1", ""}, kNow);
  EXPECT_EQ(FieldsOfManager(object, "m"),
            R"({"f:spec":{"f:replicas":{},"f:strategy":{"f:type":{}},"f:template":{"f:spec":)"
            R"({"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{}}}}}}})");
}

TEST(TrackUpdateTest, ForgetsWhenAClientAsksForIt) {
  Json object = J(R"({"metadata":{"managedFields":[{}]},"data":{"a":"1"}})");
  TrackUpdate(SchemaOf("", "configmaps"), nullptr, object, {"m", "v1", ""}, kNow);
  EXPECT_EQ(Find(object, "metadata.managedFields"), nullptr);
}

TEST(FieldSetTest, ComesBackFromJson) {
  const Json json = J(R"({"f:data":{".":{},"f:a":{}},"f:list":{"v:\"x\"":{}}})");
  EXPECT_EQ(FieldSet::FromJson(json).ToJson(), json);
}

TEST(FieldSetTest, AddsSubtractsAndIntersects) {
  FieldSet set = FieldSet::FromJson(J(R"({"f:a":{},"f:b":{"f:c":{}}})"));
  const FieldSet other = FieldSet::FromJson(J(R"({"f:b":{"f:c":{},"f:d":{}}})"));
  EXPECT_EQ(ToJson(set.IntersectedWith(other).ToJson()), R"({"f:b":{"f:c":{}}})");
  EXPECT_TRUE(set.Overlaps(other));
  set.Add(other);
  EXPECT_EQ(ToJson(set.ToJson()), R"({"f:a":{},"f:b":{"f:c":{},"f:d":{}}})");
  set.Subtract(other);
  EXPECT_EQ(ToJson(set.ToJson()), R"({"f:a":{}})");
}

}  // namespace
}  // namespace thinsnap::objects
