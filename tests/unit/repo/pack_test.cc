#include "snapshotter/repo/pack.h"

#include "tests/unit/repo/repo_fixture.h"

namespace thinsnap::repo {
namespace {

class PackTest : public BothSuites {
 protected:
  // Three records with 2, 1 and 16 blocks, over three stripes.
  FinishedPack Make() {
    PackBuilder builder(ring_, PackKind::kData, random_);
    std::uint64_t block = 5;
    for (const std::size_t blocks : {std::size_t{2}, std::size_t{1}, std::size_t{16}}) {
      payloads_.push_back(RandomBytes(random_, 800 * kKiB));
      std::vector<Fingerprint> fingerprints(blocks);
      for (Fingerprint& fingerprint : fingerprints) random_.Fill(fingerprint);
      places_.push_back(builder.AddBlocks(payloads_.back(), block, fingerprints));
      fingerprints_.push_back(fingerprints);
      block += 100;
    }
    return std::move(builder).Finish();
  }

  std::vector<Bytes> payloads_;
  std::vector<RecordPlace> places_;
  std::vector<std::vector<Fingerprint>> fingerprints_;
};

TEST_P(PackTest, TellsWhatItHolds) {
  const FinishedPack pack = Make();
  const std::string key = PackKey(PackKind::kData, pack.id);
  const auto tail = CheckPack(key, pack.object());
  ASSERT_OK(tail);
  EXPECT_EQ(tail->id, pack.id);
  EXPECT_EQ(tail->stripes, 3U);
  const auto trailer =
      OpenPackTrailer(ring_, PackKind::kData, pack.id, 1, tail->trailer_offset,
                      pack.object().subspan(tail->trailer_offset, tail->trailer_length));
  ASSERT_OK(trailer);
  EXPECT_EQ(trailer->units, 19U);
  EXPECT_EQ(pack.first_block, 5U);
  EXPECT_EQ(pack.last_block, 220U);
  ASSERT_EQ(trailer->records.size(), 3U);
  auto cipher = ring_.ForPack(PackKind::kData, pack.id, 1);
  ASSERT_OK(cipher);
  for (std::size_t i = 0; i < 3; ++i) {
    const TrailerRecord& record = trailer->records[i];
    EXPECT_EQ(record.offset, places_[i].offset);
    EXPECT_EQ(record.length, places_[i].length);
    EXPECT_EQ(record.fingerprints, fingerprints_[i]);
    Bytes payload(record.length - kTagBytes);
    ASSERT_TRUE(cipher->Open(SealKind::kDataRecord, record.offset,
                             pack.object().subspan(record.offset, record.length), payload));
    EXPECT_TRUE(payload == payloads_[i]);
    EXPECT_FALSE(cipher->Open(SealKind::kMapRecord, record.offset,
                              pack.object().subspan(record.offset, record.length), payload));
  }
}

TEST_P(PackTest, EveryFlippedBitShowsWithoutAKey) {
  const FinishedPack pack = Make();
  const std::string key = PackKey(PackKind::kData, pack.id);
  Bytes object(pack.object().begin(), pack.object().end());
  for (int i = 0; i < 300; ++i) {
    // Half of them near the end, where the structure is.
    const std::size_t at =
        i % 2 == 0 ? random_.Below(object.size()) : object.size() - 1 - random_.Below(600);
    const auto bit = static_cast<std::uint8_t>(1U << random_.Below(8));
    object[at] ^= bit;
    EXPECT_TRUE(CheckPack(key, object).Is(Code::kDataLoss)) << at;
    object[at] ^= bit;
  }
  ASSERT_OK(CheckPack(key, object));
}

TEST_P(PackTest, CutOrGrownOrRenamedIsRefused) {
  const FinishedPack pack = Make();
  const std::string key = PackKey(PackKind::kData, pack.id);
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(CheckPack(key, pack.object().first(random_.Below(pack.size))).Is(Code::kDataLoss));
  }
  Bytes grown(pack.object().begin(), pack.object().end());
  grown.push_back(0);
  EXPECT_TRUE(CheckPack(key, grown).Is(Code::kDataLoss));
  EXPECT_TRUE(CheckPack(PackKey(PackKind::kData, PackId()), pack.object()).Is(Code::kDataLoss));
  EXPECT_TRUE(CheckPack(PackKey(PackKind::kMap, pack.id), pack.object()).Is(Code::kDataLoss));
}

TEST_P(PackTest, HasRoomUntilTheTarget) {
  PackBuilder builder(ring_, PackKind::kData, random_);
  const Bytes payload(kMiB, 1);
  const std::vector<Fingerprint> one(1);
  std::uint64_t block = 0;
  while (builder.HasRoom(payload.size(), 1)) builder.AddBlocks(payload, block++, one);
  EXPECT_EQ(block, 15U);
  EXPECT_LE(std::move(builder).Finish().size, kPackTargetBytes + kMiB);

  PackBuilder many(ring_, PackKind::kData, random_);
  const std::vector<Fingerprint> sixteen(kRecordBlocks);
  std::uint32_t units = 0;
  while (many.HasRoom(10, kRecordBlocks)) {
    many.AddBlocks(Bytes(10, 1), units, sixteen);
    units += kRecordBlocks;
  }
  EXPECT_EQ(units, kPackMaxUnits);
}

TEST_P(PackTest, TwoPacksNeverShareAnId) {
  PackBuilder one(ring_, PackKind::kMap, random_);
  PackBuilder two(ring_, PackKind::kMap, random_);
  EXPECT_NE(one.id(), two.id());
}

INSTANTIATE_TEST_SUITE_P(Suites, PackTest, ::testing::Values(Suite::kPlain, Suite::kSealed));

TEST(PackKeyTest, SpellsAndReads) {
  SeededRandom random(5);
  const PackId id = PackId::Draw(random);
  PackKind kind = PackKind::kMap;
  PackId read;
  EXPECT_TRUE(ParsePackKey(PackKey(PackKind::kData, id), kind, read));
  EXPECT_EQ(kind, PackKind::kData);
  EXPECT_EQ(read, id);
  for (const char* key : {"packs/data/", "packs/data/00/11", "points/x",
                          "packs/data/zz/zz000000000000000000000000000000",
                          "packs/data/01/00000000000000000000000000000000"}) {
    EXPECT_FALSE(ParsePackKey(key, kind, read)) << key;
  }
}

}  // namespace
}  // namespace thinsnap::repo
