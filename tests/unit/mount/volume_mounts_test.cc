// VolumeMounts on a pool and mounts in memory: raw devices, what counts as blank, folders that are
// the kubelet's.
#include "csi/mount/volume_mounts.h"

#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include "base/block/block_device.h"
#include "base/core/bytes.h"
#include "base/core/random.h"
#include "csi/mount/system_mounter.h"
#include "simulator/pool/recording_mounter.h"
#include "simulator/pool/sim_thin_pool.h"
#include "tests/sanity/fake_disks.h"

namespace thinsnap::mount {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

Usage Raw(bool read_only) {
  Usage usage;
  usage.block = true;
  usage.read_only = read_only;
  return usage;
}

class VolumeMountsTest : public testing::Test {
 protected:
  VolumeMountsTest()
      : random_(7),
        pool_(pool::OpenSimThinPool(pool::NewSimPoolImage(random_, kGiB), clock_, random_)) {}

  pool::VolumeId NewVolume(const std::string& name) {
    pool::CreateRequest request;
    request.name = name;
    request.size_bytes = 64 * kMiB;
    const auto made = pool_->Create(request);
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().ToString());
    return made.ok() ? made->id : pool::VolumeId();
  }
  std::string NodeOf(const pool::VolumeId& volume) {
    return *(*pool_->LeaseVolume(volume, {.name = "a test"}))->Node();
  }
  Status Write(const pool::VolumeId& volume, std::uint64_t at, ByteSpan bytes) {
    const auto lease = TRY(pool_->LeaseVolume(volume, {.name = "a test"}));
    return TRY(lease->Open())
    ->WriteAt(at, bytes);
  }
  static void ExpectOk(const Status& status) {
    EXPECT_TRUE(status.ok()) << status.error().ToString();
  }
  static void ExpectRefused(const Status& status, const std::string& why) {
    ASSERT_TRUE(status.Is(Code::kFailedPrecondition));
    EXPECT_THAT(status.error().message(), HasSubstr(why));
  }

  const Usage kRaw = Raw(false);
  SystemClock clock_;
  SeededRandom random_;
  std::unique_ptr<pool::ThinPool> pool_;
  RecordingMounter mounter_;
  driver::FakeDisks disks_;
  VolumeMounts mounts_{*pool_, mounter_, disks_, "ext4"};
};

TEST_F(VolumeMountsTest, RawDeviceThatIsALinkIsKnownByItsNumber) {
  std::vector<pool::VolumeId> volumes;
  for (int i = 0; i < 5; ++i) {
    const std::string at = std::to_string(i);
    volumes.push_back(NewVolume("v" + at));
    mounter_.Link(NodeOf(volumes.back()), "/dev/dm-" + at);
    ExpectOk(mounts_.Stage(volumes.back(), "/staging-" + at, kRaw));
    ExpectOk(mounts_.Publish(volumes.back(), "/staging-" + at, "/pod-" + at, kRaw, false));
  }
  for (int i = 0; i < 5; ++i) {
    const std::string at = std::to_string(i);
    const pool::VolumeId& volume = volumes[static_cast<std::size_t>(i)];
    ExpectOk(mounts_.Publish(volume, "/staging-" + at, "/pod-" + at, kRaw, false));
    const auto figures = mounts_.Figures(volume, "/pod-" + at);
    ASSERT_TRUE(figures.ok()) << figures.error().ToString();
    EXPECT_TRUE(figures->block);
    // Not another volume's, though all nodes lie in one folder.
    const std::string other = std::to_string((i + 1) % 5);
    EXPECT_TRUE(mounts_.Figures(volume, "/pod-" + other).Is(Code::kNotFound));
    ExpectRefused(mounts_.Unpublish(volume, "/pod-" + other), "something else");
  }
  for (int i = 0; i < 5; ++i) {
    const std::string at = std::to_string(i);
    ExpectOk(mounts_.Unpublish(volumes[static_cast<std::size_t>(i)], "/pod-" + at));
    ExpectOk(mounts_.Unstage(volumes[static_cast<std::size_t>(i)], "/staging-" + at));
  }
  EXPECT_THAT(*mounter_.List(), IsEmpty());
}

TEST_F(VolumeMountsTest, RawDeviceIsReadOnlyForAllOrForNobody) {
  const pool::VolumeId volume = NewVolume("v");
  ExpectOk(mounts_.Stage(volume, "/staging", kRaw));
  ExpectOk(mounts_.Publish(volume, "/staging", "/reader", kRaw, true));
  EXPECT_THAT(mounter_.read_only_devices(), SizeIs(1));
  ExpectOk(mounts_.Publish(volume, "/staging", "/reader-2", kRaw, true));
  ExpectRefused(mounts_.Publish(volume, "/staging", "/writer", kRaw, false), "/reader");
  ExpectOk(mounts_.Unpublish(volume, "/reader"));
  ExpectOk(mounts_.Unpublish(volume, "/reader-2"));
  ExpectOk(mounts_.Publish(volume, "/staging", "/writer", kRaw, false));
  EXPECT_THAT(mounter_.read_only_devices(), IsEmpty());
  ExpectRefused(mounts_.Publish(volume, "/staging", "/reader", kRaw, true), "/writer");
}

TEST_F(VolumeMountsTest, DeviceThatIsGivenBackIsWritable) {
  for (const Usage& usage : {Raw(false), Raw(true)}) {
    const pool::VolumeId volume = NewVolume("v");
    ExpectOk(mounts_.Stage(volume, "/staging", usage));
    ExpectOk(mounts_.Publish(volume, "/staging", "/pod", usage, true));
    EXPECT_THAT(mounter_.read_only_devices(), SizeIs(1));
    ExpectOk(mounts_.Unpublish(volume, "/pod"));
    ExpectOk(mounts_.Unstage(volume, "/staging"));
    EXPECT_THAT(mounter_.read_only_devices(), IsEmpty()) << usage.read_only;
  }
}

TEST_F(VolumeMountsTest, ZerosAreBlankAndOneByteIsNot) {
  // A device that does not know its holes tells of zeros as of bytes.
  const pool::VolumeId zeros = NewVolume("zeros"), byte = NewVolume("byte");
  const Bytes chunk(kMiB);
  for (const std::uint64_t at : {std::uint64_t{0}, 5 * kMiB, 63 * kMiB}) {
    ExpectOk(Write(zeros, at, chunk));
    ExpectOk(Write(byte, at, chunk));
  }
  ExpectOk(Write(byte, 64 * kMiB - 512, AsBytes("x")));
  ExpectOk(mounts_.Stage(zeros, "/zeros", {}));
  ExpectRefused(mounts_.Stage(byte, "/byte", {}), "not formatted");
  EXPECT_THAT(disks_.log(), Not(testing::Contains("mkfs.ext4 " + NodeOf(byte))));
}

TEST(SystemMounterTest, FolderAboveIsNotMade) {
  char folder[] = "/tmp/thinsnap-mounter-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string root = folder;
  SystemMounter mounter;
  for (const Status& made :
       {mounter.MakeFolder(root + "/missing/target"), mounter.MakeFile(root + "/missing/target")}) {
    ASSERT_TRUE(made.Is(Code::kFailedPrecondition));
    EXPECT_THAT(made.error().message(), HasSubstr("the folder above it is missing"));
  }
  EXPECT_FALSE(std::filesystem::exists(root + "/missing"));
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(mounter.MakeFolder(root + "/target").ok());
  EXPECT_TRUE(mounter.MakeFile(root + "/file").ok());
  EXPECT_FALSE(mounter.MakeFolder(root + "/file").ok());
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace thinsnap::mount
