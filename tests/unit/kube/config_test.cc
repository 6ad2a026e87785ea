#include <gtest/gtest.h>

#include "base/core/file.h"
#include "base/kube/http_client.h"

namespace thinsnap::kube {
namespace {

std::string Kubeconfig(const std::string& context) {
  return "apiVersion: v1\nkind: Config\ncurrent-context: " + context +
         "\n"
         "contexts: [{name: c, context: {cluster: k, user: u, namespace: demo}}]\n"
         "clusters: [{name: k, cluster: {server: 'https://127.0.0.1:6443', "
         "certificate-authority-data: Q0E=}}]\n"
         "users: [{name: u, user: {token: secret-token}}]\n";
}

TEST(ConfigTest, ReadsTheCurrentContext) {
  const auto config = ParseKubeconfig(Kubeconfig("c"), "/tmp");
  ASSERT_TRUE(config.ok()) << config.error().message();
  EXPECT_EQ(config->server, "https://127.0.0.1:6443");
  EXPECT_EQ(config->ca_pem, "CA");
  EXPECT_EQ(config->default_namespace, "demo");
  EXPECT_TRUE(config->token.Equals("secret-token"));
}

TEST(ConfigTest, SaysWhatIsMissingAndNoSecret) {
  const auto wrong = ParseKubeconfig(Kubeconfig("other"), "/tmp");
  ASSERT_TRUE(wrong.Is(Code::kFailedPrecondition));
  EXPECT_NE(wrong.error().message().find("\"other\""), std::string::npos);
  EXPECT_EQ(wrong.error().message().find("secret-token"), std::string::npos);
  const auto none = LoadClientConfig("/no/such/kubeconfig");
  ASSERT_TRUE(none.Is(Code::kFailedPrecondition));
  EXPECT_NE(none.error().message().find("/no/such/kubeconfig"), std::string::npos);
}

}  // namespace
}  // namespace thinsnap::kube
