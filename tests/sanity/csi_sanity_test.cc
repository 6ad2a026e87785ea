// The upstream csi-sanity against a real node: reflinked files, loop devices, ext4, mounts.
#include <gtest/gtest.h>
#include <string>

#include "base/core/command.h"
#include "tests/sanity/node_under_test.h"

namespace thinsnap::driver {
namespace {

TEST(CsiSanityTest, UpstreamPassesEntirely) {
  PosixCommandRunner runner;
  Command find;
  find.argv = {THINSNAP_SOURCE_DIR "/tests/sanity/peers/csi_sanity.sh",
               THINSNAP_BINARY_DIR "/peers"};
  find.timeout = std::chrono::minutes(10);
  const auto found = runner.Run(find);
  ASSERT_TRUE(found.ok()) << found.error().ToString();
  std::string answer = found->out;
  while (!answer.empty() && answer.back() == '\n') answer.pop_back();
  if (found->exit_code != 0) GTEST_SKIP() << "csi-sanity: " << answer;

  auto world = MakeReflinkWorld();
  if (!world.ok()) GTEST_SKIP() << "csi-sanity: " << world.error().message();
  NodeUnderTest node(**world);
  const std::string folder = (*world)->folder.path();
  Command command;
  command.argv = {answer,
                  "--csi.endpoint=unix://" + (*world)->options.socket_path,
                  "--csi.mountdir=" + folder + "/mount",
                  "--csi.stagingdir=" + folder + "/staging",
                  "--ginkgo.no-color",
                  "--ginkgo.succinct"};
  command.timeout = std::chrono::minutes(5);
  const auto output = runner.Run(command);
  ASSERT_TRUE(output.ok()) << output.error().ToString();
  EXPECT_EQ(output->exit_code, 0) << output->out << output->err;
  const auto summary = output->out.rfind("Ran ");
  if (summary != std::string::npos) RecordProperty("summary", output->out.substr(summary));
}

}  // namespace
}  // namespace thinsnap::driver
