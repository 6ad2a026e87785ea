#include "snapshotter/repo/record.h"

#include "snapshotter/repo/format.h"
#include "tests/unit/repo/repo_fixture.h"

namespace thinsnap::repo {
namespace {

TEST(RecordTest, ComesBackWhateverItHolds) {
  SeededRandom random(3);
  RecordEncoder encoder;
  RecordDecoder decoder;
  for (unsigned blocks = 1; blocks <= kRecordBlocks; ++blocks) {
    for (const bool compressible : {true, false}) {
      Bytes bytes = RandomBytes(random, std::size_t{blocks} * kBlockBytes);
      if (compressible) {
        for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i / 97);
      }
      const ByteSpan payload = encoder.Encode(bytes);
      EXPECT_EQ(payload.size() < bytes.size() / 4, compressible);
      EXPECT_LE(payload.size(), bytes.size() + 1);
      Bytes out(bytes.size());
      ASSERT_OK(decoder.Decode(payload, out));
      EXPECT_TRUE(out == bytes);
      Bytes shorter(bytes.size() - 1);
      EXPECT_TRUE(decoder.Decode(payload, shorter).Is(Code::kDataLoss));
      Bytes longer(bytes.size() + 1);
      EXPECT_TRUE(decoder.Decode(payload, longer).Is(Code::kDataLoss));
    }
  }
}

TEST(RecordTest, RefusesWhatItDoesNotKnow) {
  RecordDecoder decoder;
  Bytes out(10);
  EXPECT_TRUE(decoder.Decode({}, out).Is(Code::kDataLoss));
  EXPECT_TRUE(decoder.Decode(Bytes{7, 1, 2}, out).Is(Code::kDataLoss));
  EXPECT_TRUE(decoder.Decode(Bytes{1, 1, 2}, out).Is(Code::kDataLoss));
  EXPECT_TRUE(decoder.Decode(Bytes{1, 1, 2}, 100).Is(Code::kDataLoss));
}

TEST(RecordTest, TakesNoMoreMemoryThanAllowed) {
  RecordEncoder encoder;
  const Bytes zeros(10 * kMiB, 0);
  const ByteSpan bomb = encoder.Encode(zeros);
  ASSERT_LT(bomb.size(), 10 * kKiB);
  RecordDecoder decoder;
  EXPECT_TRUE(decoder.Decode(bomb, 64 * kKiB).Is(Code::kDataLoss));
}

}  // namespace
}  // namespace thinsnap::repo
