#include "simulator/objects/selectors.h"

#include <gtest/gtest.h>

#include "base/data/json.h"

namespace thinsnap::objects {
namespace {

Json Labelled(const char* labels) {
  auto value = ParseJson(std::string(R"({"metadata":{"name":"n","labels":)") + labels + "}}");
  EXPECT_TRUE(value.ok());
  return *value;
}

bool Matches(const char* selector, const char* labels) {
  auto parsed = LabelSelector::Parse(selector);
  EXPECT_TRUE(parsed.ok()) << selector;
  return parsed.ok() && parsed->Matches(Labelled(labels));
}

TEST(LabelSelectorTest, MatchesByEveryOperator) {
  const char* labels = R"({"a":"1","n":"5"})";
  for (const char* yes : {"", "a", "a=1", "a==1", "a!=2", "b!=1", "a in (1,2)", "a notin (2)",
                          "b notin (2)", "!b", "a=1,!b", " a = 1 , n ", "n>4", "n<6"}) {
    EXPECT_TRUE(Matches(yes, labels)) << yes;
  }
  for (const char* no :
       {"b", "a=2", "a!=1", "a in (2)", "a notin (1)", "!a", "a=1,b", "n>5", "a="}) {
    EXPECT_FALSE(Matches(no, labels)) << no;
  }
}

TEST(LabelSelectorTest, RefusesWhatIsNone) {
  for (const char* bad : {"a b c", "a in 1", "a in (1", "=1", "a=b c", "a,", "!", "a=-x", "a>b"}) {
    auto parsed = LabelSelector::Parse(bad);
    ASSERT_FALSE(parsed.ok()) << bad;
    EXPECT_EQ(parsed.error().code, 400);
  }
}

TEST(LabelSelectorTest, ReadsSelectorObjects) {
  auto object = ParseJson(
      R"({"matchLabels":{"b":"2","a":"1"},"matchExpressions":[{"key":"c","operator":"Exists"}]})");
  auto selector = LabelSelector::FromObject(*object);
  ASSERT_TRUE(selector.ok());
  EXPECT_EQ(selector->ToString(), "a=1,b=2,c");
  EXPECT_TRUE(selector->Matches(Labelled(R"({"a":"1","b":"2","c":""})")));
  EXPECT_FALSE(selector->Matches(Labelled(R"({"a":"1","b":"2"})")));
  EXPECT_FALSE(LabelSelector::FromObject(Json())->Matches(Labelled("{}")));
  EXPECT_TRUE(LabelSelector::FromObject(JsonObject())->Matches(Labelled("{}")));
}

class FieldSelectorTest : public ::testing::Test {
 protected:
  schema::ApiResult<FieldSelector> Parse(const char* group, const char* resource,
                                         const char* text) {
    const auto kind = kinds_.FindResource(group, resource);
    EXPECT_TRUE(kind);
    return FieldSelector::Parse(text, *kind, kind->versions.front());
  }
  schema::KindTable kinds_;
};

TEST_F(FieldSelectorTest, MatchesSelectableFields) {
  auto pod = ParseJson(
      R"({"metadata":{"name":"p"},"spec":{"nodeName":"n"},"status":{"phase":"Running"}})");
  for (const char* yes : {"spec.nodeName=n", "status.phase==Running,metadata.name=p",
                          "status.phase!=Failed", "spec.hostNetwork=false"}) {
    auto selector = Parse("", "pods", yes);
    ASSERT_TRUE(selector.ok()) << yes;
    EXPECT_TRUE(selector->Matches(*pod)) << yes;
  }
  EXPECT_FALSE(Parse("", "pods", "spec.nodeName=")->Matches(*pod));
  EXPECT_EQ(Parse("", "pods", "metadata.name=p,spec.nodeName=n")->RequiredName(), "p");
}

TEST_F(FieldSelectorTest, RefusesOtherFields) {
  EXPECT_FALSE(Parse("", "configmaps", "data.x=1").ok());
  EXPECT_FALSE(Parse("", "pods", "spec.nodeName").ok());
}

TEST_F(FieldSelectorTest, FindsNewEventsByTheirOldNames) {
  auto stored = ParseJson(
      R"({"metadata":{"name":"e"},"involvedObject":{"name":"p"},"source":{"component":"kubelet"}})");
  EXPECT_TRUE(Parse("events.k8s.io", "events", "regarding.name=p")->Matches(*stored));
  EXPECT_TRUE(Parse("", "events", "involvedObject.name=p,source=kubelet")->Matches(*stored));
}

}  // namespace
}  // namespace thinsnap::objects
