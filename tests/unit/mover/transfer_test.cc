#include "snapshotter/mover/transfer.h"

#include <mutex>

#include "snapshotter/mover/verify_blocks.h"
#include "snapshotter/repo/keyring.h"
#include "snapshotter/repo/map_reader.h"
#include "snapshotter/repo/point_store.h"
#include "snapshotter/repo/tombstone.h"
#include "snapshotter/repo/verify.h"
#include "tests/unit/mover/fixture.h"

namespace thinsnap::mover {
namespace {

class TransferTest : public MoverTest {
 protected:
  // Small writes at random places, one of them over a border of blocks.
  void Scatter(MemoryDevice& device, int writes) {
    for (int i = 0; i < writes; ++i) {
      const std::uint64_t offset = random_.Below(device.size_bytes() - 4096);
      ASSERT_OK(device.WriteAt(offset, SomeBytes(random_, 4096)));
    }
    ASSERT_OK(device.WriteAt(64 * kKiB - 10, SomeBytes(random_, 20)));
  }
};

TEST_F(TransferTest, RestoresWhatWasExported) {
  for (const repo::Suite suite : {repo::Suite::kPlain, repo::Suite::kSealed}) {
    Init(suite);
    MemoryDevice device(SomeBytes(random_, 40 * kMiB));
    const auto point = Export(Request(device));
    ASSERT_OK(point);
    EXPECT_EQ(point->mode, repo::ExportMode::kFull);
    EXPECT_EQ(point->data_bytes, 40 * kMiB);
    EXPECT_GT(point->uploaded_bytes, point->stored_bytes);
    EXPECT_LT(point->uploaded_bytes, 40 * kMiB);
    ExpectRestores(*point, device.bytes());
  }
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
    EXPECT_LE(point->data_bytes, 128 * kKiB);
    ExpectRestores(*point, device.bytes());
  }
}

TEST_F(TransferTest, IncrementByRangesReadsOnlyThose) {
  MemoryDevice device(SomeBytes(random_, 64 * kMiB));
  const Bytes before = device.bytes();
  const auto first = Export(Request(device));
  ASSERT_OK(first);
  device.Cut();
  Scatter(device, 20);
  const auto second = Export(Request(device, &*first));
  ASSERT_OK(second);
  EXPECT_EQ(second->mode, repo::ExportMode::kChanged) << second->mode_reason;
  EXPECT_EQ(second->base, first->name);
  EXPECT_LT(second->read_bytes, 8 * kMiB);
  EXPECT_LT(second->uploaded_bytes, first->uploaded_bytes / 8);
  ExpectRestores(*second, device.bytes());
  ExpectRestores(*first, before);
}

TEST_F(TransferTest, IncrementWithoutRangesComparesFingerprints) {
  MemoryDevice device(SomeBytes(random_, 64 * kMiB));
  const auto first = Export(Request(device));
  ASSERT_OK(first);
  Scatter(device, 20);
  const auto second = Export(Request(device));
  ASSERT_OK(second);
  EXPECT_EQ(second->mode, repo::ExportMode::kReread);
  EXPECT_FALSE(second->mode_reason.empty());
  EXPECT_EQ(second->read_bytes, 64 * kMiB);
  EXPECT_LE(second->changed_bytes, 3200 * kKiB);
  EXPECT_LT(second->uploaded_bytes, first->uploaded_bytes / 8);
  ExpectRestores(*second, device.bytes());
}

TEST_F(TransferTest, ManyGenerationsStayWhole) {
  MemoryDevice device(SomeBytes(random_, 12 * kMiB + 4321));
  std::vector<std::pair<repo::PointInfo, Bytes>> history;
  for (int i = 0; i < 12; ++i) {
    const bool by_ranges = i > 0 && i % 4 != 3;
    auto request = by_ranges ? Request(device, &history.back().first) : Request(device);
    const auto point = Export(request);
    ASSERT_OK(point);
    EXPECT_EQ(point->mode == repo::ExportMode::kChanged, by_ranges) << point->mode_reason;
    history.emplace_back(*point, device.bytes());
    device.Cut();
    Scatter(device, 10);
    const std::uint64_t hole = random_.Below(device.size_bytes() / 2);
    ASSERT_OK(device.Discard(hole, random_.Below(3 * kMiB)));
    if (i % 3 == 0) device.Resize(device.size_bytes() * 2 + random_.Below(100000));
    if (i == 7) {
      ASSERT_OK(repository_->Forget(history[2].first.name));
    }
  }
  VerifiedRecords verified;
  for (std::size_t i = 0; i < history.size(); ++i) {
    if (i == 2) continue;
    ExpectRestores(history[i].first, history[i].second);
    ASSERT_OK(VerifyBlocks(*repository_, runtime_, history[i].first.name, verified));
  }
  EXPECT_TRUE(Restore(history[2].first).Is(Code::kNotFound));
  const auto report = repo::VerifyStructure(*repository_);
  ASSERT_OK(report);
  EXPECT_EQ(report->points, history.size() - 1);
  for (const repo::Problem& problem : report->problems)
    ADD_FAILURE() << problem.object << problem.what;
}

TEST_F(TransferTest, LargeTablesAreStoredAsDifferences) {
  MemoryDevice device(SomeBytes(random_, 2 * kMiB));
  std::optional<repo::PointInfo> last;
  std::set<std::size_t> runs;
  for (int i = 0; i < 40; ++i) {
    device.Cut();
    ASSERT_OK(device.WriteAt(random_.Below(2 * kMiB - 10), SomeBytes(random_, 10)));
    auto request = i % 5 == 4 ? Request(device) : last ? Request(device, &*last) : Request(device);
    request.inline_table_bytes = 250;
    const auto point = Export(request);
    ASSERT_OK(point);
    last = *point;
    const auto whole = repo::ReadPoint(*store_, repository_->keyring(), point->name);
    ASSERT_OK(whole);
    runs.insert(whole->table_runs.size());
    ASSERT_OK(repo::ReadPackTable(*store_, repository_->keyring(), *whole));
    ExpectRestores(*point, device.bytes());
  }
  EXPECT_TRUE(runs.contains(0));
  EXPECT_TRUE(runs.contains(1));
  EXPECT_EQ(*runs.rbegin(), repo::kMaxTableRuns);
  EXPECT_TRUE(repo::VerifyStructure(*repository_)->problems.empty());
}

TEST_F(TransferTest, ShrunkVolumesAreReadAgain) {
  MemoryDevice device(SomeBytes(random_, 300 * kMiB / 16));
  const auto first = Export(Request(device));
  ASSERT_OK(first);
  device.Cut();
  device.Resize(3 * kMiB + 5);
  const auto second = Export(Request(device, &*first));
  ASSERT_OK(second);
  EXPECT_EQ(second->mode, repo::ExportMode::kReread);
  ExpectRestores(*second, device.bytes());
}

TEST_F(TransferTest, UnchangedTakesNineRequestsAtMost) {
  MemoryDevice device(SomeBytes(random_, 40 * kMiB));
  const auto first = Export(Request(device));
  ASSERT_OK(first);
  device.Cut();
  const auto packs = Keys("packs/");
  for (const bool by_ranges : {true, false}) {
    faults_->ResetCounts();
    const auto second = Export(by_ranges ? Request(device, &*first) : Request(device));
    ASSERT_OK(second);
    EXPECT_LE(faults_->requests(), 9);
    EXPECT_EQ(second->stored_bytes, 0U);
    EXPECT_LT(second->uploaded_bytes, 4 * kKiB);
  }
  EXPECT_EQ(Keys("packs/"), packs);
  EXPECT_TRUE(Keys("sessions/").empty());
}

TEST_F(TransferTest, AnOddBaseIsNotTrustedWithRanges) {
  MemoryDevice device(SomeBytes(random_, 8 * kMiB));
  const auto first = Export(Request(device));
  ASSERT_OK(first);
  device.Cut();
  auto request = Request(device, &*first);
  request.base_device_identity = "another device";
  const auto second = Export(request);
  ASSERT_OK(second);
  EXPECT_EQ(second->mode, repo::ExportMode::kReread);
  request = Request(device, &*first);
  request.base = repo::MakePointName("pool.volume", "01hzy3v7q4e8r2t6m9k1w5x0zb", 1);
  const auto third = Export(request);
  ASSERT_OK(third);
  EXPECT_EQ(third->mode, repo::ExportMode::kReread);
  ExpectRestores(*third, device.bytes());
}

TEST_F(TransferTest, RangesThatAreNotKnownMeanReading) {
  MemoryDevice device(SomeBytes(random_, 8 * kMiB));
  const auto first = Export(Request(device));
  ASSERT_OK(first);
  Scatter(device, 3);
  auto request = Request(device, &*first);
  request.changed = [] {
    return block::CollectExtents([](const block::ExtentVisitor& visit) -> Status {
      TRY(visit({0, 4096}));
      return Error(Code::kFailedPrecondition, "the pool has lost track");
    });
  };
  const auto second = Export(request);
  ASSERT_OK(second);
  EXPECT_EQ(second->mode, repo::ExportMode::kReread);
  EXPECT_NE(second->mode_reason.find("lost track"), std::string::npos);
  ExpectRestores(*second, device.bytes());
}

TEST_F(TransferTest, AChangeThatRangesLeaveOutIsNoticed) {
  // One leaf, so that the stretch that is read again is the one.
  MemoryDevice device(SomeBytes(random_, 4 * kMiB));
  const auto first = Export(Request(device));
  ASSERT_OK(first);
  ASSERT_OK(device.WriteAt(kMiB, SomeBytes(random_, 10)));
  device.Cut();
  ASSERT_OK(device.WriteAt(3 * kMiB, SomeBytes(random_, 10)));
  const auto second = Export(Request(device, &*first));
  ASSERT_OK(second);
  EXPECT_EQ(second->mode, repo::ExportMode::kReread);
  EXPECT_NE(second->mode_reason.find("called unchanged"), std::string::npos);
  ExpectRestores(*second, device.bytes());
  const auto point = repo::ReadPoint(*store_, repository_->keyring(), second->name);
  ASSERT_OK(point);
  EXPECT_FALSE(point->alarm.empty());
}

// Answers one question at a time, as the device of a pool with one lock does.
class OneAtATime final : public block::BlockDevice {
 public:
  explicit OneAtATime(MemoryDevice& inner) : inner_(inner) {}

  std::uint64_t size_bytes() const override { return inner_.size_bytes(); }
  Status ReadAt(std::uint64_t offset, MutableByteSpan into) override {
    const std::lock_guard lock(mutex_);
    return inner_.ReadAt(offset, into);
  }
  Status WriteAt(std::uint64_t offset, ByteSpan bytes) override {
    const std::lock_guard lock(mutex_);
    return inner_.WriteAt(offset, bytes);
  }
  Status Discard(std::uint64_t offset, std::uint64_t length) override {
    const std::lock_guard lock(mutex_);
    return inner_.Discard(offset, length);
  }
  Status Flush() override { return inner_.Flush(); }
  Status Allocated(const block::ExtentVisitor& visit) override {
    const std::lock_guard lock(mutex_);
    return inner_.Allocated(visit);
  }

 private:
  std::mutex mutex_;
  MemoryDevice& inner_;
};

// More segments than may be under way: whoever names the ranges is not held while they are read.
TEST_F(TransferTest, NamingTheRangesKeepsNobodyFromReadingThem) {
  MemoryDevice device(SomeBytes(random_, 64 * kMiB));
  OneAtATime source(device);
  auto request = Request(device);
  request.source = &source;
  const auto first = Export(request);
  ASSERT_OK(first);
  ExpectRestores(*first, device.bytes());
}

TEST_F(TransferTest, RangesOutOfOrderAreRefused) {
  MemoryDevice device(SomeBytes(random_, 4 * kMiB));
  const auto first = Export(Request(device));
  ASSERT_OK(first);
  auto request = Request(device, &*first);
  request.changed = [] {
    return block::CollectExtents([](const block::ExtentVisitor& visit) -> Status {
      TRY(visit({kMiB, 4096}));
      return visit({0, 4096});
    });
  };
  EXPECT_TRUE(Export(request).Is(Code::kInternal));
}

TEST_F(TransferTest, ADamagedBaseCostsAFullExport) {
  MemoryDevice device(SomeBytes(random_, 8 * kMiB));
  const auto first = Export(Request(device));
  ASSERT_OK(first);
  device.Cut();
  Scatter(device, 3);
  for (const std::string& key : Keys("packs/map/")) {
    auto object = store_->Get(key);
    ASSERT_OK(object);
    object->bytes[10] ^= 1;
    ASSERT_OK(store_->Put(key, object->bytes));
  }
  const auto second = Export(Request(device, &*first));
  ASSERT_OK(second);
  EXPECT_EQ(second->mode, repo::ExportMode::kFull);
  EXPECT_NE(second->mode_reason.find("damaged"), std::string::npos);
  ExpectRestores(*second, device.bytes());
  EXPECT_TRUE(Restore(*first).Is(Code::kDataLoss));
}

TEST_F(TransferTest, TombstonedPacksCountAsAbsent) {
  MemoryDevice device(SomeBytes(random_, 40 * kMiB));
  const auto first = Export(Request(device));
  ASSERT_OK(first);
  device.Cut();
  const auto data = Keys("packs/data/");
  ASSERT_GE(data.size(), 2U);
  repo::PackKind kind{};
  repo::PackId doomed;
  ASSERT_TRUE(repo::ParsePackKey(data.front(), kind, doomed));
  ASSERT_OK(store_->Put(
      "gc/1", repository_->keyring().SealObject(random_, "gc/1", repo::EncodeTombstone({doomed}))));
  const auto second = Export(Request(device, &*first));
  ASSERT_OK(second);
  EXPECT_EQ(second->mode, repo::ExportMode::kReread) << second->mode_reason;
  EXPECT_GT(second->stored_bytes, 4 * kMiB);
  ASSERT_OK(store_->Delete(data.front()));
  ExpectRestores(*second, device.bytes());

  // A tombstoned map: no base at all.
  ASSERT_TRUE(repo::ParsePackKey(Keys("packs/map/").front(), kind, doomed));
  std::set<repo::PackId> all;
  for (const std::string& key : Keys("packs/map/")) {
    ASSERT_TRUE(repo::ParsePackKey(key, kind, doomed));
    all.insert(doomed);
  }
  ASSERT_OK(store_->Put(
      "gc/2", repository_->keyring().SealObject(random_, "gc/2", repo::EncodeTombstone(all))));
  const auto third = Export(Request(device, &*second));
  ASSERT_OK(third);
  EXPECT_EQ(third->mode, repo::ExportMode::kFull);
  for (const repo::PackId& id : all) {
    ASSERT_OK(store_->Delete(repo::PackKey(repo::PackKind::kMap, id)));
  }
  ExpectRestores(*third, device.bytes());
}

TEST_F(TransferTest, PointsListThoseTheirWriterSaw) {
  MemoryDevice device(SomeBytes(random_, kMiB));
  const auto first = Export(Request(device));
  const auto second = Export(Request(device));
  ASSERT_OK(first);
  ASSERT_OK(second);
  ASSERT_OK(repository_->Forget(second->name));
  const auto third = Export(Request(device));
  ASSERT_OK(third);
  const auto point = repo::ReadPoint(*store_, repository_->keyring(), third->name);
  ASSERT_OK(point);
  EXPECT_EQ(point->seen, std::vector<std::string>{first->snapshot + ".1"});
  // Gone without a void: an alarm.
  EXPECT_TRUE(repo::VerifyStructure(*repository_)->problems.empty());
  ASSERT_OK(store_->Delete(repo::PointKey(first->name)));
  const auto report = repo::VerifyStructure(*repository_);
  ASSERT_OK(report);
  ASSERT_EQ(report->problems.size(), 1U);
  EXPECT_EQ(report->problems.front().object, repo::PointKey(first->name));
}

TEST_F(TransferTest, VerifyNamesWhoNeedsADamagedPack) {
  MemoryDevice device(SomeBytes(random_, kMiB));
  const auto first = Export(Request(device));
  ASSERT_OK(first);
  std::string pack;
  ASSERT_OK(store::ListAll(*store_, "packs/data/", [&](const store::ObjectInfo& info) -> Status {
    pack = info.key;
    return {};
  }));
  Bytes bytes = store_->Get(pack)->bytes;
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_OK(store_->Put(pack, bytes));
  const auto problem = [&] {
    const auto report = repo::VerifyStructure(*repository_);
    return report.ok() && report->problems.size() == 1 ? report->problems.front().what : "";
  };
  EXPECT_NE(problem().find("; point " + first->name.str() + " needs it"), std::string::npos);
  ASSERT_OK(Export(Request(device)));
  EXPECT_NE(problem().find("; 2 points need it, of them "), std::string::npos) << problem();
}

TEST_F(TransferTest, ImportChecksItsTarget) {
  MemoryDevice device(SomeBytes(random_, kMiB));
  const auto point = Export(Request(device));
  ASSERT_OK(point);
  MemoryDevice small(kMiB - 1);
  EXPECT_TRUE(ImportBlocks(*repository_, runtime_, {point->name, &small, false, nullptr})
                  .Is(Code::kInvalidArgument));
  MemoryDevice large(2 * kMiB, 0x55);
  ASSERT_OK(ImportBlocks(*repository_, runtime_, {point->name, &large, false, nullptr}));
  EXPECT_EQ(large.flushes, 1);
  EXPECT_TRUE(std::equal(device.bytes().begin(), device.bytes().end(), large.bytes().begin()));
  EXPECT_EQ(large.bytes().back(), 0x55);  // beyond the point's end nothing is touched
}

TEST_F(TransferTest, BadRequestsAreRefusedInWords) {
  MemoryDevice device(kMiB);
  auto request = Request(device);
  request.series = "a/b";
  EXPECT_TRUE(Export(request).Is(Code::kInvalidArgument));
  request = Request(device);
  request.snapshot = "snapshot-1";
  EXPECT_TRUE(Export(request).Is(Code::kInvalidArgument));
}

TEST_F(TransferTest, SnapshotIdsAscendWhateverTheClockSays) {
  std::string previous;
  for (int i = 0; i < 100; ++i) {
    const std::string next =
        NextSnapshotId(FromUnixSeconds(1700000000 - i * 100), random_, previous);
    EXPECT_TRUE(IsUlid(next)) << next;
    EXPECT_GT(next, previous);
    previous = next;
  }
  EXPECT_EQ(NextSnapshotId(FromUnixSeconds(0), random_, "01hzy3v7q4e8r2t6m9k1w5x0zz"),
            "01hzy3v7q4e8r2t6m9k1w5x100");
}

}  // namespace
}  // namespace thinsnap::mover
