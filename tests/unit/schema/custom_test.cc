#include "simulator/schema/custom.h"

#include "simulator/schema/crd.h"
#include "tests/unit/schema/values.h"

namespace thinsnap::schema {
namespace {

std::shared_ptr<const SchemaTree> Tree(std::string_view properties) {
  auto tree = SchemaFromOpenApi(
      J(R"({"type":"object","properties":{"spec":{"type":"object","properties":)" +
        std::string(properties) + "}}}"));
  EXPECT_TRUE(tree.ok()) << tree.error().ToString();
  return tree.ok() ? *tree : nullptr;
}

std::string Judged(std::string_view properties, std::string_view spec,
                   std::string_view old_spec = "") {
  const auto tree = Tree(properties);
  const Json object = J(R"({"spec":)" + std::string(spec) + "}");
  const Json old = old_spec.empty() ? Json() : J(R"({"spec":)" + std::string(old_spec) + "}");
  return Told(ValidateBySchema(*tree->root, object, old_spec.empty() ? nullptr : &old));
}

TEST(PruneTest, DropsWhatTheSchemaDoesNotKnow) {
  const auto tree = Tree(R"({"a":{"type":"string"},
      "free":{"type":"object","x-kubernetes-preserve-unknown-fields":true,
              "properties":{"known":{"type":"object","properties":{"k":{"type":"string"}}}}},
      "map":{"type":"object","additionalProperties":{"type":"object","properties":{"v":{"type":"integer"}}}},
      "list":{"type":"array","items":{"type":"object","properties":{"i":{"type":"integer"}}}}})");
  Json object = J(R"({"apiVersion":"v1","kind":"K","metadata":{"name":"n"},"junk":1,
      "spec":{"a":"x","b":1,"free":{"anything":1,"known":{"k":"v","gone":2}},
              "map":{"one":{"v":1,"w":2}},"list":[{"i":1,"j":2}]}})");
  std::vector<std::string> pruned;
  Prune(*tree->root, object, &pruned);
  EXPECT_EQ(*Find(object, "spec"),
            J(R"({"a":"x","free":{"anything":1,"known":{"k":"v"}},"map":{"one":{"v":1}},
                  "list":[{"i":1}]})"));
  EXPECT_EQ(Find(object, "junk"), nullptr);
  EXPECT_EQ(pruned.size(), 5U);
}

TEST(DefaultTest, FillsInNestedDefaults) {
  const auto tree = Tree(R"({"a":{"type":"object","default":{},"properties":{
      "b":{"type":"string","default":"x"}}},
      "list":{"type":"array","items":{"type":"object","properties":{"c":{"type":"integer","default":3}}}},
      "maybe":{"type":"string","nullable":true,"default":"y"},
      "never":{"type":"string","default":"z"}})");
  Json object = J(R"({"spec":{"list":[{},{"c":1}],"maybe":null,"never":null}})");
  DefaultBySchema(*tree->root, object);
  EXPECT_EQ(Find(object, "spec")->as_object().at("a"), J(R"({"b":"x"})"));
  EXPECT_EQ(*Find(object, "spec.list"), J(R"([{"c":3},{"c":1}])"));
  EXPECT_TRUE(Find(object, "spec")->as_object().at("maybe").is_null());
  EXPECT_EQ(StringAt(object, "spec.never"), "z");
}

TEST(ValidateTest, ChecksTypes) {
  constexpr std::string_view kTypes = R"({"s":{"type":"string"},"i":{"type":"integer"},
      "b":{"type":"boolean"},"p":{"x-kubernetes-int-or-string":true},"n":{"type":"number"}})";
  EXPECT_EQ(Judged(kTypes, R"({"s":"a","i":1,"b":true,"p":"80%","n":1.5})"), "");
  EXPECT_EQ(Judged(kTypes, R"({"p":80,"n":1})"), "");
  EXPECT_EQ(Judged(kTypes, R"({"s":1})"), "spec.s FieldValueTypeInvalid");
  EXPECT_EQ(Judged(kTypes, R"({"i":"1"})"), "spec.i FieldValueTypeInvalid");
  EXPECT_EQ(Judged(kTypes, R"({"p":true})"), "spec.p FieldValueTypeInvalid");
}

TEST(ValidateTest, ChecksLimits) {
  EXPECT_EQ(Judged(R"({"a":{"type":"integer","minimum":1,"maximum":3}})", R"({"a":0})"),
            "spec.a FieldValueInvalid");
  EXPECT_EQ(Judged(R"({"a":{"type":"string","maxLength":2}})", R"({"a":"äöü"})"),
            "spec.a FieldValueTooLong");
  EXPECT_EQ(Judged(R"({"a":{"type":"string","pattern":"^x+$"}})", R"({"a":"xy"})"),
            "spec.a FieldValueInvalid");
  EXPECT_EQ(Judged(R"({"a":{"type":"string","enum":["x","y"]}})", R"({"a":"z"})"),
            "spec.a FieldValueNotSupported");
  EXPECT_EQ(Judged(R"({"a":{"type":"array","maxItems":1,"items":{"type":"string"}}})",
                   R"({"a":["x","y"]})"),
            "spec.a FieldValueTooMany");
}

TEST(ValidateTest, WantsEmbeddedResourcesToSayWhatTheyAre) {
  constexpr std::string_view kTemplate = R"({"t":{"type":"object",
      "x-kubernetes-embedded-resource":true,"x-kubernetes-preserve-unknown-fields":true}})";
  EXPECT_EQ(Judged(kTemplate, R"({"t":{"apiVersion":"v1","kind":"Pod","x":1}})"), "");
  EXPECT_EQ(Judged(kTemplate, R"({"t":{"kind":"Pod"}})"), "spec.t.apiVersion FieldValueRequired");
}

TEST(ValidateTest, KeepsListsUnique) {
  constexpr std::string_view kMap = R"({"l":{"type":"array","x-kubernetes-list-type":"map",
      "x-kubernetes-list-map-keys":["k"],"items":{"type":"object","required":["k"],
      "properties":{"k":{"type":"string"}}}}})";
  EXPECT_EQ(Judged(kMap, R"({"l":[{"k":"a"},{"k":"b"}]})"), "");
  EXPECT_EQ(Judged(kMap, R"({"l":[{"k":"a"},{"k":"a"}]})"), "spec.l[1] FieldValueDuplicate");
  EXPECT_EQ(
      Judged(R"({"l":{"type":"array","x-kubernetes-list-type":"set","items":{"type":"string"}}})",
             R"({"l":["a","a"]})"),
      "spec.l[1] FieldValueDuplicate");
}

TEST(ValidateTest, EvaluatesRules) {
  constexpr std::string_view kRules = R"({"a":{"type":"integer","x-kubernetes-validations":[
      {"rule":"self == oldSelf","message":"a stays"},{"rule":"self > 0"}]}})";
  EXPECT_EQ(Judged(kRules, R"({"a":1})"), "") << "transition rules are for updates";
  EXPECT_EQ(Judged(kRules, R"({"a":2})", R"({"a":1})"), "spec.a FieldValueInvalid");
  EXPECT_EQ(Judged(kRules, R"({"a":-1})"), "spec.a FieldValueInvalid");
}

constexpr const char* kDefinition = R"({"metadata":{"name":"things.example.com"},"spec":{
    "group":"example.com","scope":"Namespaced","names":{"plural":"things","kind":"Thing"},
    "versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{},
      "scale":{"specReplicasPath":".spec.n","statusReplicasPath":".status.n"}},
      "selectableFields":[{"jsonPath":".spec.color"}],
      "schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object",
        "properties":{"n":{"type":"integer"},"color":{"type":"string"}}}}}}}]}})";

TEST(CrdTest, MakesAKind) {
  Json crd = J(kDefinition);
  DefaultCrd(crd);
  EXPECT_EQ(Told(ValidateCrd(crd)), "");
  EXPECT_EQ(StringAt(crd, "spec.names.singular"), "thing");
  EXPECT_EQ(StringAt(crd, "spec.names.listKind"), "ThingList");
  const auto kind = KindFromCrd(crd);
  ASSERT_TRUE(kind.ok()) << kind.error().ToString();
  EXPECT_TRUE((*kind)->has_status);
  EXPECT_EQ((*kind)->versions[0].scale_spec_path, "spec.n");
  EXPECT_EQ((*kind)->versions[0].selectable_fields, std::vector<std::string>{"spec.color"});
}

TEST(CrdTest, RefusesWhatCannotBeServed) {
  const auto told = [](const char* path, Json value) {
    Json crd = J(kDefinition);
    DefaultCrd(crd);
    if (std::string_view(path).starts_with("schema")) {
      Set(crd.at("spec").at("versions").at(0), "schema.openAPIV3Schema", std::move(value));
    } else {
      Set(crd, path, std::move(value));
    }
    return Told(ValidateCrd(crd));
  };
  EXPECT_NE(told("metadata.name", Json("other.example.com")), "");
  EXPECT_NE(told("spec.scope", Json("Universe")), "");
  EXPECT_NE(told("spec.versions", Json(JsonArray())), "");
  EXPECT_NE(told("spec.names.kind", Json("")), "");
  EXPECT_NE(told("schema", J(R"({"type":"string"})")), "");
  EXPECT_NE(told("schema", J(R"({"type":"object","properties":{"a":{}}})")), "")
      << "a node without a type";
  EXPECT_NE(told("schema", J(R"({"type":"object","x-kubernetes-validations":[{"rule":"1 +"}]})")),
            "");
  EXPECT_EQ(told("schema", J(R"({"type":"object","properties":{"a":{"type":"strin"}}})")),
            "spec.validation.openAPIV3Schema.properties[a].type FieldValueNotSupported");
  EXPECT_EQ(told("schema", J(R"({"type":"object","properties":{
                "a":{"type":"object","default":{"b":"x"},"properties":{"b":{"type":"integer"}}},
                "c":{"type":"object","default":{},"required":["d"],
                     "properties":{"d":{"type":"integer","default":1}}}}})")),
            "spec.validation.openAPIV3Schema.properties[a].default.b FieldValueTypeInvalid");
}

TEST(CrdTest, IsEstablishedOnce) {
  KindTable kinds;
  Json crd = J(kDefinition);
  DefaultCrd(crd);
  EXPECT_FALSE(IsEstablished(crd));
  EXPECT_TRUE(EstablishCrd(kinds, crd, WallTime()));
  EXPECT_TRUE(IsEstablished(crd));
  EXPECT_FALSE(EstablishCrd(kinds, crd, WallTime())) << "nothing more to do";
}

}  // namespace
}  // namespace thinsnap::schema
