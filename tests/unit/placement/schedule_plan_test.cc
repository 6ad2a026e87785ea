#include "simulator/placement/schedule_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/kube/object.h"
#include "simulator/placement/volume_match.h"

namespace thinsnap::placement {
namespace {

kube::ObjectPtr Share(Json object) { return std::make_shared<const Json>(std::move(object)); }

Json Node(const std::string& name) {
  return JsonObject{
      {"metadata",
       JsonObject{{"name", name}, {"labels", JsonObject{{"kubernetes.io/hostname", name}}}}},
      {"status",
       JsonObject{{"allocatable", JsonObject{{"cpu", "2"}, {"memory", "1Gi"}, {"pods", "10"}}}}}};
}

Json Pod(const std::string& name, const std::string& cpu = "", const std::string& node = "") {
  Json pod =
      JsonObject{{"metadata", JsonObject{{"name", name}, {"uid", name}}}, {"spec", JsonObject()}};
  Json container = JsonObject{{"name", "main"}};
  if (!cpu.empty()) Set(container, "resources.requests", JsonObject{{"cpu", cpu}});
  Set(pod, "spec.containers", JsonArray{container});
  if (!node.empty()) Set(pod, "spec.nodeName", Json(node));
  return pod;
}

ScheduleInput Input(Json pod, const std::vector<Json>& nodes) {
  ScheduleInput input;
  input.pod = Share(std::move(pod));
  for (const Json& node : nodes) input.nodes.push_back(Share(node));
  return input;
}

PodClaim LateClaim(const std::string& provisioner) {
  PodClaim claim;
  claim.claim = Share(JsonObject{{"metadata", JsonObject{{"name", "c"}, {"uid", "c"}}},
                                 {"spec", JsonObject{{"storageClassName", "late"}}}});
  claim.storage_class = Share(
      JsonObject{{"provisioner", provisioner}, {"volumeBindingMode", "WaitForFirstConsumer"}});
  return claim;
}

TEST(SchedulePlanTest, SpreadsOverNodes) {
  auto input = Input(Pod("p"), {Node("a"), Node("b")});
  EXPECT_EQ(PlanSchedule(input).node, "a");
  input.pods.push_back(Share(Pod("q", "", "a")));
  EXPECT_EQ(PlanSchedule(input).node, "b");
}

TEST(SchedulePlanTest, GathersReasons) {
  Json tainted = Node("b"), closed = Node("c");
  Set(tainted, "spec.taints",
      JsonArray{Json(JsonObject{{"key", "k"}, {"value", "v"}, {"effect", "NoSchedule"}})});
  Set(closed, "spec.unschedulable", true);
  const auto plan = PlanSchedule(Input(Pod("p", "3"), {Node("a"), Node("d"), tainted, closed}));
  EXPECT_EQ(plan.node, "");
  EXPECT_EQ(plan.message,
            "0/4 nodes are available: 2 Insufficient cpu, 1 node(s) had untolerated taint {k: v}, "
            "1 node(s) were "
            "unschedulable.");
  EXPECT_EQ(PlanSchedule(Input(Pod("p"), {})).message, "no nodes available to schedule pods");
}

TEST(SchedulePlanTest, CountsWhatOthersRequested) {
  auto input = Input(Pod("p", "1500m"), {Node("a")});
  EXPECT_EQ(PlanSchedule(input).node, "a");
  input.pods.push_back(Share(Pod("q", "1", "a")));
  EXPECT_EQ(PlanSchedule(input).node, "");
  Json ended = Pod("q", "1", "a");
  Set(ended, "status.phase", "Succeeded");
  input.pods = {Share(ended)};
  EXPECT_EQ(PlanSchedule(input).node, "a");
}

TEST(SchedulePlanTest, Tolerations) {
  Json tainted = Node("a");
  Set(tainted, "spec.taints",
      JsonArray{Json(JsonObject{{"key", "k"}, {"value", "v"}, {"effect", "NoSchedule"}})});
  const auto with = [&](const char* toleration) {
    Json pod = Pod("p");
    Set(pod, "spec.tolerations", JsonArray{*ParseJson(toleration)});
    return PlanSchedule(Input(pod, {tainted})).node;
  };
  EXPECT_EQ(with(R"({"key": "k", "value": "v"})"), "a");
  EXPECT_EQ(with(R"({"key": "k", "value": "w"})"), "");
  EXPECT_EQ(with(R"({"key": "k", "operator": "Exists", "effect": "NoSchedule"})"), "a");
  EXPECT_EQ(with(R"({"key": "k", "operator": "Exists", "effect": "NoExecute"})"), "");
  EXPECT_EQ(with(R"({"operator": "Exists"})"), "a");
}

TEST(SchedulePlanTest, NodeAffinity) {
  const auto on = [&](const char* affinity) {
    Json pod = Pod("p");
    Set(pod, "spec.affinity.nodeAffinity", *ParseJson(affinity));
    return PlanSchedule(Input(pod, {Node("a"), Node("b")})).node;
  };
  EXPECT_EQ(on(R"({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
      {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["a"]}]}]}})"),
            "b");
  EXPECT_EQ(on(R"({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
      {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]}})"),
            "b");
  EXPECT_EQ(
      on(R"({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}})"), "");
  EXPECT_EQ(on(R"({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference":
      {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["b"]}]}}]})"),
            "b");
}

TEST(SchedulePlanTest, VolumesDecideTheNode) {
  auto input = Input(Pod("p"), {Node("a"), Node("b")});
  PodClaim bound;
  bound.claim = Share(JsonObject());
  bound.volume = Share(*ParseJson(R"({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [
      {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["b"]}]}]}}}})"));
  input.claims = {bound};
  EXPECT_EQ(PlanSchedule(input).node, "b");
}

TEST(SchedulePlanTest, UnboundClaimsNeedTheirDriverOnTheNode) {
  auto input = Input(Pod("p"), {Node("a"), Node("b")});
  input.claims = {LateClaim("d")};
  input.csi_provisioners = {"d"};
  input.drivers["b"] = {"d"};
  EXPECT_EQ(PlanSchedule(input).node, "b");
  input.drivers.clear();
  EXPECT_NE(PlanSchedule(input).message.find("had no CSI driver d"), std::string::npos);
}

TEST(SchedulePlanTest, ANodeThatRefusedIsTheLastChoice) {
  auto input = Input(Pod("p"), {Node("a"), Node("b")});
  input.claims = {LateClaim("d")};
  input.claims[0].refused_nodes = {"a"};
  EXPECT_EQ(PlanSchedule(input).node, "b");
  input.claims[0].refused_nodes = {"a", "b"};
  EXPECT_EQ(PlanSchedule(input).node, "a");
}

Json Volume(const std::string& name, const std::string& size) {
  return JsonObject{
      {"metadata", JsonObject{{"name", name}, {"labels", JsonObject{{"tier", name}}}}},
      {"spec", JsonObject{{"capacity", JsonObject{{"storage", size}}},
                          {"accessModes", JsonArray{Json("ReadWriteOnce")}},
                          {"storageClassName", "c"}}},
      {"status", JsonObject{{"phase", "Available"}}}};
}

Json Claim(const std::string& size) {
  return JsonObject{
      {"metadata", JsonObject{{"name", "data"}, {"namespace", "ns"}, {"uid", "u"}}},
      {"spec", JsonObject{{"resources", JsonObject{{"requests", JsonObject{{"storage", size}}}}},
                          {"accessModes", JsonArray{Json("ReadWriteOnce")}},
                          {"storageClassName", "c"}}}};
}

std::string Found(const Json& claim, const std::vector<Json>& volumes, bool only_reserved = false) {
  std::vector<kube::ObjectPtr> shared;
  for (const Json& volume : volumes) shared.push_back(Share(volume));
  const auto found = FindVolumeFor(claim, shared, nullptr, only_reserved);
  return found ? kube::NameOf(*found) : "";
}

TEST(VolumeMatchTest, SmallestThatSatisfies) {
  EXPECT_EQ(
      Found(Claim("1Gi"), {Volume("big", "9Gi"), Volume("fit", "2Gi"), Volume("tiny", "1Mi")}),
      "fit");
  EXPECT_EQ(Found(Claim("10Gi"), {Volume("big", "9Gi")}), "");
  Json claim = Claim("1Gi");
  Set(claim, "spec.storageClassName", "other");
  EXPECT_EQ(Found(claim, {Volume("fit", "2Gi")}), "");
  claim = Claim("1Gi");
  Set(claim, "spec.accessModes", JsonArray{Json("ReadWriteMany")});
  EXPECT_EQ(Found(claim, {Volume("fit", "2Gi")}), "");
  claim = Claim("1Gi");
  Set(claim, "spec.volumeMode", "Block");
  EXPECT_EQ(Found(claim, {Volume("fit", "2Gi")}), "");
  claim = Claim("1Gi");
  Set(claim, "spec.selector.matchLabels", JsonObject{{"tier", "big"}});
  EXPECT_EQ(Found(claim, {Volume("fit", "2Gi"), Volume("big", "9Gi")}), "big");
}

TEST(VolumeMatchTest, ReservedOnesComeFirst) {
  Json reserved = Volume("mine", "9Gi"), others = Volume("theirs", "2Gi");
  Set(reserved, "spec.claimRef", JsonObject{{"name", "data"}, {"namespace", "ns"}});
  Set(others, "spec.claimRef",
      JsonObject{{"name", "data"}, {"namespace", "ns"}, {"uid", "an earlier one"}});
  EXPECT_EQ(Found(Claim("1Gi"), {Volume("free", "2Gi"), others, reserved}), "mine");
  EXPECT_EQ(Found(Claim("1Gi"), {Volume("free", "2Gi"), reserved}, true), "mine");
  EXPECT_EQ(Found(Claim("1Gi"), {Volume("free", "2Gi"), others}, true), "");
}

TEST(VolumeMatchTest, DefaultClassIsTheNewest) {
  const auto make = [](const char* name, const char* created, bool is_default) {
    Json storage_class =
        JsonObject{{"metadata", JsonObject{{"name", name}, {"creationTimestamp", created}}}};
    if (is_default)
      kube::SetAnnotation(storage_class, "storageclass.kubernetes.io/is-default-class", "true");
    return Share(std::move(storage_class));
  };
  const auto chosen = DefaultClass({make("a", "2026-01-01T00:00:00Z", true),
                                    make("b", "2026-01-02T00:00:00Z", true),
                                    make("c", "2026-01-03T00:00:00Z", false)});
  ASSERT_TRUE(chosen);
  EXPECT_EQ(kube::NameOf(*chosen), "b");
  EXPECT_FALSE(DefaultClass({}));
}

Json Labelled(Json object, const std::string& key, const std::string& value) {
  kube::SetLabel(object, key, value);
  return object;
}

Json Terms(const std::string& topology) {
  return JsonArray{
      JsonObject{{"topologyKey", topology},
                 {"labelSelector", JsonObject{{"matchLabels", JsonObject{{"app", "x"}}}}}}};
}

constexpr char kAnti[] =
    "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution";
constexpr char kTogether[] =
    "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution";

TEST(SchedulePlanTest, KeepsApartWhatWantsToBe) {
  Json first = Labelled(Pod("p", "", "a"), "app", "x"), second = Labelled(Pod("q"), "app", "x");
  Set(second, kAnti, Terms("kubernetes.io/hostname"));
  auto input = Input(second, {Node("a"), Node("b")});
  input.pods = {Share(first)};
  EXPECT_EQ(PlanSchedule(input).node, "b");
  input.pods.push_back(Share(Labelled(Pod("r", "", "b"), "app", "x")));
  EXPECT_EQ(PlanSchedule(input).message,
            "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.");
}

TEST(SchedulePlanTest, RespectsTheWishesOfThoseThatAreThere) {
  Json loner = Pod("p", "", "a");
  Set(loner, kAnti, Terms("kubernetes.io/hostname"));
  auto input = Input(Labelled(Pod("q"), "app", "x"), {Node("a")});
  input.pods = {Share(loner)};
  EXPECT_EQ(PlanSchedule(input).message,
            "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.");
  input.pod = Share(Labelled(Pod("q"), "app", "other"));
  EXPECT_EQ(PlanSchedule(input).node, "a");
}

TEST(SchedulePlanTest, BringsTogetherAndLetsTheFirstChoose) {
  Json pod = Labelled(Pod("q"), "app", "x");
  Set(pod, kTogether, Terms("kubernetes.io/hostname"));
  auto input = Input(pod, {Node("a"), Node("b")});
  EXPECT_EQ(PlanSchedule(input).node, "a");
  input.pods = {Share(Labelled(Pod("p", "", "b"), "app", "x")), Share(Pod("o", "", "b"))};
  EXPECT_EQ(PlanSchedule(input).node, "b");
  Json stranger = Pod("s");
  Set(stranger, kTogether, Terms("kubernetes.io/hostname"));
  input.pod = Share(stranger);
  input.pods.clear();
  EXPECT_EQ(PlanSchedule(input).message,
            "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.");
}

TEST(SchedulePlanTest, SpreadsOverDomains) {
  Json pod = Labelled(Pod("q"), "app", "x");
  Set(pod, "spec.topologySpreadConstraints",
      JsonArray{
          JsonObject{{"topologyKey", "kubernetes.io/hostname"},
                     {"maxSkew", 1},
                     {"whenUnsatisfiable", "DoNotSchedule"},
                     {"labelSelector", JsonObject{{"matchLabels", JsonObject{{"app", "x"}}}}}}});
  auto input = Input(pod, {Node("a"), Node("b")});
  // The other pods on b would speak for a.
  input.pods = {Share(Labelled(Pod("p", "", "a"), "app", "x")), Share(Pod("1", "", "b")),
                Share(Pod("2", "", "b"))};
  EXPECT_EQ(PlanSchedule(input).node, "b");
  Json closed = Node("b");
  Set(closed, "spec.unschedulable", true);
  input.nodes[1] = Share(closed);
  EXPECT_EQ(PlanSchedule(input).message,
            "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, "
            "1 node(s) were unschedulable.");
}

TEST(SchedulePlanTest, AClaimOfOnePodIsForOnePod) {
  PodClaim claim = LateClaim("x");
  Json alone = *claim.claim;
  Set(alone, "spec.accessModes", JsonArray{Json("ReadWriteOncePod")});
  claim.claim = Share(alone);
  Json user = Pod("p", "", "a");
  Set(user, "spec.volumes",
      JsonArray{
          JsonObject{{"name", "v"}, {"persistentVolumeClaim", JsonObject{{"claimName", "c"}}}}});
  auto input = Input(Pod("q"), {Node("a")});
  input.claims = {claim};
  EXPECT_EQ(PlanSchedule(input).node, "a");
  input.pods = {Share(user)};
  EXPECT_THAT(PlanSchedule(input).message, testing::HasSubstr("ReadWriteOncePod access mode"));
}

}  // namespace
}  // namespace thinsnap::placement
