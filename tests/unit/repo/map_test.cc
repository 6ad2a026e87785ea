// The map against a model: leaves by number. Every tree written is read back whole, and its pack
// table is counted again.
#include <map>
#include <set>

#include "snapshotter/repo/map_reader.h"
#include "snapshotter/repo/map_writer.h"
#include "tests/unit/repo/repo_fixture.h"

namespace thinsnap::repo {
namespace {

using Model = std::map<std::uint64_t, Leaf>;  // by first block; no empty leaves

struct Written {
  MapRoot root;
  PackTable table;
};

class MapTest : public BothSuites {
 protected:
  Leaf RandomLeaf(std::uint64_t first_block, std::uint64_t blocks) {
    Leaf leaf;
    leaf.first_block = first_block;
    unsigned position = 0;
    while (position < kFanOut && first_block + position < blocks) {
      const auto count = static_cast<unsigned>(random_.Below(kRecordBlocks)) + 1;
      if (random_.Below(3) != 0 && position + count <= kFanOut &&
          first_block + position + count <= blocks) {
        MapExtent extent;
        extent.position = static_cast<std::uint8_t>(position);
        extent.count = static_cast<std::uint8_t>(count);
        extent.record_first = static_cast<std::uint8_t>(random_.Below(kRecordBlocks - count + 1));
        extent.record_blocks = kRecordBlocks;
        extent.place.pack.bytes[0] = static_cast<std::uint8_t>(random_.Below(5));
        extent.place.pack.bytes[15] = 0xda;
        extent.place.epoch = 1;
        extent.place.offset = static_cast<std::uint32_t>(random_.Below(kPackTargetBytes - kMiB));
        extent.place.length = static_cast<std::uint32_t>(random_.Below(kMiB)) + kTagBytes + 1;
        leaf.extents.push_back(extent);
        for (unsigned i = position; i < position + count; ++i) {
          leaf.stored |= std::uint64_t{1} << i;
          random_.Fill(leaf.fingerprints[i]);
        }
      }
      position += count;
    }
    return leaf;
  }

  MapWriter::Emit Putter() {
    return [this](FinishedPack pack) -> Status {
      TRY(store_.Put(PackKey(pack.kind, pack.id), pack.object()));
      return {};
    };
  }

  // patch: `changed` over `base`; else everything of `model`, sharing what is as in the base.
  Written Write(const Model& model, std::uint64_t size, const Written* base, const Model* before,
                bool patch, const std::set<std::uint64_t>& changed = {}) {
    std::optional<MapReader> reader;
    if (base != nullptr) reader.emplace(store_, runtime_, ring_, base->root);
    MapWriter writer(ring_, random_, size, base != nullptr ? &*reader : nullptr, patch,
                     base != nullptr ? base->table : PackTable(), Putter());
    Status status;
    if (patch) {
      for (const std::uint64_t first : changed) {
        const auto now = model.find(first);
        const auto was = before->find(first);
        Leaf hole;
        hole.first_block = first;
        status = writer.PutLeaf(now == model.end() ? hole : now->second,
                                was == before->end() ? nullptr : &was->second);
        EXPECT_TRUE(status.ok()) << status.error().message();
      }
    } else {
      for (const auto& [first, leaf] : model) {
        const bool same = before != nullptr && before->contains(first) && before->at(first) == leaf;
        status = same ? writer.ShareLeaf(leaf, **reader->RefAt(0, first))
                      : writer.PutLeaf(leaf, nullptr);
        EXPECT_TRUE(status.ok()) << status.error().message();
      }
    }
    auto root = writer.Finish();
    EXPECT_TRUE(root.ok()) << root.error().message();
    EXPECT_TRUE(writer.Flush().ok());
    return {root.ok() ? *root : MapRoot(), writer.table()};
  }

  // Everything is there, and the table is what a count of the tree gives.
  void Expect(const Written& written, const Model& model) {
    MapReader reader(store_, runtime_, ring_, written.root);
    const std::uint64_t blocks = BlocksOf(written.root.size_bytes);
    std::map<PackId, std::uint32_t> used;
    std::set<std::pair<int, std::uint64_t>> nodes;
    std::uint64_t stored = 0;
    for (std::uint64_t first = 0; first < blocks; first += kFanOut) {
      const auto leaf = reader.LeafAt(first);
      ASSERT_OK(leaf);
      const auto expected = model.find(first);
      ASSERT_EQ(*leaf != nullptr, expected != model.end()) << first;
      if (*leaf == nullptr) continue;
      EXPECT_TRUE(**leaf == expected->second) << first;
      stored += (*leaf)->stored_blocks();
      for (const MapExtent& extent : (*leaf)->extents) used[extent.place.pack] += extent.count;
      for (int level = 0; level <= written.root.level(); ++level) {
        const std::uint64_t node = first / BlocksOfLevel(level) * BlocksOfLevel(level);
        if (!nodes.emplace(level, node).second) continue;
        const auto ref = reader.RefAt(level, node);
        ASSERT_OK(ref);
        ASSERT_TRUE(ref->has_value());
        used[(*ref)->place.pack] += 1;
      }
    }
    EXPECT_EQ(written.root.stored_blocks(), stored);
    EXPECT_EQ(written.table.UsedBlocks(), stored);
    std::map<PackId, std::uint32_t> table;
    for (const auto& [id, entry] : written.table.entries()) {
      if (entry.used > 0) table[id] = entry.used;
    }
    EXPECT_TRUE(table == used);
  }

  Model RandomModel(std::uint64_t size, int leaves) {
    Model model;
    const std::uint64_t blocks = BlocksOf(size);
    const std::uint64_t count = (blocks + kFanOut - 1) / kFanOut;
    for (int i = 0; i < leaves && count > 0; ++i) {
      const std::uint64_t first = random_.Below(count) * kFanOut;
      Leaf leaf = RandomLeaf(first, blocks);
      if (leaf.stored != 0) model[first] = std::move(leaf);
    }
    return model;
  }
};

TEST_P(MapTest, FullTreesOfEverySize) {
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, 4 * kMiB, 4 * kMiB + 1,
                                   100 * kMiB, 256 * kMiB, 257 * kMiB, 3 * kGiB, 17 * kGiB}) {
    const Model model = RandomModel(size, 120);
    Expect(Write(model, size, nullptr, nullptr, false), model);
  }
}

TEST_P(MapTest, PatchesShareWhatDidNotChange) {
  std::uint64_t size = 2 * kMiB;
  Model model = RandomModel(size, 1);
  Written written = Write(model, size, nullptr, nullptr, false);
  for (int round = 0; round < 12; ++round) {
    const Model before = model;
    // Grows over several levels on the way.
    if (round % 3 == 2) size *= 9;
    const std::uint64_t blocks = BlocksOf(size);
    const std::uint64_t leaves = (blocks + kFanOut - 1) / kFanOut;
    std::set<std::uint64_t> changed;
    for (int i = 0; i < 15; ++i) {
      const std::uint64_t first = random_.Below(leaves) * kFanOut;
      if (!changed.insert(first).second) continue;
      Leaf leaf = RandomLeaf(first, blocks);
      if (random_.Below(4) == 0 || leaf.stored == 0) {
        model.erase(first);
      } else {
        model[first] = std::move(leaf);
      }
    }
    std::erase_if(changed, [&](std::uint64_t first) {
      return !model.contains(first) && !before.contains(first);
    });
    const Written next = Write(model, size, &written, &before, true, changed);
    Expect(next, model);
    Expect(written, before);  // the base stays whole
    written = next;
  }
}

TEST_P(MapTest, NothingChangedWritesNothing) {
  const std::uint64_t size = 3 * kGiB;
  const Model model = RandomModel(size, 200);
  const Written base = Write(model, size, nullptr, nullptr, false);
  const auto count = [&] {
    int packs = 0;
    EXPECT_TRUE(store::ListAll(store_, "packs/", [&](const auto&) {
                  ++packs;
                  return Status();
                }).ok());
    return packs;
  };
  const int packs = count();
  const Written patched = Write(model, size, &base, &model, true);
  const Written reread = Write(model, size, &base, &model, false);
  EXPECT_EQ(patched.root.node, base.root.node);
  EXPECT_EQ(reread.root.node, base.root.node);
  EXPECT_EQ(count(), packs);
  Expect(patched, model);
  Expect(reread, model);
}

TEST_P(MapTest, RereadAfterShrinkingAndGrowing) {
  Model model = RandomModel(3 * kGiB, 200);
  Written written = Write(model, 3 * kGiB, nullptr, nullptr, false);
  for (const std::uint64_t size : {200 * kMiB, 2 * kMiB, 20 * kGiB}) {
    const Model before = model;
    std::erase_if(model, [&](const auto& item) {
      return (item.first + kFanOut) * std::uint64_t{kBlockBytes} > size;
    });
    for (auto& [first, leaf] : RandomModel(size, 10)) model[first] = leaf;
    const Written next = Write(model, size, &written, &before, false);
    Expect(next, model);
    written = next;
  }
}

TEST_P(MapTest, DamageIsNamed) {
  const std::uint64_t size = 500 * kMiB;
  const Model model = RandomModel(size, 60);
  const Written written = Write(model, size, nullptr, nullptr, false);
  std::string key;
  ASSERT_OK(store::ListAll(store_, "packs/map/", [&](const auto& info) {
    key = info.key;
    return Status();
  }));
  const auto whole = store_.Get(key);
  ASSERT_OK(whole);
  const std::uint32_t records_end =
      written.root.node->place.offset + written.root.node->place.length;
  for (int i = 0; i < 30; ++i) {
    Bytes damaged = whole->bytes;
    damaged[random_.Below(records_end)] ^= 1;
    ASSERT_OK(store_.Put(key, damaged));
    MapReader reader(store_, runtime_, ring_, written.root);
    bool found = false;
    for (std::uint64_t first = 0; first < BlocksOf(size); first += kFanOut) {
      const auto leaf = reader.LeafAt(first);
      if (leaf.ok()) continue;
      EXPECT_TRUE(leaf.Is(Code::kDataLoss)) << leaf.error().ToString();
      EXPECT_NE(leaf.error().message().find(key), std::string::npos) << leaf.error().message();
      found = true;
    }
    EXPECT_TRUE(found);
  }
  ASSERT_OK(store_.Delete(key));
  MapReader reader(store_, runtime_, ring_, written.root);
  EXPECT_TRUE(reader.LeafAt(model.begin()->first).Is(Code::kDataLoss));
}

TEST_P(MapTest, NodesAreRefusedElsewhere) {
  const std::uint64_t size = 500 * kMiB;
  Model model;
  for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{64}}) {
    do model[first] = RandomLeaf(first, BlocksOf(size));
    while (model[first].stored == 0);
  }
  const Written written = Write(model, size, nullptr, nullptr, false);
  // The second leaf in place of the first: sealed by ourselves, and still not believed.
  MapReader reader(store_, runtime_, ring_, written.root);
  const auto second = reader.RefAt(0, 64);
  ASSERT_OK(second);
  MapRoot swapped;
  swapped.size_bytes = kMiB;
  swapped.node = **second;
  MapReader wrong(store_, runtime_, ring_, swapped);
  EXPECT_TRUE(wrong.LeafAt(0).Is(Code::kDataLoss));
}

TEST_P(MapTest, LargeTablesGoToMapPacks) {
  MapWriter writer(ring_, random_, 0, nullptr, false, PackTable(), Putter());
  ASSERT_OK(writer.Finish());
  const Bytes encoded = RandomBytes(random_, 200 * kKiB);
  const auto places = writer.WriteTable(encoded);
  ASSERT_OK(places);
  ASSERT_OK(writer.Flush());
  Bytes read;
  for (const RecordPlace& place : *places) {
    const auto piece = ReadTablePiece(store_, ring_, place);
    ASSERT_OK(piece);
    Append(read, *piece);
  }
  EXPECT_TRUE(read == encoded);
}

INSTANTIATE_TEST_SUITE_P(Suites, MapTest, ::testing::Values(Suite::kPlain, Suite::kSealed));

TEST(PackTableTest, ComesBackSorted) {
  SeededRandom random(4);
  PackTable table;
  for (int i = 0; i < 300; ++i) {
    RecordPlace place;
    place.pack = PackId::Draw(random);
    place.epoch = 1;
    table.Use(i % 2 == 0 ? PackKind::kData : PackKind::kMap, place, 3);
    table.SetTotal(place.pack, 5);
    if (i % 7 == 0) table.Release(place, 3);
  }
  const auto parsed = PackTable::Parse(table.Encode());
  ASSERT_OK(parsed);
  EXPECT_TRUE(*parsed == table);
  EXPECT_EQ(parsed->UsedBlocks(), table.UsedBlocks());
  EXPECT_TRUE(parsed->Incomplete().empty());
}

TEST(PackTableTest, DifferencesLeadFromOneToTheOther) {
  SeededRandom random(6);
  PackTable table;
  std::vector<RecordPlace> places;
  for (int round = 0; round < 20; ++round) {
    const PackTable before = table;
    for (int i = 0; i < 10; ++i) {
      RecordPlace place;
      place.pack = PackId::Draw(random);
      place.epoch = 1;
      table.Use(PackKind::kData, place, 2);
      table.SetTotal(place.pack, 9);
      places.push_back(place);
      const RecordPlace& other = places[random.Below(places.size())];
      if (table.Find(other.pack)->used > 0) table.Release(other, 1);
    }
    auto applied = PackTable::Parse(before.Encode());
    ASSERT_OK(applied);
    ASSERT_OK(applied->Apply(table.EncodeDifference(before)));
    EXPECT_TRUE(*applied == table);
    EXPECT_EQ(table.EncodeDifference(table), Bytes{0});
  }
  PackTable other;
  EXPECT_TRUE(other.Apply(PackTable().EncodeDifference(table)).Is(Code::kDataLoss));
}

TEST(PackTableTest, KnowsWhatCannotBe) {
  PackTable table;
  RecordPlace place;
  table.Use(PackKind::kData, place, 3);
  EXPECT_EQ(table.Incomplete().size(), 1U);
  table.SetTotal(place.pack, 2);
  EXPECT_EQ(table.Incomplete().size(), 1U);
  table.SetTotal(place.pack, 3);
  EXPECT_TRUE(table.Incomplete().empty());
}

}  // namespace
}  // namespace thinsnap::repo
