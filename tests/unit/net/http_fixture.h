// A server and a client of this process, for what goes over the wire between them.
#pragma once

#include <gtest/gtest.h>

#include "base/net/http_client.h"
#include "base/net/http_server.h"

namespace thinsnap::net {

inline std::shared_ptr<const std::string> Shared(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

class HttpExchangeTest : public ::testing::Test {
 protected:
  void Start(Handler handler, HttpServerOptions options = {}) {
    scheme_ = options.tls_cert_pem.empty() ? "http" : "https";
    auto started = StartHttpServer(runtime_, std::move(options), std::move(handler));
    ASSERT_TRUE(started.ok()) << started.error().ToString();
    server_ = std::move(started).value();
  }

  std::string Url(const std::string& path) {
    return scheme_ + "://127.0.0.1:" + std::to_string(server_->port()) + path;
  }

  Result<HttpResponse> Do(const std::string& method, const std::string& path,
                          std::string_view body = "") {
    HttpRequest request;
    request.method = method;
    request.url = Url(path);
    request.body = AsBytes(body);
    return client_->Do(request);
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  std::string scheme_;
  std::unique_ptr<HttpServer> server_;
  std::unique_ptr<HttpClient> client_ = MakeHttpClient({});
};

}  // namespace thinsnap::net
