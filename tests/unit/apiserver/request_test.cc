#include "simulator/apiserver/request.h"

#include <gtest/gtest.h>

namespace thinsnap::apiserver {
namespace {

TEST(RequestTest, ReadsNamespacedPaths) {
  const auto info = ParseRequest("GET", "/api/v1/namespaces/n/pods/p/log", {});
  EXPECT_TRUE(info.is_resource);
  EXPECT_EQ(info.group, "");
  EXPECT_EQ(info.version, "v1");
  EXPECT_EQ(info.ns, "n");
  EXPECT_EQ(info.resource, "pods");
  EXPECT_EQ(info.name, "p");
  EXPECT_EQ(info.subresource, "log");
  EXPECT_EQ(info.verb, "get");
}

TEST(RequestTest, TellsNamespacesFromWhatIsInThem) {
  EXPECT_EQ(ParseRequest("GET", "/api/v1/namespaces", {}).resource, "namespaces");
  const auto one = ParseRequest("DELETE", "/api/v1/namespaces/n", {});
  EXPECT_EQ(one.resource, "namespaces");
  EXPECT_EQ(one.name, "n");
  EXPECT_EQ(one.verb, "delete");
  const auto finalize = ParseRequest("PUT", "/api/v1/namespaces/n/finalize", {});
  EXPECT_EQ(finalize.resource, "namespaces");
  EXPECT_EQ(finalize.subresource, "finalize");
  EXPECT_EQ(ParseRequest("GET", "/api/v1/namespaces/n/pods", {}).resource, "pods");
}

TEST(RequestTest, FindsTheVerb) {
  const std::string path = "/apis/apps/v1/namespaces/n/deployments";
  EXPECT_EQ(ParseRequest("GET", path, {}).verb, "list");
  EXPECT_EQ(ParseRequest("GET", path, {{"watch", "True"}}).verb, "watch");
  EXPECT_EQ(ParseRequest("GET", path, {{"watch", "false"}}).verb, "list");
  EXPECT_EQ(ParseRequest("GET", path, {{"watch", ""}}).verb, "watch");
  EXPECT_EQ(ParseRequest("GET", "/apis/apps/v1/watch/namespaces/n/deployments/d", {}).verb,
            "watch");
  EXPECT_EQ(ParseRequest("POST", path, {}).verb, "create");
  EXPECT_EQ(ParseRequest("DELETE", path, {}).verb, "deletecollection");
  EXPECT_EQ(ParseRequest("PATCH", path + "/d", {}).verb, "patch");
}

TEST(RequestTest, LeavesOtherPathsAlone) {
  for (const std::string path :
       {"/", "/api", "/api/v1", "/apis/apps", "/apis/apps/v1", "/healthz", "/openapi/v3"}) {
    EXPECT_FALSE(ParseRequest("GET", path, {}).is_resource) << path;
  }
}

TEST(RequestTest, TakesTheManagerFromTheUserAgent) {
  EXPECT_EQ(ManagerOf("kubectl/v1.32.0 (linux/amd64)"), "kubectl");
  EXPECT_EQ(ManagerOf(""), "unknown");
}

}  // namespace
}  // namespace thinsnap::apiserver
