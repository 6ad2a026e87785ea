#include "snapshotter/api/restore_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/data/yaml.h"

namespace thinsnap::backup {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kAnnotation[] = "thinsnap.io/source-claim";

Json Template(const std::string& name, const std::string& source = "",
              const std::string& size = "1Gi") {
  auto text = "metadata: {name: '" + name + "'";
  if (!source.empty()) text += ", annotations: {" + std::string(kAnnotation) + ": " + source + "}";
  return *ParseYaml(text + "}\nspec: {resources: {requests: {storage: " + size + "}}}");
}

SourceVolume Source(const std::string& component, const std::string& claim) {
  return {component,         claim,        claim + "-17", "ts1.p.v." + claim + "@r",
          "csi.thinsnap.io", "Filesystem", 1u << 30};
}

std::vector<std::string> Pairs(const std::vector<SourceVolume>& sources,
                               const JsonArray& templates) {
  const auto plan = PlanRestore(sources, templates, kAnnotation);
  if (!plan.ok()) return {plan.error().message()};
  std::vector<std::string> pairs;
  for (const auto& volume : *plan) pairs.push_back(volume.source.claim + ">" + volume.claim());
  return pairs;
}

TEST(RestorePlanTest, MatchesByOrder) {
  EXPECT_THAT(
      Pairs({Source("volumesnapshot", "source-data"), Source("volumesnapshot", "source-config")},
            JsonArray{Template("restore-data"), Template("restore-config")}),
      ElementsAre("source-data>restore-data", "source-config>restore-config"));
}

TEST(RestorePlanTest, AnnotationsAndNamesWinOverOrder) {
  EXPECT_THAT(Pairs({Source("volumesnapshot", "a"), Source("volumesnapshot", "b"),
                     Source("volumesnapshot", "c")},
                    JsonArray{Template("x", "b"), Template("c"), Template("y")}),
              ElementsAre("b>x", "c>c", "a>y"));
}

TEST(RestorePlanTest, ExpandsTheOrdinalForEachPod) {
  EXPECT_THAT(Pairs({Source("volumesnapshot-pod-0", "source-data-kubestash-demo-0"),
                     Source("volumesnapshot-pod-1", "source-data-kubestash-demo-1")},
                    JsonArray{Template("restore-data-restore-demo-${POD_ORDINAL}")}),
              ElementsAre("source-data-kubestash-demo-0>restore-data-restore-demo-0",
                          "source-data-kubestash-demo-1>restore-data-restore-demo-1"));
}

TEST(RestorePlanTest, RefusesCountsThatDoNotMatch) {
  EXPECT_THAT(
      Pairs({Source("volumesnapshot", "a"), Source("volumesnapshot", "b")},
            JsonArray{Template("x")}),
      ElementsAre(AllOf(HasSubstr("volumeClaimTemplates"),
                        HasSubstr("1 templates for 2 volumes (a, b)"), HasSubstr(kAnnotation))));
}

TEST(RestorePlanTest, RefusesWhatCannotHoldTheVolume) {
  EXPECT_THAT(Pairs({Source("volumesnapshot", "a")}, JsonArray{Template("x", "", "512Mi")}),
              ElementsAre(AllOf(HasSubstr("template x requests 512Mi"), HasSubstr("volume a"))));
  EXPECT_THAT(Pairs({Source("volumesnapshot", "a")}, JsonArray{Template("x", "", "much")}),
              ElementsAre(HasSubstr("much")));
  EXPECT_THAT(Pairs({Source("volumesnapshot", "a")}, JsonArray{Template("x", "z")}),
              ElementsAre(AllOf(HasSubstr("z"), HasSubstr("accepted are: a"))));
  EXPECT_THAT(Pairs({Source("volumesnapshot", "a")}, JsonArray{Template("x-${POD_ORDINAL}")}),
              ElementsAre(HasSubstr("not of a StatefulSet")));
  auto block = Template("x");
  Set(block, "spec.volumeMode", "Block");
  EXPECT_THAT(Pairs({Source("volumesnapshot", "a")}, JsonArray{block}),
              ElementsAre(HasSubstr("volumeMode Block")));
}

TEST(RestorePlanTest, RefusesTwoVolumesInOneClaim) {
  EXPECT_THAT(Pairs({Source("volumesnapshot-pod-0", "a"), Source("volumesnapshot-pod-1", "b")},
                    JsonArray{Template("x"), Template("x")}),
              ElementsAre(HasSubstr("claim x")));
}

TEST(RestorePlanTest, TakesSourcesInTheOrderOfPods) {
  const auto snapshot = *ParseYaml(R"(
metadata: {name: s}
status:
  components:
    volumesnapshot-pod-10: {volumeSnapshotterStats: [{pvcName: ten, restoreSize: 1Gi}]}
    volumesnapshot-pod-2: {volumeSnapshotterStats: [{pvcName: two, volumeSnapshotHandle: h}]}
)");
  const auto all = SourcesOf(snapshot, {});
  ASSERT_TRUE(all.ok());
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[0].claim, "two");
  EXPECT_EQ((*all)[0].handle, "h");
  EXPECT_EQ((*all)[1].size_bytes, 1u << 30);
  const auto one = SourcesOf(snapshot, {"volumesnapshot-pod-10"});
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(one->size(), 1u);
  const auto wrong = SourcesOf(snapshot, {"dump"});
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().message(), AllOf(HasSubstr("dump"), HasSubstr("volumesnapshot-pod-2")));
}

TEST(QuantityTest, ReadsKubernetesSizes) {
  EXPECT_EQ(*ParseQuantity("1Gi"), 1u << 30);
  EXPECT_EQ(*ParseQuantity("1.5Ki"), 1536u);
  EXPECT_EQ(*ParseQuantity("500M"), 500000000u);
  EXPECT_EQ(*ParseQuantity("42"), 42u);
  for (const char* text : {"", "Gi", "1gb", "-1", "1e40"})
    EXPECT_FALSE(ParseQuantity(text).ok()) << text;
}

}  // namespace
}  // namespace thinsnap::backup
