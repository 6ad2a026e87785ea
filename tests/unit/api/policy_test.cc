#include "snapshotter/api/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/data/json.h"
#include "base/data/yaml.h"

namespace thinsnap::backup {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Json Yaml(const std::string& text) {
  auto parsed = ParseYaml(text);
  EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.error().message());
  return parsed.ok() ? *parsed : Json();
}

Json Storage(const std::string& policy) {
  return Yaml(
      "metadata: {name: s, namespace: owner}\nspec: {default: true, usagePolicy: "
      "{allowedNamespaces: " +
      policy + "}}");
}

TEST(UsagePolicyTest, SameIsTheDefault) {
  const auto storage = Yaml("metadata: {name: s, namespace: owner}\nspec: {}");
  EXPECT_TRUE(MayUse(storage, "owner", nullptr));
  EXPECT_FALSE(MayUse(storage, "other", nullptr));
  EXPECT_THAT(
      UsageRefusal(storage, "BackupStorage", "other"),
      AllOf(HasSubstr("owner/s"), HasSubstr("other"), HasSubstr("allowedNamespaces.from is Same")));
}

TEST(UsagePolicyTest, AllAndSelector) {
  EXPECT_TRUE(MayUse(Storage("{from: All}"), "other", nullptr));
  const auto selector = Storage("{from: Selector, selector: {matchLabels: {team: db}}}");
  const auto match = Yaml("metadata: {name: other, labels: {team: db, x: y}}");
  const auto mismatch = Yaml("metadata: {name: other, labels: {team: web}}");
  EXPECT_TRUE(MayUse(selector, "other", &match));
  EXPECT_FALSE(MayUse(selector, "other", &mismatch));
  EXPECT_FALSE(MayUse(selector, "other", nullptr));
}

TEST(SelectorTest, KnowsTheFourOperators) {
  const auto object = Yaml("metadata: {labels: {a: '1'}}");
  const auto matches = [&](const std::string& expression) {
    return MatchesSelector(Yaml("matchExpressions: [" + expression + "]"), object);
  };
  EXPECT_TRUE(matches("{key: a, operator: In, values: ['1', '2']}"));
  EXPECT_FALSE(matches("{key: a, operator: NotIn, values: ['1']}"));
  EXPECT_TRUE(matches("{key: b, operator: NotIn, values: ['1']}"));
  EXPECT_TRUE(matches("{key: a, operator: Exists}"));
  EXPECT_TRUE(matches("{key: b, operator: DoesNotExist}"));
  EXPECT_FALSE(matches("{key: a, operator: Near}"));
}

TEST(DefaultTest, PrefersOwnNamespaceThenSelectorThenAll) {
  std::vector<Json> all{Storage("{from: All}"),
                        Storage("{from: Selector, selector: {matchLabels: {team: db}}}")};
  const auto ns = Yaml("metadata: {name: other, labels: {team: db}}");
  EXPECT_EQ(FindDefault(all, "other", &ns), &all[1]);
  EXPECT_EQ(FindDefault(all, "other", nullptr), &all[0]);
  EXPECT_EQ(FindDefault({}, "other", nullptr), nullptr);
  all.push_back(Yaml("metadata: {name: mine, namespace: other}\nspec: {default: true}"));
  EXPECT_EQ(FindDefault(all, "other", &ns), &all[2]);
}

TEST(SubstituteTest, FillsInValuesAndDefaults) {
  const auto value = [](const std::string& name) -> std::optional<std::string> {
    if (name == "a") return "1";
    if (name == "empty") return "";
    return std::nullopt;
  };
  EXPECT_EQ(Substitute("--x=${a}", value), "--x=1");
  EXPECT_EQ(Substitute("${b:=two}${empty:=three}", value), "twothree");
  EXPECT_EQ(Substitute("${b}|$a|${unclosed", value), "|$a|${unclosed");
}

}  // namespace
}  // namespace thinsnap::backup
