#include "base/kube/client_config.h"

#include <gtest/gtest.h>

#include "base/core/file.h"

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

// Who would be somebody else with it, or talk to somebody else, hears so by name.
TEST(ConfigTest, RefusesByNameWhatItDoesNotUnderstand) {
  const auto with = [](const std::string& member, const char* before) {
    std::string text = Kubeconfig("c");
    return text.insert(text.find(before), member + ", ");
  };
  for (const std::string member :
       {"exec: {command: aws, apiVersion: client.authentication.k8s.io/v1}",
        "auth-provider: {name: gcp}", "username: admin", "password: hidden-word", "as: somebody"}) {
    const auto refused = ParseKubeconfig(with(member, "token: "), "/tmp");
    ASSERT_TRUE(refused.Is(Code::kFailedPrecondition)) << member;
    const std::string said = refused.error().message();
    EXPECT_NE(said.find("user \"u\"." + member.substr(0, member.find(':')) + " is not supported"),
              std::string::npos)
        << said;
    EXPECT_EQ(said.find("hidden-word"), std::string::npos);
  }
  for (const std::string member : {"tls-server-name: other", "proxy-url: 'http://p:1'"}) {
    const auto refused = ParseKubeconfig(with(member, "server: "), "/tmp");
    ASSERT_TRUE(refused.Is(Code::kFailedPrecondition)) << member;
    EXPECT_NE(refused.error().message().find("cluster \"k\"." + member.substr(0, member.find(':'))),
              std::string::npos)
        << refused.error().message();
  }
}

TEST(ConfigTest, RelativeFilesAreOfTheFolderOfTheKubeconfig) {
  std::string text = Kubeconfig("c");
  text.replace(text.find("token: secret-token"), 19, "tokenFile: tokens/mine");
  const auto config = ParseKubeconfig(text, "/etc/kube");
  ASSERT_TRUE(config.ok()) << config.error().message();
  EXPECT_EQ(config->token_file, "/etc/kube/tokens/mine");
}

}  // namespace
}  // namespace thinsnap::kube
