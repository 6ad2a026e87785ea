// What the HTTPS client does beyond the contract of all clients: credentials that change, and
// servers that are there no more.
#include "base/kube/http_kube_client.h"

#include <filesystem>
#include <gtest/gtest.h>
#include <mutex>
#include <vector>

#include "base/core/file.h"
#include "base/core/runtime.h"
#include "base/kube/client_config.h"
#include "base/kube/object.h"
#include "base/net/certificate.h"
#include "base/net/http_server.h"

namespace thinsnap::kube {
namespace {

class HttpKubeClientTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/thinsnap-kube-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Start(net::Handler handler, net::HttpServerOptions options = {}) {
    scheme_ = options.tls_cert_pem.empty() ? "http" : "https";
    auto started = net::StartHttpServer(runtime_, std::move(options), std::move(handler));
    ASSERT_TRUE(started.ok()) << started.error().ToString();
    server_ = std::move(*started);
  }
  std::string Url() const { return scheme_ + "://127.0.0.1:" + std::to_string(server_->port()); }
  void Write(const std::string& name, std::string_view text) {
    ASSERT_TRUE(WriteFileAtomic(folder_ + "/" + name, text).ok());
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  std::string folder_, scheme_;
  std::unique_ptr<net::HttpServer> server_;
};

net::ServerResponse Empty() { return net::ServerResponse::Text(200, "{}", "application/json"); }

TEST_F(HttpKubeClientTest, ATokenFileIsReadForEachCall) {
  std::vector<std::string> seen;
  Start([&](const net::ServerRequest& request) {
    seen.emplace_back(request.headers.Get("Authorization"));
    return Empty();
  });
  ClientConfig config;
  config.server = Url();
  config.token_file = folder_ + "/token";
  const auto client = MakeHttpKubeClient(std::move(config), "test");
  for (const char* token : {"first\n", "second"}) {
    Write("token", token);
    ASSERT_TRUE(client->Get(types::kNode, {"", "a"}).ok());
  }
  EXPECT_EQ(seen, (std::vector<std::string>{"Bearer first", "Bearer second"}));
  Write("token", "third\r\nX-Injected: 1");
  const auto refused = client->Get(types::kNode, {"", "a"});
  EXPECT_TRUE(refused.Is(Code::kInvalidArgument));
  EXPECT_EQ(refused.error().message().find("third"), std::string::npos) << "no secret is shown";
  EXPECT_EQ(seen.size(), 2U);
}

TEST_F(HttpKubeClientTest, ARotatedClientCertificateIsUsedFromTheNextCallOn) {
  const auto authority = net::MakeAuthority("authority", clock_);
  ASSERT_TRUE(authority.ok());
  const auto issue = [&](const std::string& name) {
    return *net::IssueCertificate(
        *authority,
        {.common_name = name, .organizations = {}, .dns_names = {}, .ip_addresses = {"127.0.0.1"}},
        clock_);
  };
  const net::KeyPair serving = issue("server");
  net::HttpServerOptions options;
  options.tls_cert_pem = serving.cert_pem;
  options.tls_key_pem = serving.key_pem;
  options.client_ca_pem = authority->cert_pem;
  std::vector<std::string> seen;
  Start(
      [&](const net::ServerRequest& request) {
        seen.push_back(request.peer_common_name);
        return Empty();
      },
      std::move(options));
  Write("ca.crt", authority->cert_pem);
  const auto replace = [&](const std::string& name) {
    const net::KeyPair pair = issue(name);
    Write("tls.crt", pair.cert_pem);
    Write("tls.key", pair.key_pem.Reveal());
  };
  replace("first");
  auto config = ParseKubeconfig(
      "current-context: c\n"
      "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
      "clusters: [{name: k, cluster: {server: '" +
          Url() +
          "', certificate-authority: ca.crt}}]\n"
          "users: [{name: u, user: {client-certificate: tls.crt, "
          "client-key: tls.key}}]\n",
      folder_);
  ASSERT_TRUE(config.ok()) << config.error().ToString();
  const auto client = MakeHttpKubeClient(std::move(*config), "test");
  const auto call = [&] {
    const auto got = client->Get(types::kNode, {"", "a"});
    EXPECT_TRUE(got.ok()) << got.error().ToString();
  };
  call();
  replace("second");
  call();
  std::filesystem::remove(folder_ + "/tls.crt");
  call();
  EXPECT_EQ(seen, (std::vector<std::string>{"first", "second", "second"}));
}

// The connection stands, but nobody is behind it: the server would have ended the watch by itself.
TEST_F(HttpKubeClientTest, AWatchThatOutlivesItsTimeInSilenceIsEnded) {
  std::mutex mutex;
  std::vector<std::shared_ptr<net::Stream>> open;
  Start([&](const net::ServerRequest&) {
    net::ServerResponse response;
    response.on_stream = [&](std::shared_ptr<net::Stream> stream) {
      stream->Push(std::make_shared<const std::string>(
          R"({"type":"ADDED","object":{"metadata":{"name":"a"}}})"
          "\n"));
      const std::lock_guard lock(mutex);
      open.push_back(std::move(stream));
    };
    return response;
  });
  ClientConfig config;
  config.server = Url();
  const auto client = MakeHttpKubeClient(std::move(config), "test");
  int events = 0;
  const Status watched = client->Watch(
      types::kNode, "",
      {.label_selector = "", .field_selector = "", .resource_version = "", .timeout_seconds = 1},
      [&](WatchEvent) -> Status {
        ++events;
        return {};
      });
  EXPECT_TRUE(watched.Is(Code::kDeadlineExceeded));
  EXPECT_EQ(events, 1);
}

}  // namespace
}  // namespace thinsnap::kube
