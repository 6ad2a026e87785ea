// What restore points say of their blocks, against the bytes that they were made of.
#include "snapshotter/mover/point_ranges.h"

#include "tests/unit/mover/fixture.h"

namespace thinsnap::mover {
namespace {

class PointRangesTest : public MoverTest {
 protected:
  // The blocks of the ranges; checks that they ascend and stay inside.
  std::set<std::uint64_t> Blocks(Result<PointRanges> found, std::uint64_t size_bytes,
                                 std::uint64_t from_offset = 0) {
    std::set<std::uint64_t> blocks;
    EXPECT_TRUE(found.ok()) << (found.ok() ? "" : found.error().ToString());
    if (!found.ok()) return blocks;
    EXPECT_EQ(found->size_bytes, size_bytes);
    std::uint64_t end = from_offset;
    for (;;) {
      const auto range = found->ranges->Next();
      EXPECT_TRUE(range.ok());
      if (!range.ok() || !range->has_value()) return blocks;
      EXPECT_GE((*range)->offset, end);
      EXPECT_GT((*range)->length, 0U);
      end = (*range)->end();
      EXPECT_LE(end, size_bytes);
      for (std::uint64_t at = (*range)->offset; at < end; at += repo::kBlockBytes) {
        blocks.insert(at / repo::kBlockBytes);
      }
    }
  }
  static std::set<std::uint64_t> Differing(const Bytes& before, const Bytes& after) {
    std::set<std::uint64_t> blocks;
    for (std::uint64_t at = 0; at < after.size(); ++at) {
      const std::uint8_t old = at < before.size() ? before[at] : 0;
      if (old != after[at]) blocks.insert(at / repo::kBlockBytes);
    }
    return blocks;
  }
  auto Changed(const repo::PointInfo& base, const repo::PointInfo& target,
               std::uint64_t from_offset = 0) {
    return ChangedRanges(*repository_, runtime_, base.name, target.name, from_offset);
  }
};

TEST_F(PointRangesTest, AreExactlyWhatDiffers) {
  // More than one leaf, and an end within a block; it grows by a level of the map.
  MemoryDevice device(3 * kMiB + 5000);
  std::vector<repo::PointInfo> points;
  std::vector<Bytes> contents;
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 20; ++i) {
      const std::uint64_t offset = random_.Below(device.size_bytes());
      const std::uint64_t length =
          std::min<std::uint64_t>(random_.Below(200'000) + 1, device.size_bytes() - offset);
      if (i % 3 == 0) {
        ASSERT_OK(device.Discard(offset, length));
      } else {
        ASSERT_OK(device.WriteAt(offset, SomeBytes(random_, length)));
      }
    }
    auto point = Export(Request(device, points.empty() ? nullptr : &points.back()));
    ASSERT_OK(point);
    points.push_back(*point);
    contents.push_back(device.bytes());
    device.Cut();
    if (round == 2) device.Resize(9 * kMiB + 777);
  }
  for (std::size_t target = 0; target < points.size(); ++target) {
    const std::uint64_t size = contents[target].size();
    EXPECT_EQ(Blocks(StoredRanges(*repository_, runtime_, points[target].name, 0), size),
              Differing({}, contents[target]));
    for (std::size_t base = 0; base <= target; ++base) {
      const auto expected = Differing(contents[base], contents[target]);
      EXPECT_EQ(Blocks(Changed(points[base], points[target]), size), expected)
          << base << " to " << target;
      // From within a block: the block is told again, what lies before it is not.
      const std::uint64_t from = random_.Below(size);
      auto rest = expected;
      std::erase_if(rest,
                    [&](std::uint64_t block) { return (block + 1) * repo::kBlockBytes <= from; });
      EXPECT_EQ(Blocks(Changed(points[base], points[target], from), size, from), rest)
          << base << " to " << target << " from " << from;
    }
  }
}

// Three levels of the map, of which all but one path is shared.
TEST_F(PointRangesTest, OneChangedBlockOfMany) {
  MemoryDevice device(260 * kMiB);
  ASSERT_OK(device.WriteAt(0, SomeBytes(random_, 64 * kMiB)));
  const auto base = Export(Request(device));
  ASSERT_OK(base);
  device.Cut();
  ASSERT_OK(device.WriteAt(40 * kMiB + 5, Bytes(1, 1)));
  const auto target = Export(Request(device, &*base));
  ASSERT_OK(target);
  EXPECT_EQ(Blocks(Changed(*base, *target), 260 * kMiB), std::set<std::uint64_t>{640});
  EXPECT_EQ(Blocks(Changed(*base, *base), 260 * kMiB), std::set<std::uint64_t>{});
}

TEST_F(PointRangesTest, APointThatIsGoneIsSaid) {
  MemoryDevice device(kMiB, 1);
  const auto base = Export(Request(device));
  ASSERT_OK(base);
  const auto target = Export(Request(device, &*base));
  ASSERT_OK(target);
  ASSERT_OK(repository_->Forget(base->name));
  EXPECT_TRUE(Changed(*base, *target).Is(Code::kNotFound));
  EXPECT_EQ(Blocks(StoredRanges(*repository_, runtime_, target->name, 0), kMiB).size(), 16U);
}

}  // namespace
}  // namespace thinsnap::mover
