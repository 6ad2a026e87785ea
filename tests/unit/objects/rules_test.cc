#include "simulator/objects/rules.h"

#include "base/core/random.h"
#include "tests/unit/schema/values.h"

namespace thinsnap::objects {
namespace {

constexpr WallTime kNow{};

class RulesTest : public ::testing::Test {
 protected:
  Json Created(const schema::KindRef& kind, std::string_view text) {
    Json object = J(text);
    const auto done = PrepareCreate(*kind, kind->versions.front(), kind->namespaced ? "n" : "",
                                    object, kNow, random_);
    EXPECT_TRUE(done.ok()) << (done.ok() ? "" : done.error().message);
    return object;
  }
  Json Updated(const schema::KindRef& kind, std::string_view subresource, const Json& old,
               std::string_view text) {
    Json object = J(text);
    const auto done = PrepareUpdate(*kind, kind->versions.front(), subresource, old, object);
    EXPECT_TRUE(done.ok()) << (done.ok() ? "" : done.error().message);
    return object;
  }

  SystemRandom random_;
  const schema::KindRef maps_ = BuiltinKind("", "configmaps");
  const schema::KindRef claims_ = BuiltinKind("", "persistentvolumeclaims");
  const schema::KindRef deployments_ = BuiltinKind("apps", "deployments");
  const schema::KindRef pods_ = BuiltinKind("", "pods");
};

TEST_F(RulesTest, FillsInWhatOnlyTheServerSays) {
  const Json made = Created(deployments_, R"({"metadata":{"generateName":"d-","uid":"mine",
      "deletionTimestamp":"x"},"status":{"replicas":5}})");
  EXPECT_TRUE(StringAt(made, "metadata.name").starts_with("d-"));
  EXPECT_EQ(StringAt(made, "metadata.name").size(), 7U);
  EXPECT_NE(StringAt(made, "metadata.uid"), "mine");
  EXPECT_EQ(StringAt(made, "metadata.namespace"), "n");
  EXPECT_EQ(IntAt(made, "metadata.generation"), 1);
  EXPECT_EQ(Find(made, "metadata.deletionTimestamp"), nullptr);
  EXPECT_EQ(Find(made, "status.replicas"), nullptr);
}

TEST_F(RulesTest, RefusesAnotherNamespaceAndAVersion) {
  for (const char* text : {R"({"metadata":{"name":"a","namespace":"other"}})",
                           R"({"metadata":{"name":"a","resourceVersion":"7"}})"}) {
    Json object = J(text);
    EXPECT_FALSE(PrepareCreate(*maps_, maps_->versions.front(), "n", object, kNow, random_).ok())
        << text;
  }
  Json zero = J(R"({"metadata":{"name":"a","resourceVersion":"0"}})");
  EXPECT_TRUE(PrepareCreate(*maps_, maps_->versions.front(), "n", zero, kNow, random_).ok());
}

TEST_F(RulesTest, CountsGenerationsOfTheSpecOnly) {
  const Json old = J(R"({"metadata":{"name":"d","namespace":"n","uid":"u","generation":3},
      "spec":{"replicas":1},"status":{"replicas":1}})");
  const Json same =
      Updated(deployments_, "", old,
              R"({"metadata":{"name":"d","labels":{"a":"b"}},"spec":{"replicas":1}})");
  EXPECT_EQ(IntAt(same, "metadata.generation"), 3);
  EXPECT_EQ(StringAt(same, "metadata.uid"), "u");
  EXPECT_EQ(IntAt(same, "status.replicas"), 1) << "status is written at /status";
  const Json more =
      Updated(deployments_, "", old, R"({"metadata":{"name":"d"},"spec":{"replicas":2}})");
  EXPECT_EQ(IntAt(more, "metadata.generation"), 4);
}

TEST_F(RulesTest, WritesTheStatusAloneAtItsPath) {
  const Json old = J(R"({"metadata":{"name":"d","namespace":"n","generation":3},
      "spec":{"replicas":1},"status":{"replicas":1}})");
  const Json next =
      Updated(deployments_, "status", old,
              R"({"metadata":{"name":"d"},"spec":{"replicas":9},"status":{"replicas":2}})");
  EXPECT_EQ(IntAt(next, "spec.replicas"), 1);
  EXPECT_EQ(IntAt(next, "status.replicas"), 2);
  EXPECT_EQ(IntAt(next, "metadata.generation"), 3);
}

TEST_F(RulesTest, KnowsWritesThatChangeNothing) {
  const Json a = J(R"({"metadata":{"name":"a","managedFields":[{"time":"1"}]},"data":{"x":"1"}})");
  const Json b = J(R"({"metadata":{"name":"a","managedFields":[{"time":"2"}]},"data":{"x":"1"}})");
  EXPECT_TRUE(IsNoOp(a, b));
  EXPECT_FALSE(IsNoOp(a, J(R"({"metadata":{"name":"a"},"data":{"x":"2"}})")));
}

TEST_F(RulesTest, DeletesAtOnceOrWaits) {
  Json plain = J(R"({"metadata":{"name":"a"}})");
  EXPECT_EQ(*PrepareDelete(*maps_, plain, {}, kNow), DeleteOutcome::kRemove);
  Json held = J(R"({"metadata":{"name":"a","finalizers":["x/y"]}})");
  EXPECT_EQ(*PrepareDelete(*maps_, held, {}, kNow), DeleteOutcome::kUpdate);
  EXPECT_FALSE(StringAt(held, "metadata.deletionTimestamp").empty());
  EXPECT_FALSE(MustBeRemoved(*maps_, held));
  Json again = held;
  EXPECT_EQ(*PrepareDelete(*maps_, again, {}, kNow), DeleteOutcome::kNone);
  Remove(held, "metadata.finalizers");
  EXPECT_TRUE(MustBeRemoved(*maps_, held));
}

TEST_F(RulesTest, LetsPodsOfANodeEndInTheirTime) {
  Json pod =
      J(R"({"metadata":{"name":"p"},"spec":{"nodeName":"n1","terminationGracePeriodSeconds":30}})");
  EXPECT_EQ(*PrepareDelete(*pods_, pod, {}, kNow), DeleteOutcome::kUpdate);
  EXPECT_EQ(IntAt(pod, "metadata.deletionGracePeriodSeconds"), 30);
  DeleteRequest now;
  now.grace_period_seconds = 0;
  EXPECT_EQ(*PrepareDelete(*pods_, pod, now, kNow), DeleteOutcome::kRemove);
  Json nowhere = J(R"({"metadata":{"name":"p"},"spec":{}})");
  EXPECT_EQ(*PrepareDelete(*pods_, nowhere, {}, kNow), DeleteOutcome::kRemove);
}

TEST_F(RulesTest, ChecksPreconditions) {
  Json object = J(R"({"metadata":{"name":"a","uid":"u","resourceVersion":"5"}})");
  DeleteRequest other;
  other.uid = "v";
  const auto refused = PrepareDelete(*maps_, object, other, kNow);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, 409);
}

TEST_F(RulesTest, ReadsDeleteOptions) {
  const auto options = ParseDeleteOptions(J(
      R"({"propagationPolicy":"Foreground","gracePeriodSeconds":5,"preconditions":{"uid":"u"}})"));
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->propagation_policy, "Foreground");
  EXPECT_EQ(options->grace_period_seconds, 5);
  EXPECT_EQ(options->uid, "u");
  EXPECT_FALSE(ParseDeleteOptions(J(R"({"propagationPolicy":"X"})")).ok());
  EXPECT_FALSE(
      ParseDeleteOptions(J(R"({"propagationPolicy":"Orphan","orphanDependents":true})")).ok());
}

TEST_F(RulesTest, Scales) {
  const Json object = J(R"({"metadata":{"name":"d","namespace":"n"},"spec":{"replicas":2,
      "selector":{"matchLabels":{"a":"b"}}},"status":{"replicas":1}})");
  const auto scale = GetScale(*deployments_, deployments_->versions.front(), object);
  ASSERT_TRUE(scale.ok());
  EXPECT_EQ(IntAt(*scale, "spec.replicas"), 2);
  EXPECT_EQ(IntAt(*scale, "status.replicas"), 1);
  EXPECT_EQ(StringAt(*scale, "status.selector"), "a=b");
  Json next = object;
  ASSERT_TRUE(SetScale(deployments_->versions.front(), J(R"({"spec":{"replicas":7}})"), next).ok());
  EXPECT_EQ(IntAt(next, "spec.replicas"), 7);
}

TEST_F(RulesTest, BindsPodsOnce) {
  Json pod = J(R"({"metadata":{"name":"p"},"spec":{}})");
  const Json binding = J(R"({"target":{"kind":"Node","name":"n1"}})");
  ASSERT_TRUE(BindPod(pod, binding, kNow).ok());
  EXPECT_EQ(StringAt(pod, "spec.nodeName"), "n1");
  EXPECT_FALSE(BindPod(pod, binding, kNow).ok());
}

}  // namespace
}  // namespace thinsnap::objects
