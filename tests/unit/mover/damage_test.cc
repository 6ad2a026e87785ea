// Every object of a repository damaged in turn: bits flipped, cut off, emptied, replaced, removed.
// Nothing wrong is ever restored, what does not need the object works on, whoever fails names it,
// verify finds it, and backups after it can be trusted.
#include <functional>
#include <gtest/gtest.h>

#include "snapshotter/mover/verify_blocks.h"
#include "snapshotter/repo/point_store.h"
#include "snapshotter/repo/repository_file.h"
#include "snapshotter/repo/tombstone.h"
#include "snapshotter/repo/verify.h"
#include "tests/unit/mover/fixture.h"

namespace thinsnap::mover {
namespace {

std::string BaseName(const std::string& key) { return key.substr(key.rfind('/') + 1); }

class DamageTest : public MoverTest, public ::testing::WithParamInterface<repo::Suite> {
 protected:
  struct Known {
    repo::PointInfo info;
    Bytes bytes;
    std::set<std::string> needs;  // keys
  };

  DamageTest() {
    Init(GetParam());
    // Three points of one volume, the tables of two in map packs; one of another; one forgotten.
    volume_.emplace(SomeBytes(random_, 1500 * kKiB));
    Keep(Request(*volume_));
    volume_->Cut();
    EXPECT_TRUE(volume_->WriteAt(300 * kKiB, SomeBytes(random_, 100 * kKiB)).ok());
    const repo::PointInfo base = known_.back().info;
    ExportRequest changed = Request(*volume_, &base);
    changed.inline_table_bytes = 1;
    Keep(changed);
    EXPECT_TRUE(volume_->WriteAt(0, SomeBytes(random_, 70 * kKiB)).ok());
    EXPECT_TRUE(volume_->Discard(800 * kKiB, 200 * kKiB).ok());
    ExportRequest reread = Request(*volume_);
    reread.inline_table_bytes = 1;
    Keep(reread);
    MemoryDevice other(SomeBytes(random_, 400 * kKiB));
    ExportRequest of_other = Request(other);
    of_other.series = "pool.other";
    Keep(of_other);
    ExportRequest forgotten = Request(other);
    forgotten.series = "pool.other";
    const auto gone = Export(forgotten);
    EXPECT_TRUE(gone.ok() && repository_->Forget(gone->name).ok());
    forgotten_ = repo::PointKey(gone->name);
    LeaveSession();
    const std::string tombstone = "gc/00000001";
    EXPECT_TRUE(store_
                    ->Put(tombstone, repository_->keyring().SealObject(
                                         random_, tombstone,
                                         repo::EncodeTombstone({repo::PackId::Draw(random_)})))
                    .ok());
    for (const std::string& key : Keys("")) sound_[key] = store_->Get(key)->bytes;
  }

  void Keep(const ExportRequest& request) {
    const auto info = Export(request);
    ASSERT_OK(info);
    Known known{*info, dynamic_cast<MemoryDevice*>(request.source)->bytes(), {}};
    const auto point = repo::ReadPoint(*store_, repository_->keyring(), info->name);
    ASSERT_OK(point);
    const auto table = repo::ReadPackTable(*store_, repository_->keyring(), *point);
    ASSERT_OK(table);
    known.needs = {repo::PointKey(info->name)};
    for (const auto& [id, entry] : table->entries()) {
      known.needs.insert(repo::PackKey(entry.kind, id));
    }
    for (const repo::TableRun& run : point->table_runs) {
      for (const auto& piece : run)
        known.needs.insert(repo::PackKey(repo::PackKind::kMap, piece.pack));
    }
    known_.push_back(std::move(known));
  }

  // An export whose store goes away leaves its session behind.
  void LeaveSession() {
    MemoryDevice device(SomeBytes(random_, 200 * kKiB));
    ExportRequest request = Request(device);
    request.series = "pool.third";
    faults_->Arm(6, FaultStore::Fault::kCutFromHere);
    EXPECT_FALSE(Export(request).ok());
    faults_->Disarm();
    EXPECT_EQ(Keys("sessions/").size(), 1U);
  }

  void Repair() {
    for (const std::string& key : Keys("")) {
      if (!sound_.contains(key)) ASSERT_OK(store_->Delete(key));
    }
    for (const auto& [key, bytes] : sound_) ASSERT_OK(store_->Put(key, bytes));
  }

  bool Reopen(const std::string& damaged) {
    repo::OpenOptions options;
    if (GetParam() == repo::Suite::kSealed) options.passphrase = Secret("correct horse");
    auto opened = repo::OpenRepository(*faults_, runtime_, random_, options);
    if (opened.ok()) {
      repository_ = std::move(opened).value();
      return true;
    }
    EXPECT_TRUE(damaged == "repo.json" || damaged.starts_with("keys/"))
        << opened.error().ToString();
    ExpectNamed(opened.error(), damaged);
    return false;
  }

  static void ExpectNamed(const Error& error, const std::string& damaged) {
    EXPECT_NE(error.message().find(BaseName(damaged)), std::string::npos) << error.ToString();
  }

  void CheckReading(const std::string& damaged) {
    std::set<repo::PointName> listed;
    const auto points =
        repository_->ListPoints("", [&](const repo::PointName& name, const Error& e) {
          EXPECT_EQ(repo::PointKey(name), damaged);
          ExpectNamed(e, damaged);
        });
    ASSERT_OK(points);
    for (const auto& point : *points) listed.insert(point.name);
    for (const Known& known : known_) {
      SCOPED_TRACE("point " + known.info.name.str());
      const bool needs = known.needs.contains(damaged);
      EXPECT_TRUE(listed.contains(known.info.name) || damaged == repo::PointKey(known.info.name));
      const auto restored = Restore(known.info);
      if (restored.ok()) {
        EXPECT_TRUE(*restored == known.bytes) << "wrong bytes were restored";
        continue;
      }
      EXPECT_TRUE(needs) << restored.error().ToString();
      EXPECT_TRUE(restored.Is(Code::kDataLoss) || restored.Is(Code::kNotFound))
          << restored.error().ToString();
      ExpectNamed(restored.error(), damaged);
    }
  }

  void CheckVerify(const std::string& damaged, bool removed) {
    const auto report = repo::VerifyStructure(*repository_);
    ASSERT_OK(report);
    bool found = false;
    for (const repo::Problem& problem : report->problems) {
      EXPECT_TRUE(problem.object == damaged ||
                  problem.what.find(BaseName(damaged)) != std::string::npos)
          << problem.object << ": " << problem.what;
      found = true;
    }
    // From inside nobody can tell that the last word of a series was taken away, or what was no
    // part of any point.
    const bool last_of_series =
        damaged == repo::PointKey(known_[2].info.name) || damaged == forgotten_;
    const bool part_of_none = damaged.starts_with("sessions/") || damaged.starts_with("gc/") ||
                              damaged.starts_with("keys/") || damaged == "repo.json";
    bool named = damaged.starts_with("points/");
    for (const Known& known : known_) named = named || known.needs.contains(damaged);
    const bool nobody_can_know = removed && (last_of_series || part_of_none || !named ||
                                             damaged == repo::PointKey(known_[3].info.name));
    EXPECT_TRUE(found || nobody_can_know);
    VerifiedRecords verified;
    for (const repo::PointName& name : report->sound_points) {
      const Status read = VerifyBlocks(*repository_, runtime_, name, verified);
      if (!read.ok()) ExpectNamed(read.error(), damaged);
    }
  }

  // A backup after the damage: either it says what is wrong, or its restore does, or all is well;
  // and one that shares nothing is well in any case.
  void CheckBackup(const std::string& damaged) {
    EXPECT_TRUE(volume_->WriteAt(1000 * kKiB, SomeBytes(random_, 40 * kKiB)).ok());
    const auto next = Export(Request(*volume_));
    if (next.ok()) {
      const auto restored = Restore(*next);
      if (restored.ok()) {
        EXPECT_TRUE(*restored == volume_->bytes());
      } else {
        EXPECT_TRUE(damaged.starts_with("packs/data/")) << "the damage was in sight";
        ExpectNamed(restored.error(), damaged);
      }
    } else {
      EXPECT_TRUE(damaged.starts_with("gc/")) << next.error().ToString();
      ExpectNamed(next.error(), damaged);
      return;
    }
    ExportRequest request = Request(*volume_);
    request.anew = true;
    const auto anew = Export(request);
    ASSERT_OK(anew);
    EXPECT_EQ(anew->mode, repo::ExportMode::kFull);
    ExpectRestores(*anew, volume_->bytes());
    for (const Known& known : known_) {
      if (!known.needs.contains(damaged)) ExpectRestores(known.info, known.bytes);
    }
  }

  void Check(const std::string& key, std::optional<Bytes> bytes, bool backup) {
    if (bytes) {
      ASSERT_OK(store_->Put(key, *bytes));
    } else {
      ASSERT_OK(store_->Delete(key));
    }
    if (Reopen(key)) {
      CheckReading(key);
      CheckVerify(key, !bytes);
      if (backup) CheckBackup(key);
    }
    Repair();
  }

  std::optional<MemoryDevice> volume_;
  std::vector<Known> known_;
  std::string forgotten_;
  std::map<std::string, Bytes> sound_;
};

TEST_P(DamageTest, FlippedBits) {
  for (const auto& [key, bytes] : sound_) {
    SCOPED_TRACE(key);
    const bool small = bytes.size() < 1000;
    for (int round = 0; round < (small ? 12 : 20); ++round) {
      // Somewhere, or near one of the ends.
      std::uint64_t at = random_.Below(bytes.size());
      if (round % 4 == 1) at = random_.Below(std::min<std::uint64_t>(bytes.size(), 64));
      if (round % 4 == 2)
        at = bytes.size() - 1 - random_.Below(std::min<std::uint64_t>(bytes.size(), 400));
      SCOPED_TRACE("byte " + std::to_string(at));
      Bytes damaged = bytes;
      damaged[at] ^= static_cast<std::uint8_t>(1U << random_.Below(8));
      Check(key, damaged, round < 2);
      if (HasFailure()) return;
    }
  }
}

TEST_P(DamageTest, EveryBitOfWhatIsReadWithoutAKey) {
  for (const auto& [key, bytes] : sound_) {
    if (key != "repo.json" && !key.starts_with("keys/")) continue;
    SCOPED_TRACE(key);
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      Bytes damaged = bytes;
      damaged[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
      ASSERT_OK(store_->Put(key, damaged));
      EXPECT_FALSE(Reopen(key)) << "bit " << bit << " of " << AsText(damaged);
      if (HasFailure()) return;
    }
    ASSERT_OK(store_->Put(key, bytes));
  }
}

TEST_P(DamageTest, CutOffAndEmptied) {
  for (const auto& [key, bytes] : sound_) {
    SCOPED_TRACE(key);
    // The line feed behind a JSON document is none of its content.
    const bool is_json = key == "repo.json" || key.starts_with("keys/");
    for (const std::size_t length :
         {std::size_t{0}, std::size_t{1}, bytes.size() / 2, bytes.size() - 5, bytes.size() - 1}) {
      SCOPED_TRACE("cut to " + std::to_string(length));
      if (is_json && length == bytes.size() - 1) continue;
      Check(key, Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length)),
            length == bytes.size() / 2);
      if (HasFailure()) return;
    }
    SCOPED_TRACE("zeros");
    Check(key, Bytes(bytes.size(), 0), false);
    if (HasFailure()) return;
    SCOPED_TRACE("something behind");
    Bytes longer = bytes;
    longer.push_back('\n');
    if (!is_json) Check(key, longer, false);
    if (HasFailure()) return;
  }
}

TEST_P(DamageTest, Removed) {
  for (const auto& [key, bytes] : sound_) {
    SCOPED_TRACE(key);
    Check(key, std::nullopt, true);
    if (HasFailure()) return;
  }
}

// A stranger with the right to write puts sound objects in each other's places.
TEST_P(DamageTest, Exchanged) {
  for (const auto& [key, bytes] : sound_) {
    if (key == "repo.json" || key.starts_with("keys/")) continue;
    const std::string folder = key.substr(0, key.find('/', 6));
    for (const auto& [other, of_other] : sound_) {
      if (other == key || !other.starts_with(folder)) continue;
      SCOPED_TRACE(key + " has what is " + other + "'s");
      Check(key, of_other, false);
      if (HasFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Suites, DamageTest,
                         ::testing::Values(repo::Suite::kSealed, repo::Suite::kPlain),
                         [](const auto& test) {
                           return test.param == repo::Suite::kSealed ? "Sealed" : "Plain";
                         });

}  // namespace
}  // namespace thinsnap::mover
