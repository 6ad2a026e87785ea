#include <filesystem>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/core/command.h"
#include "base/core/file.h"
#include "snapshotter/mover/leaf_builder.h"
#include "snapshotter/mover/segment_plan.h"
#include "tests/unit/mover/fixture.h"

namespace thinsnap::mover {
namespace {

class FileDeviceTest : public ::testing::Test {
 protected:
  FileDeviceTest() {
    SystemRandom random;
    path_ = std::filesystem::temp_directory_path() / ("thinsnap-device-" + random.Uuid());
  }
  ~FileDeviceTest() override { std::filesystem::remove(path_); }

  std::vector<block::Extent> Allocated(block::BlockDevice& device) {
    std::vector<block::Extent> extents;
    EXPECT_TRUE(device
                    .Allocated([&](const block::Extent& extent) {
                      extents.push_back(extent);
                      return Status();
                    })
                    .ok());
    return extents;
  }

  std::string path_;
  SeededRandom random_{1};
};

// The calling thread punches no holes from here on, as on a device of device-mapper.
bool ForbidHoles() {
  const sock_filter program[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                                 BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 1),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
                                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog filter{.len = 4, .filter = const_cast<sock_filter*>(program)};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST_F(FileDeviceTest, ZerosThatAreThereAreNotWrittenAgain) {
  constexpr std::uint64_t kSize = 256 * kMiB;
  auto device = block::OpenFileDevice(path_, block::OpenMode::kReadWrite, kSize);
  ASSERT_OK(device);
  const Bytes bytes = SomeBytes(random_, 200'000);
  ASSERT_OK((*device)->WriteAt(kSize / 2 + 777, bytes));
  ASSERT_OK((*device)->Flush());
  const auto held = [&] {
    struct stat info = {};
    EXPECT_EQ(::stat(path_.c_str(), &info), 0);
    return info.st_blocks;
  };
  SystemClock clock;
  ThreadRuntime runtime(clock);
  bool forbidden = false;
  {
    // The filter is the thread's own and goes with it.
    TaskGroup group(runtime);
    group.Spawn("discard", [&] {
      forbidden = ForbidHoles();
      EXPECT_TRUE((*device)->Discard(1, kSize - 1).ok());
    });
    group.Join();
  }
  if (!forbidden) GTEST_SKIP() << "no system call filters here";
  ASSERT_OK((*device)->Flush());
  // Filesystems give space in pieces of their own: far less than all of it is what counts.
  EXPECT_LT(static_cast<std::uint64_t>(held()) * 512, kSize / 16);
  Bytes all(bytes.size() + 1000);
  ASSERT_OK((*device)->ReadAt(kSize / 2, all));
  EXPECT_TRUE(all == Bytes(all.size()));
}

TEST_F(FileDeviceTest, ReadsBackWhatWasWritten) {
  auto device = block::OpenFileDevice(path_, block::OpenMode::kReadWrite, 10 * kMiB + 5);
  ASSERT_OK(device);
  EXPECT_EQ((*device)->size_bytes(), 10 * kMiB + 5);
  Bytes model(10 * kMiB + 5, 0);
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t offset = random_.Below(model.size());
    const std::uint64_t length =
        random_.Below(std::min<std::uint64_t>(200000, model.size() - offset) + 1);
    const auto start = model.begin() + static_cast<std::ptrdiff_t>(offset);
    if (i % 4 == 0) {
      ASSERT_OK((*device)->Discard(offset, length));
      std::fill_n(start, length, std::uint8_t{0});
    } else {
      const Bytes bytes = SomeBytes(random_, length);
      ASSERT_OK((*device)->WriteAt(offset, bytes));
      std::copy(bytes.begin(), bytes.end(), start);
    }
  }
  ASSERT_OK((*device)->Flush());
  Bytes all(model.size());
  ASSERT_OK((*device)->ReadAt(0, all));
  EXPECT_TRUE(all == model);
  EXPECT_TRUE(
      (*device)->ReadAt(model.size() - 1, MutableByteSpan(all).first(2)).Is(Code::kOutOfRange));
  EXPECT_TRUE((*device)->WriteAt(UINT64_MAX, Bytes(2)).Is(Code::kOutOfRange));
  EXPECT_TRUE((*device)->Discard(model.size(), 1).Is(Code::kOutOfRange));
}

TEST_F(FileDeviceTest, AllocatedLeavesHolesOutAndNothingElse) {
  auto device = block::OpenFileDevice(path_, block::OpenMode::kReadWrite, 64 * kMiB);
  ASSERT_OK(device);
  EXPECT_TRUE(Allocated(**device).empty());
  ASSERT_OK((*device)->WriteAt(20 * kMiB, Bytes(4096, 1)));
  ASSERT_OK((*device)->WriteAt(40 * kMiB, Bytes(4096, 1)));
  const auto extents = Allocated(**device);
  std::uint64_t covered = 0;
  std::uint64_t end = 0;
  bool first = false;
  bool second = false;
  for (const block::Extent& extent : extents) {
    EXPECT_GE(extent.offset, end);
    end = extent.end();
    covered += extent.length;
    first = first || (extent.offset <= 20 * kMiB && extent.end() >= 20 * kMiB + 4096);
    second = second || (extent.offset <= 40 * kMiB && extent.end() >= 40 * kMiB + 4096);
  }
  EXPECT_TRUE(first && second);
  EXPECT_LT(covered, 8 * kMiB);
}

TEST_F(FileDeviceTest, RefusesWhatHoldsNoBlocks) {
  EXPECT_TRUE(block::OpenFileDevice(path_, block::OpenMode::kReadOnly).Is(Code::kNotFound));
  EXPECT_TRUE(block::OpenFileDevice("/tmp", block::OpenMode::kReadOnly).Is(Code::kInvalidArgument));
  EXPECT_TRUE(
      block::OpenFileDevice("/dev/null", block::OpenMode::kReadOnly).Is(Code::kInvalidArgument));
}

TEST_F(FileDeviceTest, LoopDevicesWorkThroughDirectRequests) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_OK(block::OpenFileDevice(path_, block::OpenMode::kReadWrite, 8 * kMiB + 512));
  PosixCommandRunner runner;
  Command attach;
  attach.argv = {"losetup", "--find", "--show", path_};
  const auto attached = runner.Run(attach);
  if (!attached.ok() || attached->exit_code != 0) GTEST_SKIP() << "no loop device is to be had";
  const std::string loop = attached->out.substr(0, attached->out.find('\n'));
  {
    auto device = block::OpenFileDevice(loop, block::OpenMode::kReadWrite);
    ASSERT_OK(device);
    EXPECT_EQ((*device)->size_bytes(), 8 * kMiB + 512);
    const Bytes bytes = SomeBytes(random_, 8 * kMiB + 512);
    EXPECT_TRUE((*device)->WriteAt(0, bytes).ok());
    EXPECT_TRUE((*device)->Discard(kMiB, 2 * kMiB).ok());
    EXPECT_TRUE((*device)->Flush().ok());
    Bytes all(bytes.size());
    EXPECT_TRUE((*device)->ReadAt(0, all).ok());
    Bytes expected = bytes;
    std::fill_n(expected.begin() + kMiB, 2 * kMiB, std::uint8_t{0});
    EXPECT_TRUE(all == expected);
    EXPECT_EQ(Allocated(**device), (std::vector<block::Extent>{{0, 8 * kMiB + 512}}));
  }
  Command detach;
  detach.argv = {"losetup", "--detach", loop};
  ASSERT_OK(runner.Run(detach));
}

TEST(SegmentPlanTest, CoversEveryRangeOnceInOrder) {
  SeededRandom random(5);
  for (int round = 0; round < 200; ++round) {
    const std::uint64_t size = random.Below(20 * kMiB) + 1;
    std::set<std::uint64_t> expected;
    std::set<std::uint64_t> found;
    std::uint64_t next = 0;
    SegmentPlan plan(size, [&](std::uint64_t first, std::uint16_t wanted) -> Status {
      EXPECT_EQ(first % kSegmentBlocks, 0U);
      EXPECT_GE(first, next);
      EXPECT_NE(wanted, 0);
      next = first + kSegmentBlocks;
      for (unsigned i = 0; i < kSegmentBlocks; ++i) {
        if (((wanted >> i) & 1) != 0) found.insert(first + i);
      }
      return {};
    });
    std::uint64_t at = 0;
    while (at < size + kMiB) {
      at += random.Below(random.Below(2) == 0 ? 30000 : 3000000);
      const block::Extent extent{at, random.Below(500000)};
      ASSERT_OK(plan.Add(extent));
      for (std::uint64_t byte = extent.offset; byte < std::min(extent.end(), size);) {
        expected.insert(byte / repo::kBlockBytes);
        byte = (byte / repo::kBlockBytes + 1) * repo::kBlockBytes;
      }
      at = extent.end();
    }
    ASSERT_OK(plan.Finish());
    EXPECT_TRUE(found == expected);
  }
}

TEST(LeafBuilderTest, KeepsWhatIsNotTouched) {
  SeededRandom random(6);
  repo::Leaf leaf;
  leaf.first_block = 128;
  for (unsigned start = 0; start + 16 <= repo::kFanOut; start += 20) {
    repo::MapExtent extent{static_cast<std::uint8_t>(start), 16, 0, 16, {}};
    extent.place.pack = repo::PackId::Draw(random);
    extent.place.length = 100;
    leaf.extents.push_back(extent);
    for (unsigned i = start; i < start + 16; ++i) {
      leaf.stored |= std::uint64_t{1} << i;
      random.Fill(leaf.fingerprints[i]);
    }
  }
  EXPECT_TRUE(LeafBuilder(128, &leaf).Build() == leaf);
  LeafBuilder builder(128, &leaf);
  builder.SetHole(5);
  repo::Fingerprint fingerprint;
  random.Fill(fingerprint);
  repo::RecordPlace place;
  place.pack = repo::PackId::Draw(random);
  builder.Set(6, {place, 3, 9}, fingerprint);
  const repo::Leaf changed = builder.Build();
  EXPECT_EQ(changed.stored_blocks(), leaf.stored_blocks() - 1);
  ASSERT_EQ(changed.extents.size(), leaf.extents.size() + 2);
  EXPECT_EQ(changed.extents[0].count, 5);
  EXPECT_EQ(changed.extents[1].record_first, 3);
  EXPECT_EQ(changed.extents[2].position, 7);
  EXPECT_EQ(changed.extents[2].record_first, 7);
  EXPECT_EQ(changed.extents[2].count, 9);
  LeafBuilder back(128, &changed);
  back.SetAs(5, leaf);
  back.SetAs(6, leaf);
  EXPECT_TRUE(back.Build() == leaf);
}

}  // namespace
}  // namespace thinsnap::mover
