// S3ObjectStore passes the contract against our own server, and against any other one that the
// environment names: THINSNAP_TEST_S3_URL (s3+http://host:port/bucket/prefix) with
// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
#include <atomic>
#include <filesystem>
#include <stdlib.h>

#include "base/net/certificate.h"
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

}  // namespace
}  // namespace thinsnap::store
