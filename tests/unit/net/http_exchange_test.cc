// Client and server of base/net against each other over loopback sockets.
#include <atomic>
#include <future>
#include <gtest/gtest.h>

#include "base/net/certificate.h"
#include "base/net/http_client.h"
#include "base/net/http_server.h"
#include "tests/unit/net/http_fixture.h"

namespace thinsnap::net {
namespace {

TEST_F(HttpExchangeTest, CarriesRequestAndResponse) {
  Start([](const ServerRequest& request) {
    ServerResponse response = ServerResponse::Text(
        201, request.method + " " + request.path + " " + request.raw_path + " " +
                 request.QueryOr("q", "none") + " " + std::string(request.headers.Get("x-test")) +
                 " " + request.body);
    response.headers.Add("X-Answer", "yes");
    return response;
  });
  HttpRequest request;
  request.method = "PUT";
  request.url = Url("/a%20b?q=%26");
  request.headers.Add("X-Test", "value");
  request.body = AsBytes("body");
  const auto response = client_->Do(request);
  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(response->status, 201);
  EXPECT_EQ(response->body, "PUT /a b /a%20b & value body");
  EXPECT_EQ(response->headers.Get("x-answer"), "yes");
  EXPECT_TRUE(ParseHttpDate(response->headers.Get("Date")).ok());
}

// Nobody's value becomes a header of its own, and none of it is shown: it may be a secret.
TEST_F(HttpExchangeTest, RefusesLineEndsInHeaders) {
  std::atomic<int> handled = 0;
  Start([&](const ServerRequest&) {
    ++handled;
    return ServerResponse::Text(200, "");
  });
  for (const char* value : {"secret\n", "secret\r", "secret\r\nX-Injected: 1", "secret\x01"}) {
    HttpRequest request;
    request.url = Url("/");
    request.headers.Add("Authorization", value);
    const auto refused = client_->Do(request);
    ASSERT_TRUE(refused.Is(Code::kInvalidArgument));
    EXPECT_NE(refused.error().message().find("Authorization"), std::string::npos);
    EXPECT_EQ(refused.error().message().find("secret"), std::string::npos);
  }
  EXPECT_EQ(handled, 0);
}

TEST_F(HttpExchangeTest, KeepsTheConnection) {
  std::mutex mutex;
  int handled = 0;
  Start([&](const ServerRequest&) {
    const std::lock_guard lock(mutex);
    return ServerResponse::Text(200, std::to_string(++handled));
  });
  for (int i = 1; i <= 50; ++i) {
    const auto response = Do(i % 2 == 0 ? "GET" : "POST", "/", i % 2 == 0 ? "" : "x");
    ASSERT_TRUE(response.ok()) << response.error().ToString();
    EXPECT_EQ(response->body, std::to_string(i));
  }
}

TEST_F(HttpExchangeTest, CarriesLargeBodiesBothWays) {
  HttpServerOptions options;
  options.max_body_bytes = 64 * kMiB;
  Start([](const ServerRequest& request) { return ServerResponse::Text(200, request.body); },
        std::move(options));
  std::string body(20 * kMiB + 1, 'x');
  for (std::size_t i = 0; i < body.size(); i += 1021) body[i] = static_cast<char>(i / 1021);
  const auto response = Do("POST", "/", body);
  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_TRUE(response->body == body);
}

TEST_F(HttpExchangeTest, AnswersHeadWithoutBody) {
  Start([](const ServerRequest&) { return ServerResponse::Text(200, "12345"); });
  const auto response = Do("HEAD", "/");
  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(response->headers.Get("Content-Length"), "5");
  EXPECT_EQ(response->body, "");
  EXPECT_EQ(Do("GET", "/")->body, "12345");
}

TEST_F(HttpExchangeTest, RefusesLongBodiesAndHeaders) {
  std::atomic<int> handled = 0;
  HttpServerOptions options;
  options.max_body_bytes = 1000;
  Start(
      [&](const ServerRequest&) {
        ++handled;
        return ServerResponse::Text(200, "");
      },
      std::move(options));
  const auto too_long = Do("POST", "/", std::string(1001, 'x'));
  ASSERT_TRUE(too_long.ok()) << too_long.error().ToString();
  EXPECT_EQ(too_long->status, 413);
  HttpRequest request;
  request.url = Url("/");
  request.headers.Add("X-Long", std::string(70000, 'x'));
  const auto too_many = client_->Do(request);
  ASSERT_TRUE(too_many.ok()) << too_many.error().ToString();
  EXPECT_EQ(too_many->status, 431);
  request.headers = Headers();
  request.headers.Add("X-Long", std::string(40000, 'x'));
  EXPECT_EQ(client_->Do(request)->status, 200);
  EXPECT_EQ(handled, 1);
}

TEST_F(HttpExchangeTest, TellsOutcomesApart) {
  Start([](const ServerRequest&) {
    ServerResponse response;
    response.drop = true;
    return response;
  });
  EXPECT_TRUE(Do("GET", "/").Is(Code::kUnavailable));
  EXPECT_TRUE(Do("PUT", "/", "x").Is(Code::kUnknownOutcome));
  EXPECT_TRUE(Do("DELETE", "/").Is(Code::kUnknownOutcome));
  const std::string url = Url("/?token=hunter2");
  server_->Stop();
  HttpRequest request;
  request.method = "PUT";
  request.url = url;
  const auto refused = client_->Do(request);
  ASSERT_TRUE(refused.Is(Code::kUnavailable));
  EXPECT_EQ(refused.error().message().find("hunter2"), std::string::npos);
}

TEST_F(HttpExchangeTest, NeverRepeatsAWriteOnItsOwn) {
  std::atomic<int> writes = 0;
  Start([&](const ServerRequest& request) {
    ServerResponse response;
    if (request.method == "PUT") {
      ++writes;
      response.drop = true;
    }
    return response;
  });
  ASSERT_TRUE(Do("GET", "/").ok());  // leaves a kept connection, on which libcurl would repeat
  EXPECT_TRUE(Do("PUT", "/", "x").Is(Code::kUnknownOutcome));
  EXPECT_EQ(writes, 1);
}

TEST_F(HttpExchangeTest, EndsAtTheTimeout) {
  std::promise<void> release;
  auto released = release.get_future().share();
  Start([released](const ServerRequest&) {
    released.wait();
    return ServerResponse::Text(200, "");
  });
  HttpRequest request;
  request.url = Url("/");
  request.timeout = std::chrono::milliseconds(50);
  EXPECT_TRUE(client_->Do(request).Is(Code::kDeadlineExceeded));
  request.method = "POST";
  EXPECT_TRUE(client_->Do(request).Is(Code::kUnknownOutcome));
  release.set_value();
}

TEST_F(HttpExchangeTest, EndsWhenItsGroupIsStopped) {
  std::promise<void> arrived;
  std::promise<void> release;
  auto released = release.get_future().share();
  Start([&, released](const ServerRequest&) {
    arrived.set_value();
    released.wait();
    return ServerResponse::Text(200, "");
  });
  Code code = Code::kInternal;
  TaskGroup group(runtime_);
  group.Spawn("request", [&] {
    const auto response = Do("GET", "/");
    if (!response.ok()) code = response.error().code();
  });
  arrived.get_future().wait();
  group.Stop();
  group.Join();
  EXPECT_EQ(code, Code::kCancelled);
  release.set_value();
}

TEST_F(HttpExchangeTest, CancelsHandlersAtStop) {
  std::promise<void> waiting;
  Start([&](const ServerRequest&) {
    waiting.set_value();
    const Status slept = runtime_.SleepFor(std::chrono::hours(1));
    return ServerResponse::Text(slept.Is(Code::kCancelled) ? 503 : 200, "");
  });
  TaskGroup group(runtime_);
  group.Spawn("request", [&] { (void)Do("GET", "/"); });
  waiting.get_future().wait();
  server_->Stop();
  group.Join();
}

TEST_F(HttpExchangeTest, ReadsBodiesAsTheyArrive) {
  HttpServerOptions options;
  options.stream_bodies = true;
  options.max_body_bytes = kGiB;
  Start(
      [](const ServerRequest& request) {
        std::uint64_t size = 0;
        for (;;) {
          auto piece = request.body_stream->Read();
          if (!piece.ok()) return ServerResponse::Text(500, piece.error().ToString());
          if (piece->empty()) break;
          size += piece->size();
        }
        return ServerResponse::Text(200, std::to_string(size));
      },
      std::move(options));
  const std::string body(9 * kMiB, 'x');
  EXPECT_EQ(Do("PUT", "/", body)->body, std::to_string(body.size()));
  EXPECT_EQ(Do("PUT", "/")->body, "0");
  EXPECT_EQ(Do("GET", "/")->body, "0");
}

TEST_F(HttpExchangeTest, AnswersBeforeTheBodyHasCome) {
  HttpServerOptions options;
  options.stream_bodies = true;
  options.max_body_bytes = kGiB;
  Start([](const ServerRequest&) { return ServerResponse::Text(403, "no"); }, std::move(options));
  const auto response = Do("PUT", "/", std::string(2 * kMiB, 'x'));
  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(response->status, 403);
}

TEST_F(HttpExchangeTest, SpeaksTls) {
  const auto authority = MakeAuthority("test authority", clock_);
  ASSERT_TRUE(authority.ok()) << authority.error().ToString();
  CertificateRequest wanted;
  wanted.common_name = "server";
  wanted.ip_addresses = {"127.0.0.1"};
  const auto issued = IssueCertificate(*authority, wanted, clock_);
  ASSERT_TRUE(issued.ok()) << issued.error().ToString();
  HttpServerOptions options;
  options.tls_cert_pem = issued->cert_pem;
  options.tls_key_pem = issued->key_pem;
  options.max_body_bytes = 8 * kMiB;
  Start([](const ServerRequest& request) { return ServerResponse::Text(200, request.body); },
        std::move(options));

  EXPECT_TRUE(Do("POST", "/", "x").Is(Code::kUnavailable));  // an unknown authority
  HttpClientOptions trusting;
  trusting.ca_pem = authority->cert_pem;
  client_ = MakeHttpClient(std::move(trusting));
  std::string body(5 * kMiB, 'x');
  for (std::size_t i = 0; i < body.size(); i += 1021) body[i] = static_cast<char>(i / 1021);
  for (int i = 0; i < 3; ++i) {
    const auto response = Do("POST", "/", body);
    ASSERT_TRUE(response.ok()) << response.error().ToString();
    EXPECT_TRUE(response->body == body);
  }
  HttpClientOptions insecure;
  insecure.insecure = true;
  client_ = MakeHttpClient(std::move(insecure));
  EXPECT_TRUE(Do("GET", "/").ok());
}

TEST_F(HttpExchangeTest, KnowsItsClientsByCertificate) {
  const auto authority = MakeAuthority("test authority", clock_);
  const auto stranger = MakeAuthority("test authority", clock_);
  ASSERT_TRUE(authority.ok() && stranger.ok());
  CertificateRequest wanted;
  wanted.common_name = "server";
  wanted.ip_addresses = {"127.0.0.1"};
  const auto for_server = IssueCertificate(*authority, wanted, clock_);
  CertificateRequest named;
  named.common_name = "driver";
  named.organizations = {"system:masters", "nodes"};
  const auto for_client = IssueCertificate(*authority, named, clock_);
  const auto forged = IssueCertificate(*stranger, named, clock_);
  ASSERT_TRUE(for_server.ok() && for_client.ok() && forged.ok());
  HttpServerOptions options;
  options.tls_cert_pem = for_server->cert_pem;
  options.tls_key_pem = for_server->key_pem;
  options.client_ca_pem = authority->cert_pem;
  Start(
      [](const ServerRequest& request) {
        std::string body = request.peer_common_name;
        for (const auto& organization : request.peer_organizations) body += "," + organization;
        return ServerResponse::Text(200, body);
      },
      std::move(options));
  const auto with = [&](const KeyPair* pair) {
    HttpClientOptions mutual;
    mutual.ca_pem = authority->cert_pem;
    if (pair != nullptr) {
      mutual.client_cert_pem = pair->cert_pem;
      mutual.client_key_pem = pair->key_pem;
    }
    client_ = MakeHttpClient(std::move(mutual));
    return Do("GET", "/");
  };
  EXPECT_EQ(with(&*for_client)->body, "driver,system:masters,nodes");
  EXPECT_EQ(with(nullptr)->body, "");
  EXPECT_FALSE(with(&*forged).ok());
}

TEST_F(HttpExchangeTest, SaysWhenThePortIsTaken) {
  Start([](const ServerRequest&) { return ServerResponse(); });
  HttpServerOptions options;
  options.port = server_->port();
  const auto second = StartHttpServer(runtime_, std::move(options),
                                      [](const ServerRequest&) { return ServerResponse(); });
  ASSERT_TRUE(second.Is(Code::kFailedPrecondition));
  EXPECT_NE(second.error().message().find("in use"), std::string::npos);
}

}  // namespace
}  // namespace thinsnap::net
