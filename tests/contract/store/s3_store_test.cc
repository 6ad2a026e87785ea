// S3ObjectStore passes the contract against our own server, and against any other one that the
// environment names: THINSNAP_TEST_S3_URL (s3+http://host:port/bucket/prefix) with
// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
#include <atomic>
#include <filesystem>
#include <stdlib.h>

#include "base/net/certificate.h"
#include "base/net/http_server.h"
#include "simulator/s3/s3_server.h"
#include "snapshotter/store/location.h"
#include "tests/contract/store/object_store_contract.h"

namespace thinsnap::store {
namespace {

SystemClock& TestClock() {
  static SystemClock clock;
  return clock;
}

SystemRandom& TestRandom() {
  static SystemRandom random;
  return random;
}

ThreadRuntime& TestRuntime() {
  static ThreadRuntime runtime(TestClock());
  return runtime;
}

struct RunningServer {
  std::string folder;
  std::unique_ptr<s3::S3Server> server;
  ~RunningServer() {
    server.reset();
    std::error_code error;
    std::filesystem::remove_all(folder, error);
  }
};

OpenedStore OpenOnOwnServer(const std::string& prefix, bool tls) {
  OpenedStore opened;
  auto running = std::make_shared<RunningServer>();
  running->folder = (std::filesystem::temp_directory_path() / "thinsnap-s3-XXXXXX").string();
  if (::mkdtemp(running->folder.data()) == nullptr) {
    opened.why_not = "no temporary folder";
    return opened;
  }
  s3::S3Options options;
  options.data_folder = running->folder;
  options.buckets = {"contract"};
  std::string ca_pem;
  if (tls) {
    const auto authority = net::MakeAuthority("test", TestClock());
    net::CertificateRequest wanted;
    wanted.common_name = "s3";
    wanted.ip_addresses = {"127.0.0.1"};
    const auto issued = net::IssueCertificate(*authority, wanted, TestClock());
    ca_pem = authority->cert_pem;
    options.tls_cert_pem = issued->cert_pem;
    options.tls_key_pem = issued->key_pem;
  }
  auto server = s3::StartS3Server(TestRuntime(), TestRandom(), std::move(options));
  if (!server.ok()) {
    ADD_FAILURE() << server.error().ToString();
    return opened;
  }
  running->server = std::move(server).value();
  Location location;
  location.url = std::string(tls ? "s3+https" : "s3+http") +
                 "://127.0.0.1:" + std::to_string(running->server->port()) + "/contract" + prefix;
  location.ca_pem = ca_pem;
  location.credentials.access_key_id = running->server->access_key_id();
  location.credentials.secret_access_key = running->server->secret_access_key();
  auto store = OpenStore(TestRuntime(), TestRandom(), location);
  if (!store.ok()) {
    ADD_FAILURE() << store.error().ToString();
    return opened;
  }
  opened.store = std::move(store).value();
  opened.keep = running;
  return opened;
}

OpenedStore OpenElsewhere() {
  OpenedStore opened;
  const char* url = ::getenv("THINSNAP_TEST_S3_URL");
  if (url == nullptr) {
    opened.why_not = "THINSNAP_TEST_S3_URL is not set";
    return opened;
  }
  Location location;
  location.url = std::string(url) + "/" + TestRandom().NameSuffix(12);
  const auto environment = [](const std::string& name) -> std::optional<std::string> {
    const char* value = ::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
  const auto filled = FillFromAwsEnvironment(environment, location);
  auto store = OpenStore(TestRuntime(), TestRandom(), location);
  if (!filled.ok() || !store.ok()) {
    ADD_FAILURE() << (filled.ok() ? store.error() : filled.error()).ToString();
    return opened;
  }
  opened.store = std::move(store).value();
  return opened;
}

INSTANTIATE_TEST_SUITE_P(
    S3, ObjectStoreContract,
    ::testing::Values(StoreUnderTest{"OwnServer", [] { return OpenOnOwnServer("", false); }},
                      StoreUnderTest{"OwnServerWithPrefix",
                                     [] { return OpenOnOwnServer("/a%20b/c", false); }},
                      StoreUnderTest{"OwnServerWithTls", [] { return OpenOnOwnServer("", true); }},
                      StoreUnderTest{"AnyServer", OpenElsewhere}),
    [](const auto& test) { return test.param.name; });

// In front of a real server: answers a request once, or for ever, with a redirection to it.
class RedirectTest : public ::testing::Test {
 protected:
  void SetUp() override {
    behind_ = OpenOnOwnServer("/behind", false);
    ASSERT_NE(behind_.store, nullptr);
    running_ = std::static_pointer_cast<RunningServer>(behind_.keep);
  }
  std::string Behind() const {
    return "http://127.0.0.1:" + std::to_string(running_->server->port());
  }

  // A front that redirects to what `location` makes of a request.
  std::unique_ptr<ObjectStore> Front(
      const std::function<std::string(const net::ServerRequest&)>& location,
      net::HttpServerOptions options = {}, const std::string& ca_pem = "") {
    const bool tls = !options.tls_cert_pem.empty();
    auto front = net::StartHttpServer(
        TestRuntime(), std::move(options), [this, location](const net::ServerRequest& request) {
          ++asked_;
          net::ServerResponse response = net::ServerResponse::Text(
              307, "<Error><Code>TemporaryRedirect</Code></Error>", "application/xml");
          response.headers.Add("Location", location(request));
          return response;
        });
    EXPECT_TRUE(front.ok());
    front_ = std::move(front).value();
    Location where;
    where.url = std::string(tls ? "s3+https" : "s3+http") +
                "://127.0.0.1:" + std::to_string(front_->port()) + "/contract/behind";
    where.ca_pem = ca_pem;
    where.credentials.access_key_id = running_->server->access_key_id();
    where.credentials.secret_access_key = running_->server->secret_access_key();
    RetryOptions retry;
    retry.attempts = 1;
    auto store = OpenStore(TestRuntime(), TestRandom(), where, nullptr, retry);
    EXPECT_TRUE(store.ok()) << store.error().ToString();
    return std::move(store).value();
  }

  OpenedStore behind_;
  std::shared_ptr<RunningServer> running_;
  std::unique_ptr<net::HttpServer> front_;
  std::atomic<int> asked_{0};
};

// The server behind checks the signature, which is for its own host and the query it was given.
TEST_F(RedirectTest, TheRequestIsSignedAnewAndItsBodySentAgain) {
  const auto store = Front([this](const net::ServerRequest& request) {
    return Behind() + request.raw_path + (request.raw_query.empty() ? "" : "?" + request.raw_query);
  });
  const std::string body(300'000, 'x');
  const auto put = store->Put("a/key with space+plus", AsBytes(body));
  ASSERT_TRUE(put.ok()) << put.error().ToString();
  EXPECT_TRUE(store->Put("a/key with space+plus", AsBytes("y"), {.if_absent = true, .if_match = ""})
                  .Is(Code::kFailedPrecondition));
  const auto got = behind_.store->Get("a/key with space+plus");
  ASSERT_TRUE(got.ok()) << got.error().ToString();
  EXPECT_EQ(AsText(got->bytes), body);
  EXPECT_EQ(store->List("a/")->objects.size(), 1U);
  EXPECT_TRUE(store->Delete("a/key with space+plus").ok());
  EXPECT_TRUE(behind_.store->Head("a/key with space+plus").Is(Code::kNotFound));
}

TEST_F(RedirectTest, ALoopEndsWithASentence) {
  const auto store = Front([this](const net::ServerRequest& request) {
    return "http://127.0.0.1:" + std::to_string(front_->port()) + request.raw_path;
  });
  const auto put = store->Put("key", AsBytes("x"));
  ASSERT_TRUE(put.Is(Code::kUnavailable)) << put.ok();
  EXPECT_NE(put.error().message().find("is served elsewhere for now"), std::string::npos)
      << put.error().message();
  EXPECT_EQ(put.error().message().find("is not in region"), std::string::npos);
  EXPECT_EQ(asked_, 4);
}

TEST_F(RedirectTest, NothingSecureIsRedirectedToWhatIsNot) {
  const auto authority = net::MakeAuthority("test", TestClock());
  net::CertificateRequest wanted;
  wanted.common_name = "s3";
  wanted.ip_addresses = {"127.0.0.1"};
  const auto issued = net::IssueCertificate(*authority, wanted, TestClock());
  net::HttpServerOptions options;
  options.tls_cert_pem = issued->cert_pem;
  options.tls_key_pem = issued->key_pem;
  const auto store =
      Front([this](const net::ServerRequest& request) { return Behind() + request.raw_path; },
            std::move(options), authority->cert_pem);
  const auto put = store->Put("key", AsBytes("x"));
  ASSERT_TRUE(put.Is(Code::kFailedPrecondition)) << put.ok();
  EXPECT_NE(put.error().message().find("less secure"), std::string::npos);
  EXPECT_TRUE(behind_.store->Head("key").Is(Code::kNotFound));
}

// Without it a bucket with a default retention takes nothing.
TEST(S3ObjectStoreTest, EveryPutSaysWhatItsBodyIs) {
  std::string md5;
  auto server = net::StartHttpServer(TestRuntime(), {}, [&](const net::ServerRequest& request) {
    md5 = request.headers.Get("Content-MD5");
    return net::ServerResponse::Text(200, "");
  });
  ASSERT_TRUE(server.ok());
  Location location;
  location.url = "s3+http://127.0.0.1:" + std::to_string((*server)->port()) + "/bucket";
  location.credentials = {"id", Secret("secret"), Secret()};
  const auto store = OpenStore(TestRuntime(), TestRandom(), location);
  ASSERT_TRUE(store.ok());
  ASSERT_TRUE((*store)->Put("a", AsBytes("hello")).ok());
  EXPECT_EQ(md5, "XUFAKrxLKna5cZ2REBfFkg==");
  ASSERT_TRUE((*store)->Put("a", {}).ok());
  EXPECT_EQ(md5, "1B2M2Y8AsgTpgAmY7PhCfg==");
}

}  // namespace
}  // namespace thinsnap::store
