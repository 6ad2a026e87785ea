// Folders that others have filled: images and volumes with links that lead out of them.
#include "simulator/containers/jail.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/file.h"
#include "simulator/containers/image.h"
#include "simulator/containers/remove_tree.h"

namespace thinsnap::containers {
namespace {

namespace fs = std::filesystem;

class JailTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/jail-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    jailed_ = folder_ + "/jail";
    outside_ = folder_ + "/outside";
    for (const std::string& each : {jailed_, outside_}) ASSERT_TRUE(MakeFolders(each).ok());
    ASSERT_EQ(chmod(outside_.c_str(), 0711), 0);
    std::ofstream(outside_ + "/hosts") << "the host's";
  }
  void TearDown() override { containers::RemoveTree(folder_); }

  // Nothing outside was changed.
  void ExpectUntouched() {
    struct stat info = {};
    ASSERT_EQ(stat(outside_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0711U);
    EXPECT_EQ(*ReadFile(outside_ + "/hosts"), "the host's");
    EXPECT_EQ(std::distance(fs::directory_iterator(outside_), fs::directory_iterator()), 1);
  }

  std::string folder_, jailed_, outside_;
};

TEST_F(JailTest, LinksAreFollowedInsideOrRefused) {
  fs::create_directory_symlink(outside_, jailed_ + "/absolute");
  fs::create_directory_symlink("../outside", jailed_ + "/climbing");
  fs::create_directory_symlink("/", jailed_ + "/all");
  const Jail inside = *Jail::Open(jailed_, Jail::Links::kInside);
  const Jail refused = *Jail::Open(jailed_, Jail::Links::kRefused);
  for (const char* link : {"absolute", "climbing", "all/../.."}) {
    EXPECT_TRUE(
        refused.FindOrMakeFolder(std::string(link) + "/x", 0755).Is(Code::kPermissionDenied))
        << link;
  }
  // As if the jail were the whole machine.
  EXPECT_FALSE(inside.WriteText("absolute/hosts", "mine").ok());
  EXPECT_TRUE(inside.WriteText("all/etc/hosts", "mine").ok());
  EXPECT_EQ(*ReadFile(jailed_ + "/etc/hosts"), "mine");
  EXPECT_TRUE(inside.FindOrMakeFolder(outside_, 0700).ok());
  EXPECT_TRUE(inside.SetMode("absolute", 0777).ok());
  EXPECT_TRUE(inside.WriteText("absolute/hosts", "mine").ok());
  EXPECT_EQ(*ReadFile(jailed_ + outside_ + "/hosts"), "mine");
  ExpectUntouched();
}

TEST_F(JailTest, AnImageWritesNothingOfTheHost) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to lay an image under a container's root";
  ASSERT_EQ(unshare(CLONE_NEWNS), 0);
  ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  for (const char* name : {"/etc", "/tmp", "/root", "/var"})
    fs::create_directory_symlink(outside_, jailed_ + name);
  RootPlan plan;
  plan.lower_folders = {jailed_};
  const std::string root = folder_ + "/rootfs";
  const Status made = MakeRoot(plan, root, "pod", {});
  ExpectUntouched();
  // What can be made is made in the container's own root.
  EXPECT_FALSE(made.ok());
  RemoveTree(jailed_);
  ASSERT_TRUE(MakeFolders(jailed_ + outside_).ok());
  fs::create_directory_symlink(outside_, jailed_ + "/etc");
  const std::string second = folder_ + "/second";
  const Status again = MakeRoot(plan, second, "pod", {});
  EXPECT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_EQ(*ReadFile(second + outside_ + "/hostname"), "pod\n");
  ExpectUntouched();
  for (const std::string& each : {root, second}) umount2(each.c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace thinsnap::containers
