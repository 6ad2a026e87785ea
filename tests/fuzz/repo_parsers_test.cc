// The repository's parsers on random and on slightly wrong bytes: they may refuse, never crash, and
// what they take they take whole.
#include <functional>
#include <gtest/gtest.h>

#include "base/core/random.h"
#include "base/data/json.h"
#include "snapshotter/repo/key_slot.h"
#include "snapshotter/repo/map_node.h"
#include "snapshotter/repo/pack.h"
#include "snapshotter/repo/pack_table.h"
#include "snapshotter/repo/point.h"
#include "snapshotter/repo/record.h"
#include "snapshotter/repo/repository_file.h"
#include "snapshotter/repo/session.h"
#include "snapshotter/repo/tombstone.h"

namespace thinsnap::repo {
namespace {

constexpr int kRounds = 4000;
constexpr const char* kUlid = "01hzy3v7q4e8r2t6m9k1w5x0zb";

class RepoParsersTest : public ::testing::Test {
 protected:
  // Calls with the seed itself, with random bytes, and with the seed after a few random edits.
  void Feed(const Bytes& seed, const std::function<void(ByteSpan)>& parse) {
    parse(seed);
    for (std::size_t size = 0; size < std::min<std::size_t>(seed.size(), 200); ++size) {
      parse(ByteSpan(seed).first(size));
    }
    for (int i = 0; i < kRounds; ++i) {
      Bytes bytes = seed;
      if (i % 4 == 0) {
        bytes.resize(random_.Below(300));
        random_.Fill(bytes);
      } else {
        Edit(bytes);
      }
      parse(bytes);
    }
  }

  void Edit(Bytes& bytes) {
    for (std::uint64_t edits = random_.Below(4) + 1; edits > 0; --edits) {
      if (bytes.empty()) bytes.push_back(0);
      const auto at = static_cast<std::ptrdiff_t>(random_.Below(bytes.size()));
      const auto byte = static_cast<std::uint8_t>(random_.Below(256));
      switch (random_.Below(5)) {
        case 0:
          bytes[static_cast<std::size_t>(at)] = byte;
          break;
        case 1:
          bytes[static_cast<std::size_t>(at)] ^= static_cast<std::uint8_t>(1U << random_.Below(8));
          break;
        case 2:
          bytes.erase(bytes.begin() + at);
          break;
        case 3:
          bytes.insert(bytes.begin() + at, byte);
          break;
        default:
          bytes[static_cast<std::size_t>(at)] = 0xff;
          break;
      }
    }
  }

  Leaf SomeLeaf() {
    Leaf leaf;
    leaf.first_block = 640;
    for (unsigned position = 0; position + 8 <= kFanOut; position += 9) {
      MapExtent extent;
      extent.position = static_cast<std::uint8_t>(position);
      extent.count = 8;
      extent.record_first = 2;
      extent.record_blocks = 11;
      extent.place = {PackId::Draw(random_), 1, position * 1000, 5000};
      leaf.extents.push_back(extent);
      for (unsigned i = 0; i < 8; ++i) {
        leaf.stored |= std::uint64_t{1} << (position + i);
        random_.Fill(leaf.fingerprints[position + i]);
      }
    }
    return leaf;
  }

  SeededRandom random_{2026};
};

TEST_F(RepoParsersTest, Leaf) {
  const Leaf leaf = SomeLeaf();
  int taken = 0;
  Feed(EncodeLeaf(leaf), [&](ByteSpan bytes) {
    const auto parsed = ParseLeaf(bytes, 640, leaf.stored_blocks());
    if (!parsed.ok()) {
      EXPECT_TRUE(parsed.Is(Code::kDataLoss));
      return;
    }
    ++taken;
    std::uint64_t covered = 0;
    for (const MapExtent& extent : parsed->extents) {
      EXPECT_LE(extent.record_first + extent.count, extent.record_blocks);
      covered += extent.count;
    }
    EXPECT_EQ(covered, parsed->stored_blocks());
  });
  EXPECT_GT(taken, 0);
}

TEST_F(RepoParsersTest, InnerNode) {
  InnerNode node;
  node.level = 2;
  node.first_block = 0;
  for (unsigned i = 0; i < kFanOut; i += 3) {
    node.children[i] = NodeRef{{PackId::Draw(random_), 1, i * 100, 999}, 3, 1000 + i};
  }
  Feed(EncodeInnerNode(node), [&](ByteSpan bytes) {
    const auto parsed = ParseInnerNode(bytes, 2, 0, node.stored_blocks());
    if (parsed.ok()) {
      // A pack may be listed twice or in vain; what counts comes back.
      const auto again = ParseInnerNode(EncodeInnerNode(*parsed), 2, 0, node.stored_blocks());
      ASSERT_TRUE(again.ok());
      EXPECT_TRUE(*again == *parsed);
    }
  });
}

TEST_F(RepoParsersTest, MapRecord) {
  const std::vector<Bytes> nodes(5, EncodeLeaf(SomeLeaf()));
  Feed(JoinNodes(nodes), [&](ByteSpan bytes) {
    const auto parsed = SplitNodes(bytes);
    if (parsed.ok()) {
      EXPECT_LE(parsed->size(), kMapRecordNodes);
    }
  });
}

TEST_F(RepoParsersTest, PackTable) {
  repo::PackTable table;
  for (int i = 0; i < 20; ++i) {
    const RecordPlace place{PackId::Draw(random_), 1, 0, 100};
    table.Use(i % 2 == 0 ? PackKind::kData : PackKind::kMap, place, 7);
    table.SetTotal(place.pack, 700);
  }
  Feed(table.Encode(), [&](ByteSpan bytes) {
    const auto parsed = repo::PackTable::Parse(bytes);
    if (parsed.ok()) {
      EXPECT_TRUE(parsed->Incomplete().empty());
    }
  });
}

TEST_F(RepoParsersTest, PackTrailerAndTail) {
  const Keyring ring(RepositoryId{kUlid});
  PackBuilder builder(ring, PackKind::kData, random_);
  std::vector<Fingerprint> fingerprints(9);
  for (std::uint64_t i = 0; i < 10; ++i) builder.AddBlocks(Bytes(500, 1), i * 20, fingerprints);
  const FinishedPack pack = std::move(builder).Finish();
  const std::string key = PackKey(PackKind::kData, pack.id);
  Feed(Bytes(pack.object().begin(), pack.object().end()), [&](ByteSpan bytes) {
    const auto checked = CheckPack(key, bytes);
    if (checked.ok()) {
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), pack.buffer.begin()));
    }
  });
  // In the suite plain the trailer lies open: its parser without the checksum before it.
  const ByteSpan trailer =
      pack.object().subspan(pack.trailer_offset, pack.trailer_length - kTagBytes);
  for (const PackKind kind : {PackKind::kData, PackKind::kMap}) {
    Feed(Bytes(trailer.begin(), trailer.end()), [&](ByteSpan bytes) {
      const auto parsed = ParsePackTrailer(kind, pack.trailer_offset, bytes);
      if (parsed.ok()) {
        EXPECT_LE(parsed->units, kPackMaxUnits * 2 * kRecordBlocks);
      }
    });
  }
}

TEST_F(RepoParsersTest, Point) {
  repo::Point point;
  point.info.name = MakePointName("s", kUlid, 1);
  point.info.series = "s";
  point.info.snapshot = kUlid;
  point.info.attempt = 1;
  point.info.size_bytes = kGiB;
  point.root.node = NodeRef{{PackId::Draw(random_), 1, 5, 50}, 2, 77};
  point.table_runs = {{{PackId::Draw(random_), 1, 5, 50}, {PackId::Draw(random_), 1, 9, 60}}, {}};
  auto encoded = EncodePoint(point);
  ASSERT_TRUE(encoded.ok());
  Feed(*encoded, [&](ByteSpan bytes) {
    const auto parsed = ParsePoint(point.info.name, bytes);
    if (!parsed.ok()) {
      EXPECT_TRUE(parsed.Is(Code::kDataLoss)) << parsed.error().ToString();
    }
  });
  Feed(EncodeVoid({"forgotten", ""}), [&](ByteSpan bytes) {
    const auto parsed = ParsePoint(point.info.name, bytes);
    if (!parsed.ok()) {
      EXPECT_TRUE(parsed.Is(Code::kDataLoss));
    }
  });
}

TEST_F(RepoParsersTest, SessionAndTombstone) {
  Session session;
  session.series = "s";
  session.point = MakePointName("s", kUlid, 1);
  session.packs.resize(5);
  Feed(EncodeSession(session), [&](ByteSpan bytes) {
    const auto parsed = ParseSession(bytes);
    if (parsed.ok()) {
      EXPECT_LE(parsed->packs.size(), bytes.size() / 20);
    }
  });
  std::set<PackId> packs;
  for (int i = 0; i < 10; ++i) packs.insert(PackId::Draw(random_));
  Feed(EncodeTombstone(packs), [&](ByteSpan bytes) {
    const auto parsed = ParseTombstone(bytes);
    if (parsed.ok()) {
      EXPECT_LE(parsed->size(), bytes.size() / 16);
    }
  });
}

TEST_F(RepoParsersTest, Record) {
  RecordEncoder encoder;
  RecordDecoder decoder;
  Bytes plain(std::size_t{3} * kBlockBytes, 0);
  for (std::size_t i = 0; i < plain.size(); i += 3) plain[i] = static_cast<std::uint8_t>(i / 1000);
  const ByteSpan payload = encoder.Encode(plain);
  Bytes out(plain.size());
  Feed(Bytes(payload.begin(), payload.end()), [&](ByteSpan bytes) {
    const Status exact = decoder.Decode(bytes, out);
    if (!exact.ok()) {
      EXPECT_TRUE(exact.Is(Code::kDataLoss));
    }
    const auto bounded = decoder.Decode(bytes, kBlockBytes);
    if (bounded.ok()) {
      EXPECT_LE(bounded->size(), kBlockBytes);
    }
  });
}

TEST_F(RepoParsersTest, RepositoryFileAndSlot) {
  const Keyring plain(RepositoryId{kUlid});
  const std::string text = EncodeRepositoryFile(plain, "", FromUnixSeconds(1700000000));
  Feed(Bytes(text.begin(), text.end()), [&](ByteSpan bytes) {
    const auto parsed = ParseRepositoryFile(AsText(bytes));
    if (parsed.ok()) {
      EXPECT_EQ(parsed->header.format, kFormatVersion);
    }
  });
  // A slot that asks for nothing costly; edits of its figures are bounded by the parser.
  const std::string slot =
      R"({"kdf":"argon2id","memoryKiB":8,"passes":1,"lanes":1,"salt":"AAAA","epoch":1})";
  Feed(Bytes(slot.begin(), slot.end()), [&](ByteSpan bytes) {
    EXPECT_FALSE(UnwrapKeys(RepositoryId{kUlid}, "s", AsText(bytes), Secret("x")).ok());
  });
}

}  // namespace
}  // namespace thinsnap::repo
