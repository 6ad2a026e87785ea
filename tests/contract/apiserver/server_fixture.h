// An API server in memory (or in a folder) and plain HTTP calls to it.
#pragma once

#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <utility>

#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/data/json.h"
#include "base/kube/client_config.h"
#include "base/net/http_client.h"
#include "simulator/apiserver/api_server.h"

namespace thinsnap::apiserver {

struct Answer {
  int status = 0;
  Json body;         // null if it is no JSON
  std::string text;  //
  net::Headers headers;
};

class ServerTest : public ::testing::Test {
 protected:
  void Start(Options options = {}) {
    auto server = ApiServer::Start(runtime_, random_, std::move(options));
    ASSERT_TRUE(server.ok()) << server.error().ToString();
    server_ = std::move(*server);
    client_ = ClientFor(server_->Kubeconfig().ValueOr(""));
  }

  static std::unique_ptr<net::HttpClient> ClientFor(const std::string& kubeconfig) {
    auto config = kube::ParseKubeconfig(kubeconfig, "");
    EXPECT_TRUE(config.ok()) << config.error().ToString();
    net::HttpClientOptions options;
    options.ca_pem = config->ca_pem;
    options.client_cert_pem = config->client_cert_pem;
    options.client_key_pem = config->client_key_pem;
    return net::MakeHttpClient(std::move(options));
  }

  // Without any credentials of its own.
  std::unique_ptr<net::HttpClient> NewStranger() const {
    net::HttpClientOptions options;
    options.ca_pem = server_->ca_pem();
    return net::MakeHttpClient(std::move(options));
  }

  Answer Call(const std::string& method, const std::string& path, const std::string& body = "",
              std::vector<std::pair<std::string, std::string>> headers = {},
              net::HttpClient* client = nullptr) {
    net::HttpRequest request;
    request.method = method;
    request.url = server_->url() + path;
    if (!body.empty() && method != "PATCH") request.headers.Add("Content-Type", "application/json");
    for (auto& [name, value] : headers) request.headers.Set(name, std::move(value));
    request.body = AsBytes(body);
    auto response = (client != nullptr ? client : client_.get())->Do(request);
    EXPECT_TRUE(response.ok()) << response.error().ToString();
    if (!response.ok()) return {};
    auto parsed = ParseJson(response->body);
    return {response->status, parsed.ok() ? *parsed : Json(), response->body, response->headers};
  }

  Answer Merge(const std::string& path, const std::string& patch) {
    return Call("PATCH", path, patch, {{"Content-Type", "application/merge-patch+json"}});
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  SystemRandom random_;
  std::unique_ptr<ApiServer> server_;
  std::unique_ptr<net::HttpClient> client_;
};

}  // namespace thinsnap::apiserver
