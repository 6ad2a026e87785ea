// A pool's folder on this machine: what is made in it, and what a driver finds that is started
// again while pods have volumes open. In a mount namespace of the test's own.
#include "csi/reflink/pool_folder.h"

#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <string>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/core/clock.h"
#include "base/core/file.h"
#include "base/core/random.h"
#include "csi/reflink/image_file.h"
#include "csi/reflink/loop_device.h"
#include "csi/reflink/reflink_thin_pool.h"

namespace thinsnap::reflink {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t kSize = 512 * kMiB;

class PoolFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0 || access("/dev/loop-control", F_OK) != 0 || unshare(CLONE_NEWNS) != 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      GTEST_SKIP() << "no mount namespace or no loop devices are to be had";
    }
    ASSERT_NE(mkdtemp(options_.folder.data()), nullptr);
  }
  void TearDown() override {
    for (const char* point : {"/inner/pool", "/pool", "/inner"}) {
      while (umount2((options_.folder + point).c_str(), MNT_DETACH) == 0) {
      }
    }
    std::filesystem::remove_all(options_.folder);
  }

  ReflinkPoolOptions Prepare() {
    auto pool = PreparePoolFolder(runner_, options_);
    EXPECT_TRUE(pool.ok()) << pool.error().ToString();
    return pool.ok() ? *pool : ReflinkPoolOptions();
  }
  // How often something is mounted there.
  static int MountsAt(const std::string& path) {
    std::ifstream mounts("/proc/thread-self/mountinfo");
    std::string line;
    int count = 0;
    while (std::getline(mounts, line)) count += line.find(" " + path + " ") != line.npos;
    return count;
  }

  PosixCommandRunner runner_;
  PoolFolderOptions options_{"/var/tmp/thinsnap-pool-XXXXXX", kSize};
};

TEST_F(PoolFolderTest, AnImageTakesItsRoomFromTheDiskAtOnce) {
  const ReflinkPoolOptions pool = Prepare();
  EXPECT_EQ(pool.folder, options_.folder + "/pool");
  EXPECT_EQ(pool.image, options_.folder + "/pool.xfs");
  EXPECT_EQ(std::filesystem::file_size(pool.image), kSize);
  EXPECT_GE(AllocatedBytes(pool.image), kSize);
  EXPECT_EQ(MountsAt(pool.folder), 1);
  // Nothing that is removed gives that room away.
  ASSERT_TRUE(WriteFileAtomic(pool.folder + "/file", std::string(64 * kMiB, 'x')).ok());
  ASSERT_EQ(unlink((pool.folder + "/file").c_str()), 0);
  ASSERT_EQ(umount(pool.folder.c_str()), 0);
  EXPECT_GE(AllocatedBytes(pool.image), kSize);
}

TEST_F(PoolFolderTest, ASparseImageTakesWhatItHolds) {
  options_.preallocate = false;
  EXPECT_LT(AllocatedBytes(Prepare().image), kSize / 4);
}

TEST_F(PoolFolderTest, WhatIsMountedAlreadyIsUsedAsItIs) {
  Prepare();
  ASSERT_TRUE(WriteFileAtomic(options_.folder + "/pool/file", "kept").ok());
  options_.size_bytes = 2 * kSize;  // of an image that is made; this one is there
  for (int i = 0; i < 3; ++i) Prepare();
  EXPECT_EQ(MountsAt(options_.folder + "/pool"), 1);
  EXPECT_EQ(*ReadFile(options_.folder + "/pool/file"), "kept");
}

// The driver's pod is gone with its mounts, and a volume's loop device still holds the filesystem:
// a second mount of the image beside it would destroy both.
TEST_F(PoolFolderTest, AFilesystemThatIsStillInUseIsMountedAgainAndNotTwice) {
  const std::string file = Prepare().folder + "/file";
  const UniqueFd volume(open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_TRUE(volume);
  ASSERT_EQ(umount2((options_.folder + "/pool").c_str(), MNT_DETACH), 0);
  ASSERT_NE(access(file.c_str(), F_OK), 0);
  Prepare();
  ASSERT_EQ(write(volume.get(), "after", 5), 5);
  EXPECT_EQ(*ReadFile(file), "after");
}

TEST_F(PoolFolderTest, AnImageThatWasHalfMadeIsMadeAnew) {
  std::ofstream(options_.folder + "/pool.xfs.new") << "of a process that was killed";
  const ReflinkPoolOptions pool = Prepare();
  EXPECT_EQ(std::filesystem::file_size(pool.image), kSize);
  EXPECT_FALSE(std::filesystem::exists(options_.folder + "/pool.xfs.new"));
}

TEST_F(PoolFolderTest, AFolderThatHasReflinksServesItself) {
  ASSERT_TRUE(
      MountPoolImage(runner_, {options_.folder + "/disk", kSize, false}, options_.folder + "/inner")
          .ok());
  options_.folder += "/inner";
  const ReflinkPoolOptions pool = Prepare();
  EXPECT_EQ(pool.folder, options_.folder + "/pool");
  EXPECT_EQ(pool.image, "");
  EXPECT_EQ(MountsAt(pool.folder), 0);
  EXPECT_FALSE(std::filesystem::exists(options_.folder + "/pool.xfs"));
  options_.folder.resize(options_.folder.size() - std::string("/inner").size());
}

// What a pool has free is what its volumes can really get: of a sparse image no more than the disk
// below has, whatever the filesystem in it believes.
TEST_F(PoolFolderTest, FreeIsTheSmallerOfTheImageAndTheDiskBelow) {
  SystemClock clock;
  SystemRandom random;
  const std::string folder = options_.folder;
  for (const bool preallocate : {true, false}) {
    const std::string disk = folder + (preallocate ? "/whole" : "/sparse");
    ASSERT_TRUE(WriteFileAtomic(disk, "").ok());
    ASSERT_EQ(truncate(disk.c_str(), 2 * kGiB), 0);
    Command format;
    format.argv = {"mkfs.ext4", "-q", "-F", "-m", "0", disk};
    ASSERT_TRUE(RunChecked(runner_, format).ok());
    options_.folder = folder + "/inner";
    std::filesystem::create_directories(options_.folder);
    {
      const auto device = AttachLoopDevice(disk);
      ASSERT_TRUE(device.ok()) << device.error().ToString();
      ASSERT_EQ(mount(device->path.c_str(), options_.folder.c_str(), "ext4", 0, ""), 0);
    }
    options_.preallocate = preallocate;
    const ReflinkPoolOptions prepared = Prepare();
    {
      const auto pool = OpenReflinkThinPool(clock, random, prepared);
      ASSERT_TRUE(pool.ok()) << pool.error().ToString();
      const auto free_bytes = [&] { return (*pool)->GetStatus()->free_bytes; };
      const std::uint64_t at_first = free_bytes();
      EXPECT_GT(at_first, 300 * kMiB);
      EXPECT_LT(at_first, kSize);
      struct statvfs below = {};
      ASSERT_EQ(statvfs(options_.folder.c_str(), &below), 0);
      const std::uint64_t room = below.f_bavail * below.f_frsize;
      const UniqueFd other(
          open((options_.folder + "/other").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
      ASSERT_EQ(fallocate(other.get(), 0, 0, static_cast<off_t>(room - 64 * kMiB)), 0);
      if (preallocate) {
        EXPECT_EQ(free_bytes(), at_first);
      } else {
        EXPECT_LT(free_bytes(), 128 * kMiB);
        EXPECT_GT(free_bytes(), 0U);
      }
    }
    ASSERT_EQ(umount(prepared.folder.c_str()), 0);
    ASSERT_EQ(umount(options_.folder.c_str()), 0);
    options_.folder = folder;
  }
}

TEST_F(PoolFolderTest, ADiskWithoutRoomIsRefusedWithTheFigures) {
  struct statvfs disk = {};
  ASSERT_EQ(statvfs(options_.folder.c_str(), &disk), 0);
  options_.size_bytes = disk.f_bavail * disk.f_frsize + kGiB;
  const auto refused = PreparePoolFolder(runner_, options_);
  ASSERT_TRUE(refused.Is(Code::kResourceExhausted));
  EXPECT_THAT(refused.error().message(), HasSubstr(options_.folder));
  EXPECT_THAT(refused.error().message(), HasSubstr(std::to_string(options_.size_bytes)));
  EXPECT_FALSE(std::filesystem::exists(options_.folder + "/pool.xfs.new"));
}

TEST_F(PoolFolderTest, AFolderThatIsNotThereIsNamed) {
  options_.folder += "/none";
  const auto refused = PreparePoolFolder(runner_, options_);
  ASSERT_TRUE(refused.Is(Code::kNotFound));
  EXPECT_THAT(refused.error().message(), HasSubstr(options_.folder));
  options_.folder.resize(options_.folder.size() - std::string("/none").size());
}

TEST(PoolSizeTest, TakesUnitsAndRefusesTheRestByName) {
  EXPECT_EQ(*ParsePoolSize("512Mi"), 512 * kMiB);
  EXPECT_EQ(*ParsePoolSize("32Gi"), 32 * kGiB);
  EXPECT_EQ(*ParsePoolSize("64Ti"), 64 * kTiB);
  EXPECT_EQ(*ParsePoolSize("536870912"), 512 * kMiB);
  for (const char* text : {"", "Gi", "511Mi", "65Ti", "1Gb", "1 Gi", "-1Gi", "1.5Gi",
                           "18446744073709551616", "99999999999Ti", "1GiB"}) {
    const auto size = ParsePoolSize(text);
    ASSERT_TRUE(size.Is(Code::kInvalidArgument)) << text;
    EXPECT_THAT(size.error().message(), HasSubstr(text));
  }
}

}  // namespace
}  // namespace thinsnap::reflink
