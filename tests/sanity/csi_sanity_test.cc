// The upstream csi-sanity against a real node: reflinked files, loop devices, ext4, xfs, mounts.
// Each run has another order of its cases.
#include <fstream>
#include <gtest/gtest.h>
#include <map>
#include <string>
#include <vector>

#include "base/core/command.h"
#include "tests/sanity/node_under_test.h"

namespace thinsnap::driver {
namespace {

struct Variant {
  std::string name;
  std::string fs_type = "ext4";
  std::vector<std::string> flags;
  std::map<std::string, std::string> files = {};  // "@name" in flags stands for the path
};

const std::vector<Variant>& Variants() {
  static const std::vector<Variant> variants = {
      {.name = "Ext4", .flags = {"--ginkgo.seed=1"}},
      {.name = "Xfs", .fs_type = "xfs", .flags = {"--ginkgo.seed=2"}},
      {.name = "Block", .flags = {"--ginkgo.seed=3", "--csi.testvolumeaccesstype=block"}},
      {.name = "SecretsAndParameters",
       .flags = {"--ginkgo.seed=4", "--csi.secrets=@secrets", "--csi.testvolumeparameters=@volume",
                 "--csi.testsnapshotparameters=@snapshot", "--csi.testvolumesize=1073741824",
                 "--csi.testvolumemutableparameters=@mutable"},
       .files =
           {{"secrets",
             "CreateVolumeSecret: {key: hidden}\nDeleteVolumeSecret: {key: hidden}\n"
             "ControllerValidateVolumeCapabilitiesSecret: {key: hidden}\n"
             "NodeStageVolumeSecret: {key: hidden}\nNodePublishVolumeSecret: {key: hidden}\n"
             "CreateSnapshotSecret: {key: hidden}\nDeleteSnapshotSecret: {key: hidden}\n"
             "ControllerExpandVolumeSecret: {key: hidden}\nListSnapshotsSecret: {key: hidden}\n"
             "ControllerModifyVolumeSecret: {key: hidden}\nGetSnapshotSecret: {key: hidden}\n"},
            {"mutable", "tag/team: orders\n"},
            {"volume",
             "csi.storage.k8s.io/pvc/name: data\ncsi.storage.k8s.io/pvc/namespace: shop\n"
             "csi.storage.k8s.io/pv/name: pvc-1\n"},
            {"snapshot",
             "localCopies: \"2\"\ncsi.storage.k8s.io/volumesnapshot/name: s\n"
             "csi.storage.k8s.io/volumesnapshot/namespace: shop\n"}}},
  };
  return variants;
}

class CsiSanityTest : public testing::TestWithParam<std::size_t> {};

TEST_P(CsiSanityTest, UpstreamPassesEntirely) {
  const Variant& variant = Variants()[GetParam()];
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
  (*world)->options.default_fs_type = variant.fs_type;
  NodeUnderTest node(**world);
  const std::string folder = (*world)->folder.path();
  Command command;
  command.argv = {answer,
                  "--csi.endpoint=unix://" + (*world)->options.socket_path,
                  "--csi.mountdir=" + folder + "/mount",
                  "--csi.stagingdir=" + folder + "/staging",
                  "--ginkgo.no-color",
                  "--ginkgo.succinct",
                  "--ginkgo.randomize-all"};
  for (std::string flag : variant.flags) {
    if (const auto at = flag.find('@'); at != std::string::npos) {
      const std::string name = flag.substr(at + 1), path = folder + "/" + name + ".yaml";
      std::ofstream(path) << variant.files.at(name);
      flag.replace(at, std::string::npos, path);
    }
    command.argv.push_back(flag);
  }
  command.timeout = std::chrono::minutes(5);
  const auto output = runner.Run(command);
  ASSERT_TRUE(output.ok()) << output.error().ToString();
  EXPECT_EQ(output->exit_code, 0) << output->out << output->err;
  const auto summary = output->out.rfind("Ran ");
  if (summary != std::string::npos) RecordProperty("summary", output->out.substr(summary));
}

std::string VariantName(const testing::TestParamInfo<std::size_t>& at) {
  return Variants()[at.param].name;
}

INSTANTIATE_TEST_SUITE_P(Variants, CsiSanityTest, testing::Range<std::size_t>(0, Variants().size()),
                         VariantName);

}  // namespace
}  // namespace thinsnap::driver
