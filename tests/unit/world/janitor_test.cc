// The janitor thaws what its owner cannot thaw any more, and the next life waits for it.
#include "simulator/world/janitor.h"

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fs.h>
#include <optional>
#include <sched.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/core/command.h"
#include "base/core/file.h"
#include "csi/reflink/loop_device.h"
#include "simulator/containers/remove_tree.h"
#include "simulator/world/watched_mounter.h"

namespace thinsnap::world {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class JanitorTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (access("/dev/loop-control", R_OK | W_OK) != 0) GTEST_SKIP() << "needs loop devices";
    char name[] = "/var/tmp/janitor-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    // For the life of this program: nothing is mounted outside.
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      ASSERT_EQ(::mount(folder_.c_str(), folder_.c_str(), nullptr, MS_BIND, nullptr), 0);
      ASSERT_EQ(::mount(nullptr, folder_.c_str(), nullptr, MS_PRIVATE, nullptr), 0);
    }
    MountFilesystem();
  }
  void TearDown() override {
    if (folder_.empty()) return;
    janitor_.reset();
    ioctl(filesystem_.get(), FITHAW, 0);
    filesystem_.Reset();
    umount2(mount_point().c_str(), MNT_DETACH);
    umount2(folder_.c_str(), MNT_DETACH);
    containers::RemoveTree(folder_);
  }

  void MountFilesystem() {
    const std::string image = folder_ + "/image";
    const UniqueFd fd(open(image.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(ftruncate(fd.get(), 16 << 20), 0);
    PosixCommandRunner runner;
    Command format;
    format.argv = {"mkfs.ext4", "-q", image};
    ASSERT_TRUE(RunChecked(runner, format).ok());
    ASSERT_EQ(mkdir(mount_point().c_str(), 0755), 0);
    const Result<reflink::LoopDevice> device = reflink::AttachLoopDevice(image);
    ASSERT_TRUE(device.ok()) << device.error().ToString();
    ASSERT_EQ(::mount(device->path.c_str(), mount_point().c_str(), "ext4", 0, nullptr), 0);
    filesystem_.Reset(open(mount_point().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(filesystem_);
  }

  void StartJanitor() {
    Result<Janitor> janitor = Janitor::Start({.cgroup = cgroup_, .data_folder = folder_});
    ASSERT_TRUE(janitor.ok()) << janitor.error().ToString();
    janitor_ = std::move(*janitor);
  }

  std::string mount_point() const { return folder_ + "/mount"; }
  std::string socket() const { return folder_ + "/" + kJanitorSocket; }
  bool Freeze() const { return ioctl(filesystem_.get(), FIFREEZE, 0) == 0; }
  bool Thaw() const { return ioctl(filesystem_.get(), FITHAW, 0) == 0; }
  bool IsFrozen() const {
    if (!Freeze()) return errno == EBUSY;
    Thaw();
    return false;
  }
  bool IsThawedSoon() {
    const MonoTime deadline = clock_.MonoNow() + seconds(60);
    while (IsFrozen()) {
      if (clock_.MonoNow() > deadline || !runtime_.SleepFor(milliseconds(5)).ok()) return false;
    }
    return true;
  }

  std::string folder_;
  const std::string cgroup_ = "thinsnap-unit-janitor-" + std::to_string(getpid());
  UniqueFd filesystem_;
  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  std::optional<Janitor> janitor_;
};

TEST_F(JanitorTest, ThawsWhenWhoFrozeIsGone) {
  StartJanitor();
  Result<UniqueFd> asked = AskToThaw(socket(), mount_point());
  ASSERT_TRUE(asked.ok()) << asked.error().ToString();
  ASSERT_TRUE(Freeze());
  asked->Reset();  // what the kernel does for a process that was killed
  EXPECT_TRUE(IsThawedSoon());
}

TEST_F(JanitorTest, ThawsAfterItsOwnParentIsGoneToo) {
  StartJanitor();
  Result<UniqueFd> asked = AskToThaw(socket(), mount_point());
  ASSERT_TRUE(asked.ok()) << asked.error().ToString();
  ASSERT_TRUE(Freeze());
  janitor_.reset();
  EXPECT_TRUE(IsFrozen());
  asked->Reset();
  EXPECT_TRUE(IsThawedSoon());
}

TEST_F(JanitorTest, NeverMeetsTheNextFreeze) {
  StartJanitor();
  WatchedMounter mounter(socket());
  Result<std::unique_ptr<mount::FrozenMount>> frozen = mounter.Freeze(mount_point(), seconds(60));
  ASSERT_TRUE(frozen.ok()) << frozen.error().ToString();
  EXPECT_TRUE(IsFrozen());
  ASSERT_TRUE((*frozen)->Thaw().ok());
  ASSERT_TRUE(Freeze());
  // The janitor works in turn: when it has taken this, it has done everything before.
  const Result<UniqueFd> asked = AskToThaw(socket(), mount_point());
  ASSERT_TRUE(asked.ok());
  EXPECT_TRUE(IsFrozen());
  EXPECT_TRUE(Thaw());
}

TEST_F(JanitorTest, FreezesWithoutAJanitorToo) {
  WatchedMounter mounter(socket());
  Result<std::unique_ptr<mount::FrozenMount>> frozen = mounter.Freeze(mount_point(), seconds(60));
  ASSERT_TRUE(frozen.ok()) << frozen.error().ToString();
  EXPECT_TRUE(IsFrozen());
  EXPECT_TRUE((*frozen)->Thaw().ok());
  EXPECT_FALSE(IsFrozen());
}

TEST_F(JanitorTest, TheNextLifeWaitsForTheFormer) {
  StartJanitor();
  ASSERT_TRUE(janitor_->WaitForFormer(runtime_).ok());
  const UniqueFd lock(open((folder_ + "/janitor.lock").c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_NE(flock(lock.get(), LOCK_EX | LOCK_NB), 0);
  janitor_.reset();
  StartJanitor();
  EXPECT_TRUE(janitor_->WaitForFormer(runtime_).ok());
}

}  // namespace
}  // namespace thinsnap::world
