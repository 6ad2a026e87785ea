#include <cstdlib>
#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/command.h"
#include "base/core/file.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/data/json.h"
#include "base/data/yaml.h"
#include "csi/reflink/image_file.h"
#include "csi/reflink/pool_folder.h"
#include "simulator/containers/remove_tree.h"
#include "simulator/world/control.h"
#include "simulator/world/kubeconfig.h"
#include "simulator/world/world_state.h"

namespace thinsnap::world {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class WorldFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/world-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { containers::RemoveTree(folder_); }
  std::string folder_;
  SeededRandom random_{1};
};

TEST_F(WorldFilesTest, TheStateIsMadeOnceAndKept) {
  const std::string path = folder_ + "/world.json";
  Result<WorldState> first = LoadWorldState(path, random_);
  ASSERT_TRUE(first.ok());
  first->destroyed.insert("node-2");
  ASSERT_TRUE(SaveWorldState(path, *first).ok());
  const Result<WorldState> again = LoadWorldState(path, random_);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->id, first->id);
  EXPECT_THAT(NodeNames(3, *again), ElementsAre("node-1", "node-3"));
}

TEST_F(WorldFilesTest, ADamagedStateIsNotReplaced) {
  const std::string path = folder_ + "/world.json";
  ASSERT_TRUE(WriteFileAtomic(path, "{\"id\": ").ok());
  EXPECT_FALSE(LoadWorldState(path, random_).ok());
  ASSERT_TRUE(WriteFileAtomic(path, "{}").ok());
  EXPECT_TRUE(LoadWorldState(path, random_).Is(Code::kDataLoss));
}

TEST_F(WorldFilesTest, AFolderOfAnotherVersionIsLeftAlone) {
  const std::string path = folder_ + "/world.json";
  ASSERT_TRUE(WriteFileAtomic(path, R"({"version": 7, "id": "abc"})").ok());
  const Result<WorldState> state = LoadWorldState(path, random_);
  ASSERT_TRUE(state.Is(Code::kFailedPrecondition));
  EXPECT_THAT(state.error().message(), HasSubstr("is of version 7"));
}

TEST_F(WorldFilesTest, TheKubeconfigNamesItsFolderAndStaysOne) {
  const Result<std::string> text =
      NameDataFolder("apiVersion: v1\nkind: Config\ncurrent-context: a\n", "/data");
  ASSERT_TRUE(text.ok());
  const std::string path = folder_ + "/kubeconfig";
  ASSERT_TRUE(WriteFileAtomic(path, *text).ok());
  EXPECT_EQ(*FindDataFolder(path), "/data");
  EXPECT_EQ(StringAt(*ParseYaml(*text), "current-context"), "a");
}

TEST_F(WorldFilesTest, AForeignKubeconfigIsSaidSo) {
  const std::string path = folder_ + "/kubeconfig";
  ASSERT_TRUE(WriteFileAtomic(path, "apiVersion: v1\nkind: Config\n").ok());
  const Result<std::string> found = FindDataFolder(path);
  ASSERT_TRUE(found.Is(Code::kFailedPrecondition));
  EXPECT_THAT(found.error().message(), HasSubstr("--data"));
}

TEST_F(WorldFilesTest, AKubeconfigIsWrittenOverItsOwnKindOnly) {
  namespace fs = std::filesystem;
  const std::string ours = *NameDataFolder("apiVersion: v1\nkind: Config\n", "/data");
  const std::string path = folder_ + "/kubeconfig";
  ASSERT_TRUE(WriteFileAtomic(path, "").ok());
  EXPECT_TRUE(WriteKubeconfig(path, ours).ok());
  EXPECT_TRUE(WriteKubeconfig(path, ours).ok());

  fs::create_symlink("kubeconfig", folder_ + "/link");
  EXPECT_TRUE(WriteKubeconfig(folder_ + "/link", ours + "# again\n").ok());
  EXPECT_TRUE(fs::is_symlink(folder_ + "/link"));
  EXPECT_EQ(*ReadFile(path), ours + "# again\n");

  const std::string foreign = "apiVersion: v1\nkind: Config\ncurrent-context: production\n";
  ASSERT_TRUE(WriteFileAtomic(path, foreign).ok());
  EXPECT_TRUE(WriteKubeconfig(path, ours).Is(Code::kFailedPrecondition));
  EXPECT_EQ(*ReadFile(path), foreign);
}

TEST_F(WorldFilesTest, AKubeconfigReplacesNoDevice) {
  const std::string pipe = folder_ + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_TRUE(WriteKubeconfig(pipe, "a: b").Is(Code::kInvalidArgument));
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
  EXPECT_TRUE(WriteKubeconfig(folder_, "a: b").Is(Code::kInvalidArgument));
  EXPECT_TRUE(WriteKubeconfig(folder_ + "/none/file", "a: b").Is(Code::kNotFound));
}

TEST_F(WorldFilesTest, AnEmptiedPoolGivesTheDiskItsSpaceBack) {
  if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
      mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    GTEST_SKIP() << "no mount namespace is to be had";
  }
  const std::string image = folder_ + "/pool.img";
  const std::string pool = folder_ + "/pool";
  PosixCommandRunner runner;
  const Status mounted = reflink::MountPoolImage(runner, {image, 512 * kMiB, false}, pool);
  if (mounted.Is(Code::kNotFound)) GTEST_SKIP() << mounted.error().message();
  ASSERT_TRUE(mounted.ok()) << mounted.error().ToString();
  EXPECT_TRUE(WriteFileAtomic(pool + "/file", std::string(64 * kMiB, 'x')).ok());
  const std::uint64_t full = reflink::AllocatedBytes(image);
  EXPECT_TRUE(std::filesystem::remove(pool + "/file"));
  ASSERT_EQ(umount(pool.c_str()), 0);
  EXPECT_LT(reflink::AllocatedBytes(image), full - 32 * kMiB);
}

TEST_F(WorldFilesTest, CommandsReachTheControlSocketAndErrorsComeBack) {
  SystemClock clock;
  ThreadRuntime runtime(clock);
  TaskGroup group(runtime);
  ControlServer server(group, [](const std::string& command, const std::string& name) -> Status {
    if (command == "destroy-node" && name == "node-1") return {};
    return Error(Code::kNotFound, "there is no node " + name);
  });
  ASSERT_TRUE(server.Start(folder_ + "/" + kControlSocket).ok());
  EXPECT_TRUE(SendControl(folder_, "destroy-node", "node-1").ok());
  const Status refused = SendControl(folder_, "destroy-node", "node-7");
  ASSERT_TRUE(refused.Is(Code::kNotFound));
  EXPECT_EQ(refused.error().message(), "there is no node node-7");
  group.Stop();
  group.Join();
  EXPECT_TRUE(SendControl(folder_ + "/none", "destroy-node", "node-1").Is(Code::kUnavailable));
}

}  // namespace
}  // namespace thinsnap::world
