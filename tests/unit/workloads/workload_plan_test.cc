#include <gtest/gtest.h>

#include "base/kube/object.h"
#include "simulator/workloads/deployment_plan.h"
#include "simulator/workloads/stateful_set_plan.h"
#include "simulator/workloads/workload.h"

namespace thinsnap::workloads {
namespace {

const WallTime kNow = FromUnixSeconds(1'795'000'000);

Json Deployment(int replicas) {
  return JsonObject{
      {"metadata",
       JsonObject{{"name", "web"}, {"namespace", "ns"}, {"uid", "d"}, {"generation", 1}}},
      {"spec",
       JsonObject{{"replicas", replicas},
                  {"selector", JsonObject{{"matchLabels", JsonObject{{"app", "web"}}}}},
                  {"template",
                   JsonObject{{"metadata", JsonObject{{"labels", JsonObject{{"app", "web"}}}}}}}}}};
}

Json OldSet(int replicas, int available) {
  return JsonObject{
      {"metadata", JsonObject{{"name", "web-old"},
                              {"labels", JsonObject{{kPodTemplateHash, "old"}}},
                              {"annotations", JsonObject{{kRevision, "1"}}}}},
      {"spec", JsonObject{{"replicas", replicas}}},
      {"status", JsonObject{{"replicas", replicas}, {"availableReplicas", available}}}};
}

Json NewSet(const Json& deployment, int replicas, int available) {
  Json set = MakeReplicaSet(deployment, replicas, 2);
  Set(set, "status", JsonObject{{"replicas", replicas}, {"availableReplicas", available}});
  return set;
}

TEST(DeploymentPlanTest, FirstReplicaSet) {
  const Json deployment = Deployment(3);
  const auto plan = PlanDeployment(deployment, {}, false);
  EXPECT_TRUE(plan.create_new);
  EXPECT_EQ(plan.new_replicas, 3);
  EXPECT_EQ(plan.revision, 1);
  const Json set = MakeReplicaSet(deployment, 3, 1);
  EXPECT_EQ(kube::NameOf(set), "web-" + DeploymentHash(deployment));
  EXPECT_EQ(StringIn(set, "spec.selector.matchLabels", kPodTemplateHash),
            DeploymentHash(deployment));
  EXPECT_EQ(StringIn(set, "spec.template.metadata.labels", kPodTemplateHash),
            DeploymentHash(deployment));
}

TEST(DeploymentPlanTest, RollsWithinSurgeAndAvailability) {
  const Json deployment = Deployment(4);  // 25 %: one more, one less
  auto plan = PlanDeployment(deployment, {OldSet(4, 4)}, false);
  EXPECT_TRUE(plan.create_new);
  EXPECT_EQ(plan.new_replicas, 1);
  EXPECT_EQ(plan.revision, 2);
  plan = PlanDeployment(deployment, {OldSet(4, 4), NewSet(deployment, 1, 0)}, false);
  EXPECT_EQ(plan.scale.at("web-old"), 3);
  plan = PlanDeployment(deployment, {OldSet(3, 3), NewSet(deployment, 1, 1)}, false);
  EXPECT_EQ(plan.new_replicas, 2);
  EXPECT_TRUE(plan.scale.empty());
}

TEST(DeploymentPlanTest, RecreateWaitsForTheOldPods) {
  Json deployment = Deployment(2);
  Set(deployment, "spec.strategy.type", "Recreate");
  auto plan = PlanDeployment(deployment, {OldSet(2, 2)}, true);
  EXPECT_FALSE(plan.create_new);
  EXPECT_EQ(plan.scale.at("web-old"), 0);
  plan = PlanDeployment(deployment, {OldSet(0, 0)}, true);
  EXPECT_FALSE(plan.create_new);
  plan = PlanDeployment(deployment, {OldSet(0, 0)}, false);
  EXPECT_TRUE(plan.create_new);
  EXPECT_EQ(plan.new_replicas, 2);
}

TEST(DeploymentPlanTest, StatusIsWhatRolloutReads) {
  const Json deployment = Deployment(2);
  std::optional<Duration> again;
  Json status = DeploymentStatus(deployment, {NewSet(deployment, 2, 1)}, kNow, &again);
  EXPECT_EQ(IntAt(status, "updatedReplicas"), 2);
  EXPECT_EQ(IntAt(status, "unavailableReplicas"), 1);
  Json seen = deployment;
  Set(seen, "status", status);
  EXPECT_TRUE(kube::ConditionIs(seen, "Progressing"));
  EXPECT_EQ(again, Duration(std::chrono::seconds(600)));
  status =
      DeploymentStatus(seen, {NewSet(deployment, 2, 1)}, kNow + std::chrono::seconds(601), &again);
  Set(seen, "status", status);
  EXPECT_EQ(StringAt(*kube::FindCondition(seen, "Progressing"), "reason"),
            "ProgressDeadlineExceeded");
  Set(seen, "status", DeploymentStatus(seen, {NewSet(deployment, 2, 2)}, kNow, &again));
  EXPECT_EQ(StringAt(*kube::FindCondition(seen, "Progressing"), "reason"),
            "NewReplicaSetAvailable");
  EXPECT_TRUE(kube::ConditionIs(seen, "Available"));
}

TEST(WorkloadTest, HashesAndPercentages) {
  EXPECT_EQ(TemplateHash(JsonObject{{"a", 1}, {"b", 2}}),
            TemplateHash(JsonObject{{"b", 2}, {"a", 1}}));
  EXPECT_NE(TemplateHash(JsonObject{{"a", 1}}), TemplateHash(JsonObject{{"a", 2}}));
  const Json quarter("25%"), number(3), nonsense("many");
  EXPECT_EQ(ScaledValue(&quarter, 5, true, 9), 2);
  EXPECT_EQ(ScaledValue(&quarter, 5, false, 9), 1);
  EXPECT_EQ(ScaledValue(&number, 5, false, 9), 3);
  EXPECT_EQ(ScaledValue(&nonsense, 5, false, 9), 9);
}

Json StatefulSet(int replicas) {
  return JsonObject{
      {"metadata", JsonObject{{"name", "db"}, {"namespace", "ns"}, {"uid", "s"}}},
      {"spec",
       JsonObject{
           {"replicas", replicas},
           {"serviceName", "db"},
           {"selector", JsonObject{{"matchLabels", JsonObject{{"app", "db"}}}}},
           {"volumeClaimTemplates",
            JsonArray{Json(JsonObject{{"metadata", JsonObject{{"name", "data"}}},
                                      {"spec", JsonObject{{"storageClassName", "fast"}}}})}}}}};
}

Json Member(int ordinal, bool ready, const std::string& revision = "db-r1") {
  Json pod = JsonObject{
      {"metadata", JsonObject{{"name", "db-" + std::to_string(ordinal)},
                              {"namespace", "ns"},
                              {"labels", JsonObject{{"controller-revision-hash", revision}}}}},
      {"status", JsonObject{{"phase", "Running"}}}};
  kube::SetCondition(pod, "Ready", ready, "", "", kNow);
  return pod;
}

StatefulSetPlan Plan(const Json& set, const std::vector<Json>& pods,
                     const std::string& update = "db-r1") {
  return PlanStatefulSet({set, pods, "db-r1", update, kNow});
}

TEST(StatefulSetPlanTest, OneAfterTheOther) {
  const Json set = StatefulSet(3);
  auto plan = Plan(set, {});
  ASSERT_EQ(plan.create.size(), 1U);
  EXPECT_EQ(plan.create[0].ordinal, 0);
  EXPECT_TRUE(Plan(set, {Member(0, false)}).create.empty());
  plan = Plan(set, {Member(0, true)});
  ASSERT_EQ(plan.create.size(), 1U);
  EXPECT_EQ(plan.create[0].ordinal, 1);
  Json parallel = set;
  Set(parallel, "spec.podManagementPolicy", "Parallel");
  EXPECT_EQ(Plan(parallel, {}).create.size(), 3U);
}

TEST(StatefulSetPlanTest, ScalesDownFromTheTop) {
  const auto plan = Plan(StatefulSet(1), {Member(0, true), Member(1, true), Member(2, true)});
  ASSERT_EQ(plan.remove.size(), 1U);
  EXPECT_EQ(kube::NameOf(plan.remove[0]), "db-2");
}

TEST(StatefulSetPlanTest, UpdatesFromTheTopDownToThePartition) {
  Json set = StatefulSet(3);
  const std::vector<Json> pods{Member(0, true), Member(1, true), Member(2, true, "db-r2")};
  auto plan = Plan(set, pods, "db-r2");
  ASSERT_EQ(plan.remove.size(), 1U);
  EXPECT_EQ(kube::NameOf(plan.remove[0]), "db-1");
  Set(set, "spec.updateStrategy.rollingUpdate.partition", 2);
  EXPECT_TRUE(Plan(set, pods, "db-r2").remove.empty());
  EXPECT_EQ(StringAt(Plan(set, pods, "db-r2").status, "currentRevision"), "db-r1");
}

TEST(StatefulSetPlanTest, EndedPodsAreMadeAnew) {
  Json ended = Member(0, false);
  Set(ended, "status.phase", "Failed");
  const auto plan = Plan(StatefulSet(1), {ended});
  ASSERT_EQ(plan.remove.size(), 1U);
  EXPECT_TRUE(plan.create.empty());
}

TEST(StatefulSetPlanTest, MembersHaveStableNamesAndClaims) {
  const Json set = StatefulSet(3);
  const Json pod = MemberPod(set, JsonObject{{"spec", JsonObject()}}, 1, "db-r1");
  EXPECT_EQ(kube::NameOf(pod), "db-1");
  EXPECT_EQ(StringAt(pod, "spec.hostname"), "db-1");
  EXPECT_EQ(ToJson(*Find(pod, "spec.volumes")),
            R"([{"name":"data","persistentVolumeClaim":{"claimName":"data-db-1"}}])");
  const auto claims = MemberClaims(set, 1);
  ASSERT_EQ(claims.size(), 1U);
  EXPECT_EQ(kube::NameOf(claims[0]), "data-db-1");
  EXPECT_EQ(kube::LabelOf(claims[0], "app"), "db");
  EXPECT_EQ(StringAt(claims[0], "spec.storageClassName"), "fast");
}

}  // namespace
}  // namespace thinsnap::workloads
