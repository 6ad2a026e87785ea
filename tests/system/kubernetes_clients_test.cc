// The API server for the official clients of other languages, with containers that only echo.
// Skipped by name where a client is missing.
#include <gtest/gtest.h>
#include <string>

#include "tests/python.h"
#include "tests/system/echo_server.h"

namespace thinsnap {
namespace {

class KubernetesClientsTest : public ::testing::Test, protected EchoServer {
 protected:
  void SetUp() override { StartServer(); }
};

TEST_F(KubernetesClientsTest, Python) {
  constexpr int kSkipped = 77;
  const auto done = runner_.Run(
      {.argv = {kPython, THINSNAP_SOURCE_DIR "/tests/system/kubernetes_client.py", config()},
       .env = {},
       .input = "",
       .timeout = std::chrono::minutes(4)});
  if (!done.ok() || done->exit_code == kSkipped)
    GTEST_SKIP() << "python3 with the kubernetes package is missing";
  EXPECT_EQ(done->exit_code, 0) << done->out << done->err;
}

}  // namespace
}  // namespace thinsnap
