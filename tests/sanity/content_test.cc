// What csi-sanity does not look at: bytes, filesystems, read-only, block devices, freezing.
#include <csignal>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/core/file.h"
#include "csi/mount/freezer.h"
#include "csi/mount/thaw_watch.h"
#include "csi/pool/handle.h"
#include "tests/contract/pool/leased_device.h"
#include "tests/sanity/sanity_fixture.h"

namespace thinsnap::driver {
namespace {

class ContentTest : public SanityTest {
 protected:
  void Write(const std::string& path, const std::string& text) {
    const Status written = WriteFileAtomic(path, text);
    ASSERT_TRUE(written.ok()) << written.error().ToString();
  }
  std::string Read(const std::string& path) {
    const auto text = ReadFile(path);
    return text.ok() ? *text : text.error().ToString();
  }
  std::string Restore(const std::string& name, const std::string& snapshot, std::int64_t size) {
    auto request = VolumeRequest(name, size);
    request.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(snapshot);
    const auto created = Create(request);
    EXPECT_TRUE(created.ok()) << (created.ok() ? "" : created.error().ToString());
    return created.ok() ? created->volume().volume_id() : "";
  }
  // Cuts under a mounted volume, restores it larger, and looks at both.
  void CutAndRestore(const std::string& fs_type) {
    const auto capability = MountCapability(Mode::SINGLE_NODE_WRITER, fs_type);
    const std::string volume = Volume("v");
    ASSERT_OK(Stage(volume, capability));
    ASSERT_OK(Publish(volume, target_, capability));
    Write(target_ + "/file", "before the cut");
    // Not synced: the freeze brings it in.
    {
      const UniqueFd file(open((target_ + "/unsynced").c_str(), O_CREAT | O_WRONLY, 0600));
      ASSERT_EQ(write(file.get(), "in the cache", 12), 12);
    }
    const auto snapshot = Snapshot("s", volume);
    ASSERT_OK(snapshot);
    Write(target_ + "/file", "after the cut");
    const auto before = Stats(volume, target_);
    ASSERT_OK(before);

    const std::string restored = Restore("r", snapshot->snapshot().snapshot_id(), 2 * kSize);
    const std::string staging = staging_, target = target_;
    staging_ += "-2";
    target_ += "-2";
    std::filesystem::create_directories(staging_);
    // Beside its source, with the same UUID.
    ASSERT_OK(Stage(restored, capability));
    ASSERT_OK(Publish(restored, target_, capability));
    EXPECT_EQ(Read(target_ + "/file"), "before the cut");
    EXPECT_EQ(Read(target_ + "/unsynced"), "in the cache");
    EXPECT_EQ(Read(target + "/file"), "after the cut");
    const auto after = Stats(restored, target_);
    ASSERT_OK(after);
    EXPECT_GT(after->usage(0).total(), before->usage(0).total() + kSize / 2);
    ASSERT_OK(Unpublish(restored, target_));
    ASSERT_OK(Unstage(restored));
    staging_ = staging;
    target_ = target;
  }
};
INSTANTIATE_TEST_SUITE_P(Worlds, ContentTest, testing::Values("Reflink"), WorldName);

TEST_P(ContentTest, Ext4ComesBackAsItWasAtTheCut) { CutAndRestore("ext4"); }

TEST_P(ContentTest, XfsComesBackAsItWasAtTheCut) { CutAndRestore("xfs"); }

TEST_P(ContentTest, CopyHasAUuidOfItsOwnWhereThatIsAskedFor) {
  const auto uuid = [&](const std::string& volume) {
    PosixCommandRunner runner;
    Command look;
    look.argv = {"blkid",
                 "--probe",
                 "--output",
                 "value",
                 "--match-tag",
                 "UUID",
                 (*world_->mounter->Find(staging_))->source};
    const auto output = runner.Run(look);
    EXPECT_TRUE(output.ok() && output->exit_code == 0) << volume;
    return output.ok() ? output->out : "";
  };
  for (const std::string fs_type : {"ext4", "xfs"}) {
    const auto capability = MountCapability(Mode::SINGLE_NODE_WRITER, fs_type);
    const std::string volume = Volume("origin-" + fs_type), first = staging_;
    ASSERT_OK(Stage(volume, capability));
    Write(staging_ + "/file", "kept");
    const std::string origin = uuid(volume);
    for (const std::string wanted : {"same", "new"}) {
      auto request = VolumeRequest("copy-" + fs_type + "-" + wanted);
      (*request.mutable_parameters())["filesystemUUID"] = wanted;
      request.mutable_volume_content_source()->mutable_volume()->set_volume_id(volume);
      const auto copy = Create(request);
      ASSERT_OK(copy);
      staging_ = first + "-2";
      std::filesystem::create_directories(staging_);
      // Beside its origin, and again later: it is changed once.
      std::string seen;
      for (int i = 0; i < 2; ++i) {
        ASSERT_OK(Stage(copy->volume().volume_id(), capability));
        EXPECT_EQ(Read(staging_ + "/file"), "kept");
        const std::string now = uuid(copy->volume().volume_id());
        EXPECT_EQ(now == origin, wanted == "same");
        EXPECT_TRUE(seen.empty() || seen == now);
        seen = now;
        ASSERT_OK(Unstage(copy->volume().volume_id()));
      }
      staging_ = first;
    }
    ASSERT_OK(Unstage(volume));
  }
}

TEST_P(ContentTest, ReadOnlyCopyIsReadAndNotWritten) {
  for (const std::string fs_type : {"ext4", "xfs"}) {
    const auto writer = MountCapability(Mode::SINGLE_NODE_WRITER, fs_type);
    const auto reader = MountCapability(Mode::MULTI_NODE_READER_ONLY, fs_type);
    const std::string volume = Volume("origin-" + fs_type), first = staging_;
    ASSERT_OK(Stage(volume, writer));
    Write(staging_ + "/file", "kept");
    auto request = VolumeRequest("copy-" + fs_type);
    *request.mutable_volume_capabilities(0) = reader;
    request.mutable_volume_content_source()->mutable_volume()->set_volume_id(volume);
    const auto copy = Create(request);
    ASSERT_OK(copy);
    const std::string id = copy->volume().volume_id();
    staging_ = first + "-2";
    std::filesystem::create_directories(staging_);
    ASSERT_OK(Stage(id, reader));
    // For several pods.
    for (const std::string& target : {target_, target_ + "-2"}) {
      ASSERT_OK(Publish(id, target, reader));
      EXPECT_EQ(Read(target + "/file"), "kept");
      EXPECT_FALSE(UniqueFd(open((target + "/new").c_str(), O_CREAT | O_WRONLY, 0600)));
      ASSERT_OK(Unpublish(id, target));
    }
    ASSERT_OK(Unstage(id));
    staging_ = first;
    ASSERT_OK(Unstage(volume));
  }
}

TEST_P(ContentTest, XfsGrowsWhileItIsPublished) {
  const auto capability = MountCapability(Mode::SINGLE_NODE_WRITER, "xfs");
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume, capability));
  ASSERT_OK(Publish(volume, target_, capability));
  const auto before = Stats(volume, target_);
  ASSERT_OK(Expand(volume, 2 * kSize));
  ASSERT_OK(NodeExpand(volume, target_));
  EXPECT_GT(Stats(volume, target_)->usage(0).total(), before->usage(0).total() + kSize / 2);
}

TEST_P(ContentTest, ReadOnlyPublicationRefusesWrites) {
  const std::string volume = Volume("v"), second = target_ + "-2";
  ASSERT_OK(Stage(volume));
  ASSERT_OK(Publish(volume, target_));
  ASSERT_OK(Publish(volume, second, MountCapability(), true));
  Write(target_ + "/file", "x");
  EXPECT_EQ(Read(second + "/file"), "x");
  EXPECT_LT(open((second + "/new").c_str(), O_CREAT | O_WRONLY, 0600), 0);
  EXPECT_EQ(errno, EROFS);
  ASSERT_OK(Unpublish(volume, second));
}

TEST_P(ContentTest, SmallVolumesMountToo) {
  const std::string volume = Volume("v", static_cast<std::int64_t>(16 * kMiB));
  ASSERT_OK(Stage(volume));
  ASSERT_OK(Publish(volume, target_));
  Write(target_ + "/file", "x");
}

TEST_P(ContentTest, SizesThatAFilesystemCannotHaveAreMadeLarger) {
  for (const std::string fs_type : {"ext4", "xfs"}) {
    const auto capability = MountCapability(Mode::SINGLE_NODE_WRITER, fs_type);
    auto request = VolumeRequest("small-" + fs_type, 4096);
    *request.mutable_volume_capabilities(0) = capability;
    const auto created = Create(request);
    ASSERT_OK(created);
    EXPECT_EQ(Create(request)->volume().volume_id(), created->volume().volume_id());
    const std::string volume = created->volume().volume_id();
    ASSERT_OK(Stage(volume, capability));
    ASSERT_OK(Publish(volume, target_, capability));
    Write(target_ + "/file", "x");
    ASSERT_OK(Unpublish(volume, target_));
    ASSERT_OK(Unstage(volume));
    request.set_name("limited-" + fs_type);
    request.mutable_capacity_range()->set_limit_bytes(static_cast<std::int64_t>(4 * kMiB));
    const auto refused = Create(request);
    EXPECT_CODE(refused, Code::kOutOfRange);
    EXPECT_THAT(refused.error().message(), testing::HasSubstr(fs_type + " needs"));
  }
}

TEST_P(ContentTest, Ext4HasBlocksOf4KiBWhateverItsSize) {
  const std::string volume = Volume("v", static_cast<std::int64_t>(16 * kMiB));
  ASSERT_OK(Stage(volume));
  struct statvfs figures = {};
  ASSERT_EQ(statvfs(staging_.c_str(), &figures), 0);
  EXPECT_EQ(figures.f_bsize, 4096U);
}

TEST_P(ContentTest, BlockVolumeIsADeviceWithItsBytes) {
  const std::string volume = BlockVolume("b");
  ASSERT_OK(Stage(volume, BlockCapability()));
  ASSERT_OK(Publish(volume, target_, BlockCapability()));
  ASSERT_OK(Publish(volume, target_, BlockCapability()));
  EXPECT_EQ(*world_->mounter->Kind(target_), mount::PathKind::kBlockDevice);
  EXPECT_EQ(*world_->mounter->DeviceSize(target_), static_cast<std::uint64_t>(kSize));
  {
    const UniqueFd device(open(target_.c_str(), O_RDWR));
    ASSERT_TRUE(device);
    ASSERT_EQ(pwrite(device.get(), "raw bytes", 9, 12345), 9);
    ASSERT_EQ(fsync(device.get()), 0);
  }
  const auto stats = Stats(volume, target_);
  ASSERT_OK(stats);
  ASSERT_EQ(stats->usage_size(), 1);
  EXPECT_EQ(stats->usage(0).total(), kSize);
  ASSERT_OK(Unpublish(volume, target_));
  EXPECT_EQ(*world_->mounter->Kind(target_), mount::PathKind::kMissing);
  ASSERT_OK(Unstage(volume));
  const auto refused = Stage(volume);
  EXPECT_CODE(refused, Code::kFailedPrecondition);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("volume mode Block"));
  // Bytes that are no filesystem are nobody's to format, whatever the mode.
  const auto snapshot = Snapshot("s", volume);
  ASSERT_OK(snapshot);
  auto request = VolumeRequest("restored");
  request.mutable_volume_content_source()->mutable_snapshot()->set_snapshot_id(
      snapshot->snapshot().snapshot_id());
  const auto restored = Create(request);
  ASSERT_OK(restored);
  const auto kept = Stage(restored->volume().volume_id());
  EXPECT_CODE(kept, Code::kFailedPrecondition);
  EXPECT_THAT(kept.error().message(), testing::HasSubstr("not formatted"));
}

TEST_P(ContentTest, ReadOnlyBlockVolumeTakesNoWrites) {
  const std::string volume = BlockVolume("b");
  ASSERT_OK(Stage(volume, BlockCapability()));
  const auto write = [&] {
    // The kernel lets a read-only device be opened, and refuses the write.
    const UniqueFd device(open(target_.c_str(), O_RDWR));
    return device && pwrite(device.get(), "x", 1, 4096) == 1 && fsync(device.get()) == 0;
  };
  ASSERT_OK(Publish(volume, target_, BlockCapability(), true));
  EXPECT_FALSE(write());
  EXPECT_TRUE(UniqueFd(open(target_.c_str(), O_RDONLY)));
  ASSERT_OK(Unpublish(volume, target_));
  ASSERT_OK(Publish(volume, target_, BlockCapability()));
  EXPECT_TRUE(write());
}

TEST_P(ContentTest, FolderAboveTheTargetIsTheKubelets) {
  const std::string volume = Volume("v"), above = world_->folder.path() + "/unmounted";
  ASSERT_OK(Stage(volume));
  EXPECT_CODE(Publish(volume, above + "/target"), Code::kFailedPrecondition);
  EXPECT_FALSE(std::filesystem::exists(above));
}

TEST_P(ContentTest, AnotherFilesystemThanAskedForIsRefused) {
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume, MountCapability(Mode::SINGLE_NODE_WRITER, "ext4")));
  ASSERT_OK(Unstage(volume));
  const auto refused = Stage(volume, MountCapability(Mode::SINGLE_NODE_WRITER, "xfs"));
  EXPECT_CODE(refused, Code::kFailedPrecondition);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("ext4"));
}

TEST_P(ContentTest, CopyAsAnotherFilesystemIsRefusedBeforeItIsMade) {
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume, MountCapability(Mode::SINGLE_NODE_WRITER, "ext4")));
  const auto snapshot = Snapshot("s", volume);
  ASSERT_OK(snapshot);
  auto request = VolumeRequest("copy");
  *request.mutable_volume_capabilities(0) = MountCapability(Mode::SINGLE_NODE_WRITER, "xfs");
  auto& source = *request.mutable_volume_content_source();
  source.mutable_volume()->set_volume_id(volume);
  EXPECT_CODE(Create(request), Code::kInvalidArgument);
  source.mutable_snapshot()->set_snapshot_id(snapshot->snapshot().snapshot_id());
  const auto refused = Create(request);
  EXPECT_CODE(refused, Code::kInvalidArgument);
  EXPECT_THAT(refused.error().message(), testing::HasSubstr("ext4"));
  EXPECT_EQ(CountVolumes(), 1);
  request.mutable_volume_capabilities(0)->mutable_mount()->set_fs_type("ext4");
  ASSERT_OK(Create(request));
}

TEST_P(ContentTest, MkfsThatWasCutOffIsDoneAgain) {
  const std::string volume = Volume("v");
  const auto id = pool::VolumeHandle::Parse(volume)->volume;
  {
    auto device = pool::OpenVolume(*world_->pool, id);
    ASSERT_OK(device);
    ASSERT_OK((*device)->WriteAt(kMiB, AsBytes("half a filesystem")));
    ASSERT_OK((*device)->Flush());
  }
  EXPECT_CODE(Stage(volume), Code::kFailedPrecondition);
  ASSERT_OK(world_->pool->TagVolume(id, {{"fs", "making ext4"}}));
  ASSERT_OK(Stage(volume));
}

TEST_P(ContentTest, MountFlagsAreNotTold) {
  auto capability = MountCapability();
  capability.mutable_mount()->add_mount_flags("password=hush");
  const std::string volume = Volume("v");
  const auto refused = Stage(volume, capability);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message(), testing::Not(testing::HasSubstr("hush")));
  // Half a staging is none.
  ASSERT_OK(Stage(volume));
}

// Whether a write to the filesystem ends within the time.
bool Writable(const std::string& folder, int timeout_ms) {
  int alive[2];
  if (pipe(alive) != 0) return false;
  const pid_t child = fork();
  if (child == 0) {
    close(alive[0]);
    const int file = open((folder + "/probe").c_str(), O_CREAT | O_WRONLY, 0600);
    _exit(file >= 0 && write(file, "x", 1) == 1 && fsync(file) == 0 ? 0 : 1);
  }
  // The pipe hangs up when the child, its only writer, ends.
  close(alive[1]);
  pollfd end{.fd = alive[0], .events = 0, .revents = 0};
  const bool ended = poll(&end, 1, timeout_ms) == 1;
  close(alive[0]);
  if (!ended) {
    kill(child, SIGKILL);
    return false;
  }
  int status = 0;
  return waitpid(child, &status, 0) == child && status == 0;
}

TEST_P(ContentTest, FreezeEndsAtItsDeadline) {
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume));
  auto frozen = mount::FreezeFilesystem(staging_, std::chrono::milliseconds(300));
  ASSERT_OK(frozen);
  // Nobody thaws but the watchdog.
  EXPECT_TRUE(Writable(staging_, 20'000));
  EXPECT_CODE((*frozen)->Thaw(), Code::kAborted);
}

TEST_P(ContentTest, FreezeEndsWithTheProcessThatFroze) {
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume));
  int told[2];
  ASSERT_EQ(pipe(told), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto frozen = mount::FreezeFilesystem(staging_, std::chrono::minutes(10));
    const char done = frozen.ok() ? 'y' : 'n';
    if (write(told[1], &done, 1) != 1) _exit(1);
    pause();
    _exit(0);
  }
  char done = 0;
  ASSERT_EQ(read(told[0], &done, 1), 1);
  ASSERT_EQ(done, 'y');
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(Writable(staging_, 20'000));
}

// A driver in a container: whatever it started dies with it. Another container watches.
TEST_P(ContentTest, FreezeEndsWithTheContainerThatFroze) {
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume));
  const TestFolder folder;
  const std::string socket = folder.path() + "/thaw.sock";
  EXPECT_CODE(mount::FreezeFilesystem(staging_, std::chrono::minutes(10), socket),
              Code::kUnavailable);
  int stop[2], told[2];
  ASSERT_EQ(pipe(stop), 0);
  ASSERT_EQ(pipe(told), 0);
  const pid_t server = fork();
  if (server == 0) {
    close(stop[1]);
    _exit(mount::ServeThaw(socket, stop[0]).ok() ? 0 : 1);
  }
  while (!std::filesystem::exists(socket)) {
    ASSERT_OK(world_->runtime.SleepFor(std::chrono::milliseconds(10)));
  }
  const pid_t container = fork();
  if (container == 0) {
    if (unshare(CLONE_NEWPID) != 0) _exit(1);
    const pid_t first = fork();
    if (first == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (int i = 0; i < 3; ++i) {
        auto short_one = mount::FreezeFilesystem(staging_, std::chrono::minutes(10), socket);
        if (!short_one.ok() || !(*short_one)->Thaw().ok()) _exit(1);
      }
      auto frozen = mount::FreezeFilesystem(staging_, std::chrono::minutes(10), socket);
      const char done = frozen.ok() ? 'y' : 'n';
      if (write(told[1], &done, 1) != 1) _exit(1);
      pause();
      _exit(0);
    }
    waitpid(first, nullptr, 0);
    _exit(0);
  }
  close(told[1]);
  char done = 0;
  ASSERT_EQ(read(told[0], &done, 1), 1);
  ASSERT_EQ(done, 'y');
  EXPECT_FALSE(Writable(staging_, 300));
  kill(container, SIGKILL);
  waitpid(container, nullptr, 0);
  EXPECT_TRUE(Writable(staging_, 20'000));
  {
    auto late = mount::FreezeFilesystem(staging_, std::chrono::milliseconds(300), socket);
    ASSERT_OK(late);
    EXPECT_TRUE(Writable(staging_, 20'000));
    EXPECT_CODE((*late)->Thaw(), Code::kAborted);
  }
  close(stop[0]);
  close(stop[1]);  // readable: the end
  int status = 0;
  ASSERT_EQ(waitpid(server, &status, 0), server);
  EXPECT_EQ(status, 0);
}

TEST_P(ContentTest, LeftoverFreezeIsThawedAtTheStart) {
  const std::string volume = Volume("v");
  ASSERT_OK(Stage(volume));
  {
    const UniqueFd folder(open(staging_.c_str(), O_RDONLY | O_DIRECTORY));
    ASSERT_EQ(ioctl(folder.get(), FIFREEZE, 0), 0);
  }
  StopNode();
  StartNode();
  EXPECT_TRUE(Writable(staging_, 20'000));
}

}  // namespace
}  // namespace thinsnap::driver
