// The health of a driver as a kubelet asks for it, over HTTP.
#include "csi/driver/health.h"

#include <atomic>
#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <stdlib.h>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/core/file.h"
#include "base/net/http_client.h"
#include "csi/proto/csi_server.h"

namespace thinsnap::driver {
namespace {

using testing::HasSubstr;

// Goes with the object.
struct Folder {
  Folder() { EXPECT_NE(mkdtemp(path.data()), nullptr); }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string path = "/tmp/thinsnap-test-XXXXXX";
};

// Answers as it is told to.
class FakeDriver final : public proto::IdentityService {
 public:
  Result<csi::v1::GetPluginInfoResponse> GetPluginInfo(
      const proto::Call&, const csi::v1::GetPluginInfoRequest&) override {
    return csi::v1::GetPluginInfoResponse();
  }
  Result<csi::v1::ProbeResponse> Probe(const proto::Call&, const csi::v1::ProbeRequest&) override {
    if (pool_lost) return Error(Code::kFailedPrecondition, "the pool does not answer");
    csi::v1::ProbeResponse answer;
    answer.mutable_ready()->set_value(!starting);
    return answer;
  }
  std::atomic<bool> pool_lost = false, starting = false;
};

class HealthTest : public testing::Test {
 protected:
  HealthTest() : runtime_(clock_), group_(runtime_), socket_(folder_.path + "/csi.sock") {}
  ~HealthTest() override {
    http_.reset();
    group_.Stop();
    server_.reset();
    group_.Join();
  }

  void Serve() {
    auto server = proto::CsiServer::OnSocket(runtime_, group_, {.identity = &driver_}, socket_);
    ASSERT_TRUE(server.ok());
    server_ = std::move(*server);
  }
  void ServeHttp() {
    HealthOptions options;
    options.address = "127.0.0.1:0";
    options.socket_path = socket_;
    options.deadline = std::chrono::milliseconds(300);
    options.is_live = [this] { return live_; };
    options.is_ready = [this] { return ready_; };
    auto http = ServeHealth(runtime_, options);
    ASSERT_TRUE(http.ok()) << http.error().ToString();
    http_ = std::move(*http);
  }
  // "200 ok" or "503 why".
  std::string Ask(const std::string& path) {
    net::HttpRequest request;
    request.url = "http://127.0.0.1:" + std::to_string(http_->port()) + path;
    const auto answer = net::MakeHttpClient({})->Do(request);
    if (!answer.ok()) return answer.error().ToString();
    return std::to_string(answer->status) + " " + answer->body;
  }

  Folder folder_;
  SystemClock clock_;
  ThreadRuntime runtime_;
  TaskGroup group_;
  const std::string socket_;
  FakeDriver driver_;
  Status live_, ready_;
  std::unique_ptr<proto::CsiServer> server_;
  std::unique_ptr<net::HttpServer> http_;
};

TEST_F(HealthTest, SaysOkWhileTheDriverServes) {
  Serve();
  ServeHttp();
  EXPECT_EQ(Ask("/healthz"), "200 ok\n");
  EXPECT_EQ(Ask("/readyz"), "200 ok\n");
  EXPECT_THAT(Ask("/"), HasSubstr("404"));
}

TEST_F(HealthTest, APoolInTroubleIsNotReadyAndNotStartedAgain) {
  Serve();
  ServeHttp();
  driver_.pool_lost = true;
  EXPECT_EQ(Ask("/healthz"), "200 ok\n");
  EXPECT_EQ(Ask("/readyz"), "503 the pool does not answer\n");
  driver_.pool_lost = false;
  driver_.starting = true;
  EXPECT_EQ(Ask("/readyz"), "503 the driver is starting\n");
}

TEST_F(HealthTest, SaysWhatOnlyTheProcessKnows) {
  Serve();
  live_ = Error(Code::kFailedPrecondition, "the certificate was renewed");
  ready_ = Error(Code::kUnavailable, "not registered");
  ServeHttp();
  EXPECT_EQ(Ask("/healthz"), "503 the certificate was renewed\n");
  EXPECT_EQ(Ask("/readyz"), "503 not registered\n");
}

TEST_F(HealthTest, ADriverThatIsNotThereOrHangsIsNotLive) {
  ServeHttp();
  EXPECT_THAT(Ask("/healthz"), HasSubstr("503"));
  // A socket whose other end accepts, and never says a word.
  const UniqueFd silent(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  socket_.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(silent.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(silent.get(), 8), 0);
  EXPECT_THAT(Ask("/healthz"), HasSubstr("503"));
  EXPECT_THAT(Ask("/readyz"), HasSubstr("503"));
  ASSERT_EQ(unlink(socket_.c_str()), 0);
  Serve();
  EXPECT_EQ(Ask("/healthz"), "200 ok\n");
}

TEST_F(HealthTest, AnAddressThatIsNoneIsRefused) {
  for (const char* address : {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:9x"}) {
    HealthOptions options;
    options.address = address;
    EXPECT_TRUE(ServeHealth(runtime_, options).Is(Code::kInvalidArgument)) << address;
  }
}

}  // namespace
}  // namespace thinsnap::driver
