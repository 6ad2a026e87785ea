// The API server for the official clients of other languages, with containers that only echo.
// Skipped by name where a client is missing.
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <unistd.h>

#include "base/core/command.h"
#include "base/core/file.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "simulator/apiserver/api_server.h"
#include "tests/system/echo_containers.h"

namespace thinsnap {
namespace {

// Whatever python3 is first on PATH: Debian's packages are for this one.
constexpr char kPython[] = "/usr/bin/python3";

class KubernetesClientsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/thinsnap-clients-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    folder_ = pattern;
    auto server = apiserver::ApiServer::Start(runtime_, random_, {}, &containers_);
    ASSERT_TRUE(server.ok()) << server.error().ToString();
    server_ = std::move(*server);
    ASSERT_TRUE(WriteFileAtomic(folder_ + "/config", server_->Kubeconfig().ValueOr(""), 0600).ok());
  }
  void TearDown() override {
    server_.reset();
    std::ignore = runner_.Run({.argv = {"rm", "-rf", folder_}, .env = {}, .input = ""});
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  SystemRandom random_;
  PosixCommandRunner runner_;
  EchoContainers containers_{runtime_};
  std::unique_ptr<apiserver::ApiServer> server_;
  std::string folder_;
};

TEST_F(KubernetesClientsTest, Python) {
  constexpr int kSkipped = 77;
  const auto done =
      runner_.Run({.argv = {kPython, THINSNAP_SOURCE_DIR "/tests/system/kubernetes_client.py",
                            folder_ + "/config"},
                   .env = {},
                   .input = "",
                   .timeout = std::chrono::minutes(4)});
  if (!done.ok() || done->exit_code == kSkipped)
    GTEST_SKIP() << "python3 with the kubernetes package is missing";
  EXPECT_EQ(done->exit_code, 0) << done->out << done->err;
}

}  // namespace
}  // namespace thinsnap
