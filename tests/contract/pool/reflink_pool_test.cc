// What only the pool on disk can show: kill -9 between any two steps, and volumes as real block
// devices.
#include <fcntl.h>
#include <set>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/core/file.h"
#include "csi/reflink/image_file.h"
#include "csi/reflink/reflink_thin_pool.h"
#include "tests/contract/pool/reflink_image.h"
#include "tests/contract/pool/thin_pool_contract.h"

namespace thinsnap::pool {
namespace {

std::string NewFolder(const std::string& mount) {
  static int counter = 0;
  return mount + "/pool-" + std::to_string(getpid()) + "-" + std::to_string(counter++);
}

class ReflinkFixture final : public PoolFixture {
 public:
  ReflinkFixture(Clock& clock, Random& random) : clock_(clock), random_(random) {}

  std::string Prepare() override {
    const Result<std::string> mount = MountReflinkImage();
    if (!mount.ok()) return mount.error().message();
    folder_ = NewFolder(*mount);
    return "";
  }

  std::unique_ptr<ThinPool> Open() override {
    auto pool = reflink::OpenReflinkThinPool(clock_, random_, {.folder = folder_, .on_step = {}});
    EXPECT_TRUE(pool.ok()) << pool.error().ToString();
    return pool.ok() ? std::move(*pool) : nullptr;
  }

 private:
  Clock& clock_;
  Random& random_;
  std::string folder_;
};

class ReflinkPoolTest : public testing::Test {
 protected:
  void SetUp() override {
    const Result<std::string> mount = MountReflinkImage();
    if (!mount.ok()) GTEST_SKIP() << mount.error().message();
    folder_ = NewFolder(*mount);
  }

  std::unique_ptr<ThinPool> Open(std::function<void(const char*)> on_step = {}) {
    auto pool = reflink::OpenReflinkThinPool(clock_, random_,
                                             {.folder = folder_, .on_step = std::move(on_step)});
    EXPECT_TRUE(pool.ok()) << pool.error().ToString();
    return pool.ok() ? std::move(*pool) : nullptr;
  }

  SystemClock clock_;
  SystemRandom random_;
  CountingQuiesce quiesce_;
  std::string folder_;
};

TEST_F(ReflinkPoolTest, OneProcessAtATime) {
  const auto first = Open();
  EXPECT_TRUE(reflink::OpenReflinkThinPool(clock_, random_, {.folder = folder_, .on_step = {}})
                  .Is(Code::kFailedPrecondition));
}

TEST_F(ReflinkPoolTest, HasNoMoreRoomThanTheDiskBelow) {
  const std::uint64_t whole = Open()->GetStatus()->free_bytes;
  // The folder's filesystem stands for the disk; a file of it with nothing in it, for the image.
  const std::string image = folder_ + "/image";
  ASSERT_TRUE(WriteFileAtomic(image, "").ok());
  ASSERT_EQ(truncate(image.c_str(), 1LL << 40), 0);
  EXPECT_LE(*reflink::RoomOfImage(image, 0), whole);
  // What the image holds already, a pool that uses little of it can still fill.
  const UniqueFd fd(open(image.c_str(), O_WRONLY | O_CLOEXEC));
  ASSERT_EQ(fallocate(fd.get(), 0, 0, 64 << 20), 0);
  const std::uint64_t used_up = *reflink::RoomOfImage(image, 64 << 20);
  EXPECT_LE(used_up + (64 << 20), whole);
  EXPECT_EQ(*reflink::RoomOfImage(image, 0), used_up + (64 << 20));

  const std::string small = folder_ + "/small";
  ASSERT_TRUE(MakeFolders(small).ok());
  ASSERT_EQ(mount("none", small.c_str(), "tmpfs", 0, "size=1m"), 0);
  reflink::ReflinkPoolOptions options;
  options.folder = folder_;
  options.image = small + "/image";
  ASSERT_TRUE(WriteFileAtomic(options.image, "").ok());
  const auto pool = reflink::OpenReflinkThinPool(clock_, random_, options);
  const auto status = pool.ok() ? (*pool)->GetStatus() : pool.error();
  umount(small.c_str());
  ASSERT_TRUE(status.ok()) << status.error().ToString();
  EXPECT_LE(status->free_bytes, kMiB);
  EXPECT_LT(status->size_bytes, whole);
}

TEST_F(ReflinkPoolTest, LeasesOfAVolumeShareOneBlockDevice) {
  const auto pool = Open();
  const auto volume = pool->Create({.name = "v", .size_bytes = 8 * kMiB, .source = {}, .tags = {}});
  auto lease = *pool->LeaseVolume(volume->id, {.name = "a test"});
  const std::string path = *lease->Node();
  EXPECT_EQ(*lease->Node(), path);
  EXPECT_EQ(*(*pool->LeaseVolume(volume->id, {.name = "another"}))->Node(), path);
  {
    const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(fd) << path;
    EXPECT_EQ(lseek(fd.get(), 0, SEEK_END), static_cast<off_t>(8 * kMiB));
    // Through the page cache of the raw device, not synced: the cut must have it.
    ASSERT_EQ(pwrite(fd.get(), "hello", 5, 4096), 5);
    const auto snapshot = pool->Snapshot({.name = "s", .volume = volume->id, .tags = {}}, quiesce_);
    const auto cut = *pool->LeaseSnapshot(snapshot->id, {.name = "a test"});
    Bytes bytes(5);
    ASSERT_TRUE((*cut->Open())->ReadAt(4096, bytes).ok());
    EXPECT_EQ(AsText(bytes), "hello");
    const std::string node = *cut->Node();
    EXPECT_NE(node, path);
    const UniqueFd reading(open(node.c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(pread(reading.get(), bytes.data(), bytes.size(), 4096), 5);
    EXPECT_EQ(AsText(bytes), "hello");
    const UniqueFd writing(open(node.c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_TRUE(!writing || pwrite(writing.get(), bytes.data(), bytes.size(), 0) < 0)
        << "a snapshot is read-only";
  }
  EXPECT_EQ(*pool->Resize(volume->id, 16 * kMiB), 16 * kMiB);
  {
    const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_EQ(lseek(fd.get(), 0, SEEK_END), static_cast<off_t>(16 * kMiB));
  }
  {
    // A mount of an earlier life, which nobody has a lease for.
    const UniqueFd user(open(path.c_str(), O_RDWR | O_EXCL | O_CLOEXEC));
    lease.reset();
    EXPECT_TRUE(pool->RemoveVolume(volume->id).Is(Code::kFailedPrecondition));
  }
  EXPECT_TRUE(pool->RemoveVolume(volume->id).ok());
}

// Takes what is free of the filesystem, to the last block.
UniqueFd TakeAllSpace(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  off_t at = 0;
  for (off_t size : {off_t{1} << 20, off_t{1} << 16, off_t{1} << 12}) {
    while (posix_fallocate(fd.get(), at, size) == 0) at += size;
  }
  return fd;
}

TEST_F(ReflinkPoolTest, AFullFilesystemCanBeFreed) {
  auto pool = Open();
  const auto volume = pool->Create({.name = "v", .size_bytes = 8 * kMiB, .source = {}, .tags = {}});
  auto device = OpenVolume(*pool, volume->id);
  ASSERT_TRUE((*device)->WriteAt(0, Bytes(kMiB, 1)).ok());
  device->reset();
  const auto base = pool->Snapshot({.name = "a", .volume = volume->id, .tags = {}}, quiesce_);
  const auto other = pool->Snapshot({.name = "b", .volume = volume->id, .tags = {}}, quiesce_);
  ASSERT_TRUE(base.ok() && other.ok());
  const std::string hog = folder_ + "/hog";
  const UniqueFd taken = TakeAllSpace(hog);
  // As often as one likes: a record gives its room to the next.
  for (int i = 0; i < 20; ++i) {
    const Status tagged = pool->TagSnapshot(base->id, {{"hidden", std::to_string(i)}});
    ASSERT_TRUE(tagged.ok()) << tagged.error().ToString();
  }
  ASSERT_TRUE(pool->TagVolume(volume->id, {{"seen", "yes"}}).ok());
  ASSERT_TRUE(pool->DropDevice(other->id).ok());
  pool.reset();
  pool = Open();
  ASSERT_NE(pool, nullptr);
  EXPECT_EQ(pool->GetSnapshot(base->id)->tags.at("hidden"), "19");
  EXPECT_EQ(pool->GetVolume(volume->id)->tags.at("seen"), "yes");
  EXPECT_FALSE(pool->GetSnapshot(other->id)->has_device);
  EXPECT_TRUE(pool->RemoveSnapshot(base->id).ok());
  EXPECT_TRUE(pool->RemoveSnapshot(other->id).ok());
  EXPECT_TRUE(pool->RemoveVolume(volume->id).ok());
  EXPECT_EQ(unlink(hog.c_str()), 0);
}

TEST_F(ReflinkPoolTest, WhatNobodyReadsIsFreedAtOnce) {
  ASSERT_TRUE(MakeFolders(folder_).ok());
  const std::string path = folder_ + "/file";
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(posix_fallocate(fd.get(), 0, 1 << 20), 0);
  const std::string other = folder_ + "/other";
  ASSERT_EQ(link(path.c_str(), other.c_str()), 0);
  ASSERT_TRUE(reflink::RemoveFile(path).ok());
  EXPECT_GE(reflink::AllocatedBytes(other), kMiB) << "it is open here";
  ASSERT_EQ(link(other.c_str(), path.c_str()), 0);
  fd.Reset();
  ASSERT_TRUE(reflink::RemoveFile(path).ok());
  EXPECT_EQ(reflink::AllocatedBytes(other), 0U);
  EXPECT_TRUE(reflink::RemoveFile(path).ok()) << "it is removed already";
}

// The workload of the crash test; each line on the pipe is one acknowledgement.
void Workload(ThinPool& pool, Quiesce& quiesce, int acknowledge) {
  const auto say = [acknowledge](const std::string& line) {
    const std::string text = line + "\n";
    if (write(acknowledge, text.data(), text.size()) < 0) _exit(3);
  };
  for (int i = 0; i < 4; ++i) {
    const std::string name = "v" + std::to_string(i);
    const auto volume = pool.Create({.name = name, .size_bytes = kMiB, .source = {}, .tags = {}});
    if (!volume.ok()) _exit(2);
    say("+volume " + name);
    auto device = OpenVolume(pool, volume->id);
    if (!(*device)->WriteAt(0, Bytes(4096, static_cast<std::uint8_t>(i + 1))).ok()) _exit(2);
    if (!(*device)->Flush().ok()) _exit(2);
    device->reset();
    const auto snapshot =
        pool.Snapshot({.name = "s" + std::to_string(i), .volume = volume->id, .tags = {}}, quiesce);
    if (!snapshot.ok()) _exit(2);
    say("+snapshot s" + std::to_string(i));
    if (!pool.TagSnapshot(snapshot->id, {{"done", "yes"}}).ok()) _exit(2);
    say("+tag s" + std::to_string(i));
    if (i == 2) {
      const auto first = pool.FindVolume("v0");
      const GroupRequest group{"g",
                               {{.name = "g0", .volume = (*first)->id, .tags = {}},
                                {.name = "g2", .volume = volume->id, .tags = {}}}};
      if (!pool.SnapshotGroup(group, quiesce).ok()) _exit(2);
      say("+group g");
    }
    if (i % 2 == 1) {
      if (!pool.RemoveVolume(volume->id).ok()) _exit(2);
      say("-volume " + name);
    }
  }
}

// Dies at the n-th step of its work, for every n, and must find what it acknowledged.
TEST_F(ReflinkPoolTest, KillAtAnyStepLosesNothingAcknowledged) {
  int steps = 1;
  for (int deadly = 0; deadly < steps; ++deadly) {
    folder_ = NewFolder(*MountReflinkImage());
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      close(ends[0]);
      int step = 0;
      const auto pool = reflink::OpenReflinkThinPool(
          clock_, random_, {.folder = folder_, .on_step = [&](const char*) {
                              if (step++ == deadly) kill(getpid(), SIGKILL);
                            }});
      if (!pool.ok()) _exit(4);
      Workload(**pool, quiesce_, ends[1]);
      const std::string last = "steps " + std::to_string(step) + "\n";
      _exit(write(ends[1], last.data(), last.size()) < 0 ? 3 : 0);
    }
    close(ends[1]);
    std::string said;
    char buffer[4096];
    for (ssize_t got = 0; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
      said.append(buffer, static_cast<std::size_t>(got));
    close(ends[0]);
    int status = 0;
    waitpid(child, &status, 0);
    const bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    ASSERT_TRUE(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << status;
    // While it is killed there is at least one more step to try.
    if (killed) ++steps;

    const auto pool = Open();
    ASSERT_NE(pool, nullptr);
    std::set<std::string> volumes, removed;
    std::map<std::string, SnapshotInfo> snapshots;
    for (const VolumeInfo& volume : *pool->ListVolumes()) volumes.insert(volume.name);
    for (const SnapshotInfo& snapshot : *pool->ListSnapshots()) snapshots[snapshot.name] = snapshot;
    // A group is there whole or not at all, also where its call was never answered.
    const auto group = *pool->FindGroup("g");
    EXPECT_EQ(group ? group->members.size() : 0U, group ? 2U : 0U) << "at step " << deadly;
    EXPECT_TRUE(group || said.find("+group g") == std::string::npos) << "at step " << deadly;
    for (std::size_t at = 0, end = 0; (end = said.find('\n', at)) != std::string::npos;
         at = end + 1) {
      const std::string line = said.substr(at, end - at);
      const std::string name = line.substr(line.find(' ') + 1);
      if (line.starts_with("-volume")) {
        EXPECT_FALSE(volumes.contains(name)) << line;
        removed.insert(name);
      } else if (line.starts_with("+snapshot")) {
        ASSERT_TRUE(snapshots.contains(name)) << line << " at step " << deadly;
        auto device = OpenSnapshot(*pool, snapshots[name].id);
        Bytes bytes(4096);
        ASSERT_TRUE((*device)->ReadAt(0, bytes).ok());
        EXPECT_EQ(bytes, Bytes(4096, static_cast<std::uint8_t>(name[1] - '0' + 1)));
      } else if (line.starts_with("+tag")) {
        EXPECT_EQ(snapshots[name].tags["done"], "yes") << line;
      }
    }
    for (std::size_t at = 0, end = 0; (end = said.find('\n', at)) != std::string::npos;
         at = end + 1) {
      const std::string line = said.substr(at, end - at);
      const std::string name = line.substr(line.find(' ') + 1);
      // A removal that was under way may be done or not.
      if (line.starts_with("+volume") && !removed.contains(name) && (name[1] - '0') % 2 == 0) {
        EXPECT_TRUE(volumes.contains(name)) << line << " at step " << deadly;
      }
    }
    // And the work can go on where it stopped.
    const auto again = pool->Create({.name = "v0", .size_bytes = kMiB, .source = {}, .tags = {}});
    EXPECT_TRUE(again.ok()) << again.error().ToString();
  }
  EXPECT_GT(steps, 30);
}

}  // namespace

PoolKind ReflinkPoolKind() {
  return {"Reflink", [](Clock& clock, Random& random) -> std::unique_ptr<PoolFixture> {
            return std::make_unique<ReflinkFixture>(clock, random);
          }};
}

}  // namespace thinsnap::pool
