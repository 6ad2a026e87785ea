#include "simulator/controllers/owner_graph.h"

#include <gtest/gtest.h>

#include "base/kube/object.h"

namespace thinsnap::controllers {
namespace {

TEST(OwnerGraphTest, KnowsDependentsOfTheAbsent) {
  OwnerGraph graph;
  graph.Put({kube::types::kPod, {"ns", "p"}, "p", {{"r", "apps/v1", "ReplicaSet", "rs", true}}});
  ASSERT_EQ(graph.DependentsOf("r").size(), 1U);
  graph.Put({kube::types::kPod, {"ns", "p"}, "p", {}});
  EXPECT_TRUE(graph.DependentsOf("r").empty());
  graph.Remove("p");
  EXPECT_EQ(graph.Find("p"), nullptr);
}

TEST(OwnerGraphTest, PlansCollection) {
  using enum OwnerState;
  OwnedObject object{
      kube::types::kPod, {"ns", "p"}, "p", {{"a", "", "", "", false}, {"b", "", "", "", false}}};
  EXPECT_EQ(PlanCollect(object, {kPresent, kPresent}, false), Collect::kNothing);
  EXPECT_EQ(PlanCollect(object, {kPresent, kAbsent}, false), Collect::kDropReferences);
  EXPECT_EQ(PlanCollect(object, {kAbsent, kAbsent}, true), Collect::kDelete);
  EXPECT_EQ(PlanCollect(object, {kAbsent, kWaiting}, true), Collect::kDeleteForeground);
  EXPECT_EQ(PlanCollect(object, {kAbsent, kWaiting}, false), Collect::kDelete);
  object.deleting = true;
  EXPECT_EQ(PlanCollect(object, {kAbsent, kAbsent}, false), Collect::kNothing);
}

}  // namespace
}  // namespace thinsnap::controllers
