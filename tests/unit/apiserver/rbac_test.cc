#include "simulator/apiserver/rbac.h"

#include <gtest/gtest.h>

#include "base/data/json.h"
#include "base/data/yaml.h"

namespace thinsnap::apiserver {
namespace {

class RbacTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto store = objects::VersionedStore::Open({});
    ASSERT_TRUE(store.ok());
    store_ = std::move(*store);
    authorizer_ = std::make_unique<Authorizer>(*store_);
  }

  void Put(const std::string& resource, const std::string& ns, const std::string& name,
           const std::string& yaml) {
    auto object = ParseYaml(yaml);
    ASSERT_TRUE(object.ok()) << object.error().ToString();
    Set(*object, "metadata.name", name);
    ASSERT_TRUE(store_->Create({resource + ".rbac.authorization.k8s.io", ns, name}, *object).ok());
  }

  bool Allows(const std::string& user, const std::string& verb, const std::string& resource,
              const std::string& ns, const std::string& name = "", const std::string& group = "") {
    return authorizer_->Allows({user, {"system:authenticated"}},
                               {verb, group, resource, ns, name, ""});
  }

  std::unique_ptr<objects::VersionedStore> store_;
  std::unique_ptr<Authorizer> authorizer_;
};

TEST_F(RbacTest, GrantsNothingByItselfAndEverythingToMasters) {
  EXPECT_FALSE(Allows("u", "get", "pods", "n"));
  EXPECT_TRUE(authorizer_->Allows({"u", {"system:masters"}}, {"delete", "", "nodes", "", "x", ""}));
}

TEST_F(RbacTest, KeepsRoleBindingsInTheirNamespace) {
  Put("roles", "n", "r",
      "{rules: [{apiGroups: [''], resources: [pods, '*/scale'], verbs: [get]}]}");
  Put("rolebindings", "n", "b",
      "{roleRef: {kind: Role, name: r}, subjects: [{kind: User, name: u}]}");
  EXPECT_TRUE(Allows("u", "get", "pods", "n"));
  EXPECT_TRUE(Allows("u", "get", "deployments/scale", "n"));
  EXPECT_FALSE(Allows("u", "get", "pods/log", "n"));
  EXPECT_FALSE(Allows("u", "get", "pods", "other"));
  EXPECT_FALSE(Allows("u", "list", "pods", "n"));
  EXPECT_FALSE(Allows("u", "get", "pods", "n", "", "apps"));
  EXPECT_FALSE(Allows("v", "get", "pods", "n"));
}

TEST_F(RbacTest, HonoursResourceNames) {
  Put("clusterroles", "", "r",
      "{rules: [{apiGroups: [''], resources: [secrets], resourceNames: [s], verbs: ['*']}]}");
  Put("clusterrolebindings", "", "b",
      "{roleRef: {kind: ClusterRole, name: r}, subjects: [{kind: ServiceAccount, namespace: n, "
      "name: sa}]}");
  EXPECT_TRUE(Allows("system:serviceaccount:n:sa", "get", "secrets", "any", "s"));
  EXPECT_FALSE(Allows("system:serviceaccount:n:sa", "get", "secrets", "any", "t"));
  EXPECT_FALSE(Allows("system:serviceaccount:n:sa", "list", "secrets", "any"));
  EXPECT_FALSE(Allows("system:serviceaccount:m:sa", "get", "secrets", "any", "s"));
}

TEST_F(RbacTest, SeesChangesAndAggregation) {
  Put("clusterroles", "", "all",
      "{aggregationRule: {clusterRoleSelectors: [{matchLabels: {to: all}}]}}");
  Put("clusterrolebindings", "", "b",
      "{roleRef: {kind: ClusterRole, name: all}, subjects: [{kind: Group, name: "
      "'system:authenticated'}]}");
  EXPECT_FALSE(Allows("u", "get", "pods", "n"));
  Put("clusterroles", "", "part",
      "{metadata: {labels: {to: all}}, rules: [{apiGroups: ['*'], resources: ['*'], verbs: "
      "[get]}]}");
  EXPECT_TRUE(Allows("u", "get", "pods", "n"));
  ASSERT_TRUE(store_->Delete({"clusterrolebindings.rbac.authorization.k8s.io", "", "b"}, 0).ok());
  EXPECT_FALSE(Allows("u", "get", "pods", "n"));
}

TEST_F(RbacTest, MatchesPathsWithStars) {
  Put("clusterroles", "", "r", "{rules: [{nonResourceURLs: [/healthz, '/apis/*'], verbs: [get]}]}");
  Put("clusterrolebindings", "", "b",
      "{roleRef: {kind: ClusterRole, name: r}, subjects: [{kind: User, name: u}]}");
  auto path = [&](const std::string& p) {
    return authorizer_->Allows({"u", {}}, {"get", "", "", "", "", p});
  };
  EXPECT_TRUE(path("/healthz"));
  EXPECT_TRUE(path("/apis/apps/v1"));
  EXPECT_FALSE(path("/healthz/ping"));
  EXPECT_FALSE(path("/metrics"));
}

TEST(RefusalTextTest, SaysWhoMayNotDoWhatWhere) {
  EXPECT_EQ(
      RefusalText({"u", {}}, {"list", "", "pods", "default", "", ""}),
      "User \"u\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"");
  EXPECT_EQ(
      RefusalText({"u", {}}, {"get", "apps", "deployments", "", "", ""}),
      "User \"u\" cannot get resource \"deployments\" in API group \"apps\" at the cluster scope");
}

}  // namespace
}  // namespace thinsnap::apiserver
