// The thinsnap command where a place is full, read-only, too small or in use, and where several
// commands work on one repository at once.
#include <fcntl.h>
#include <filesystem>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/command.h"
#include "base/core/file.h"
#include "tests/system/command_fixture.h"

namespace thinsnap::cli {
namespace {

namespace fs = std::filesystem;

// With mounts and loop devices of its own.
class PlaceTest : public CommandFixture {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    if (::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      GTEST_SKIP() << "no mount namespace is to be had";
    }
  }
  void TearDown() override {
    for (auto it = mounts_.rbegin(); it != mounts_.rend(); ++it) ::umount(it->c_str());
    for (const std::string& loop : loops_) Host({"losetup", "--detach", loop});
  }

  std::string Host(const std::vector<std::string>& argv) {
    Command command;
    command.argv = argv;
    const auto output = runner_.Run(command);
    if (!output.ok() || output->exit_code != 0) return "";
    return output->out.substr(0, output->out.find('\n'));
  }
  bool Mount(const std::string& from, const std::string& name, const char* kind,
             unsigned long flags, const char* options = nullptr) {
    const std::string at = In(name);
    fs::create_directories(at);
    if (::mount(from.c_str(), at.c_str(), kind, flags, options) != 0) return false;
    if (mounts_.empty() || mounts_.back() != at) mounts_.push_back(at);
    return true;
  }
  std::string Loop(const std::string& image) {
    std::string loop = Host({"losetup", "--find", "--show", image});
    if (!loop.empty()) loops_.push_back(loop);
    return loop;
  }

  PosixCommandRunner runner_;
  std::vector<std::string> mounts_;
  std::vector<std::string> loops_;
};

TEST_F(PlaceTest, AFullDiskIsNamedAndHarmsNothing) {
  const std::string image = MakeImage("image", 24 * kMiB);
  const std::string tiny = MakeImage("tiny", 2 * kMiB);
  ASSERT_TRUE(Mount("none", "small", "tmpfs", 0, "size=10m"));
  ExpectOk({"init"});
  ExpectOk({"backup", image});
  ExpectSays({"restore", "latest", "--target", In("small/copy")}, 1, "No space left on device");
  EXPECT_TRUE(fs::is_empty(In("small")));
  repository_ = In("small/repository");
  ExpectOk({"init"});
  ExpectOk({"backup", tiny});
  ExpectSays({"backup", image}, 1, "No space left on device");
  EXPECT_EQ(Points().size(), 1U);
  ExpectOk({"verify", "--data"});
  ExpectOk({"restore", "latest", "--target", In("copy")});
  EXPECT_TRUE(SameBytes(tiny, In("copy")));
  ExpectOk({"backup", tiny});
}

TEST_F(PlaceTest, AReadOnlyRepositoryCanBeReadAndNothingElse) {
  const std::string image = MakeImage("image", 2 * kMiB);
  ExpectOk({"init"});
  ExpectOk({"backup", image});
  ASSERT_TRUE(Mount(repository_, "read-only", nullptr, MS_BIND));
  ASSERT_TRUE(Mount("none", "read-only", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY));
  repository_ = In("read-only");
  const auto points = Points();
  ASSERT_EQ(points.size(), 1U);
  ExpectOk({"show", "latest"});
  ExpectOk({"verify", "--data"});
  ExpectOk({"restore", "latest", "--target", In("copy")});
  EXPECT_TRUE(SameBytes(image, In("copy")));
  ExpectSays({"backup", image}, 4, "Read-only file system");
  ExpectSays({"forget", points[0]}, 4, "Read-only file system");
  EXPECT_EQ(Points(), points);
}

TEST_F(PlaceTest, DevicesAreSourcesAndTargetsUnlessTheyAreInUse) {
  const std::string image = MakeImage("image", 24 * kMiB);
  MakeImage("small", 8 * kMiB);
  MakeImage("large", 32 * kMiB);
  const std::string source = Loop(image);
  const std::string small = Loop(In("small"));
  const std::string large = Loop(In("large"));
  if (source.empty() || small.empty() || large.empty()) GTEST_SKIP() << "no loop devices";
  ExpectOk({"init"});
  ExpectOk({"backup", source});
  ExpectSays({"restore", "latest", "--target", small}, 1, "the point needs 25165824");
  ExpectOk({"restore", "latest", "--target", large});
  EXPECT_EQ(Host({"cmp", "-n", "25165824", image, large}), "");
  ExpectSays({"restore", "latest", "--target", In("large"), "--force"}, 1,
             "the file behind " + large);
  Host({"mkfs.ext4", "-q", "-F", large});
  if (!Mount(large, "mounted", "ext4", 0)) GTEST_SKIP() << "ext4 cannot be mounted";
  ExpectSays({"restore", "latest", "--target", large}, 1, "is mounted at");
  ExpectSays({"backup", large}, 0, "is mounted at");
}

// As a container's runtime mounts a single file.
TEST_F(PlaceTest, AFileThatIsAMountPointIsRefusedBeforeAnythingIsFetched) {
  const std::string image = MakeImage("image", 2 * kMiB);
  ExpectOk({"init"});
  ExpectOk({"backup", image});
  fs::remove_all(repository_ + "/packs");
  MakeImage("host", kMiB);
  MakeImage("disk", kMiB);
  if (::mount(In("host").c_str(), In("disk").c_str(), nullptr, MS_BIND, nullptr) != 0)
    GTEST_SKIP() << "files cannot be mounted";
  mounts_.push_back(In("disk"));
  ExpectSays({"restore", "latest", "--target", In("disk"), "--force"}, 1,
             "is a mount point of its own, so no other file can take its place");
}

class TogetherTest : public CommandFixture {};

TEST_F(TogetherTest, WritersOfOneRepositoryDoNotDisturbEachOther) {
  ExpectOk({"init"});
  const std::string image = MakeImage("image", 20 * kMiB);
  const std::string other = MakeImage("other", 21 * kMiB);
  ExpectOk({"backup", image, "--series", "shared"});
  const auto first = Points();
  // Two of one series, one of another, and the base of both forgotten meanwhile.
  const std::vector<pid_t> writers = {Start({"backup", other, "--series", "shared"}),
                                      Start({"backup", image, "--series", "shared"}),
                                      Start({"backup", other, "--series", "own"})};
  ExpectOk({"forget", first[0]});
  for (const pid_t writer : writers) {
    const Outcome outcome = Await(writer);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
  }
  const auto points = Points();
  ASSERT_EQ(points.size(), 3U);
  for (const std::string& point : points) {
    const Json shown = RunJson({"show", point});
    ExpectOk({"restore", point, "--target", In("copy"), "--force"});
    EXPECT_TRUE(SameBytes(In("copy"), IntAt(shown, "sizeBytes") == 20971520 ? image : other));
  }
  ExpectOk({"verify", "--data"});
  EXPECT_FALSE(fs::exists(repository_ + "/sessions")) << "every writer takes its session away";
}

TEST_F(TogetherTest, OneOfManyInitsWins) {
  std::vector<pid_t> all;
  for (int i = 0; i < 5; ++i) all.push_back(Start({"init"}));
  int made = 0;
  for (const pid_t one : all) {
    const Outcome outcome = Await(one);
    if (outcome.code == 0) ++made;
    if (outcome.code != 0) {
      EXPECT_NE(outcome.err.find("holds a repository already"), std::string::npos) << outcome.err;
    }
  }
  EXPECT_EQ(made, 1);
  ExpectOk({"backup", MakeImage("image", kMiB)});
  ExpectOk({"verify", "--data"});
}

}  // namespace
}  // namespace thinsnap::cli
