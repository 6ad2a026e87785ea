#include "snapshotter/mover/transfer.h"

#include "tests/unit/mover/fixture.h"

namespace thinsnap::mover {
namespace {

using TransferTest = MoverTest;

TEST_F(TransferTest, RestoresWhatWasExported) {
  MemoryDevice device(SomeBytes(random_, 40 * kMiB));
  const auto point = Export(Request(device));
  ASSERT_OK(point);
  EXPECT_EQ(point->mode, repo::ExportMode::kFull);
  EXPECT_EQ(point->data_bytes, 40 * kMiB);
  const auto restored = Restore(*point);
  ASSERT_OK(restored);
  EXPECT_TRUE(*restored == device.bytes());
}

TEST_F(TransferTest, OddSizesAndHoles) {
  for (const std::uint64_t size :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{65535}, std::uint64_t{65537},
        4 * kMiB - 1, 4 * kMiB, 4 * kMiB + 1, 9 * kMiB + 12345}) {
    MemoryDevice device(size);
    if (size > 100) {
      ASSERT_OK(device.WriteAt(size - 100, SomeBytes(random_, 100)));
    }
    const auto point = Export(Request(device));
    ASSERT_OK(point);
    const auto restored = Restore(*point);
    ASSERT_OK(restored);
    EXPECT_TRUE(*restored == device.bytes()) << size;
  }
}

TEST_F(TransferTest, IncrementByRangesReadsOnlyThose) {
  MemoryDevice device(SomeBytes(random_, 64 * kMiB));
  const auto first = Export(Request(device));
  ASSERT_OK(first);
  device.Cut();
  for (int i = 0; i < 20; ++i) {
    const std::uint64_t offset = random_.Below(device.size_bytes() - 4096);
    ASSERT_OK(device.WriteAt(offset, SomeBytes(random_, 4096)));
  }
  const auto second = Export(Request(device, &*first));
  ASSERT_OK(second);
  EXPECT_EQ(second->mode, repo::ExportMode::kChanged);
  EXPECT_EQ(second->base, first->name);
  EXPECT_LT(second->read_bytes, 8 * kMiB);
  EXPECT_LT(second->uploaded_bytes, first->uploaded_bytes / 8);
  const auto restored = Restore(*second);
  ASSERT_OK(restored);
  EXPECT_TRUE(*restored == device.bytes());
}

}  // namespace
}  // namespace thinsnap::mover
