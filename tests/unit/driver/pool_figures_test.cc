#include "csi/driver/pool_figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "csi/pool/tags.h"

namespace thinsnap::driver {
namespace {

using ::testing::HasSubstr;

constexpr WallTime kNow = WallTime(std::chrono::hours(500'000));

class PoolFiguresTest : public ::testing::Test {
 protected:
  std::string Figures() {
    Counters counters;
    pool::PoolStatus status;
    status.id = pool::PoolId("p");
    status.size_bytes = 1000;
    status.free_bytes = 250;
    SetPoolFigures(counters, status, volumes_, snapshots_, kNow);
    return counters.Render();
  }

  void AddSnapshot(const std::string& id, Duration age, pool::Tags tags) {
    pool::SnapshotInfo snapshot;
    snapshot.id = pool::SnapshotId(id);
    snapshot.cut = kNow - age;
    snapshot.tags = std::move(tags);
    snapshots_.push_back(std::move(snapshot));
  }

  std::vector<pool::VolumeInfo> volumes_;
  std::vector<pool::SnapshotInfo> snapshots_;
};

TEST_F(PoolFiguresTest, SumsWhatVolumesPromise) {
  for (int i = 0; i < 3; ++i) {
    pool::VolumeInfo volume;
    volume.size_bytes = 700;
    if (i == 1) volume.tags[tags::kImporting] = "ts1.p.v.s@r";
    volumes_.push_back(volume);
  }
  const std::string text = Figures();
  EXPECT_THAT(text, HasSubstr("thinsnap_pool_promised_bytes{pool=\"p\"} 2100\n"));
  EXPECT_THAT(text, HasSubstr("thinsnap_pool_free_bytes{pool=\"p\"} 250\n"));
  EXPECT_THAT(text, HasSubstr("thinsnap_import_volumes{pool=\"p\"} 1\n"));
}

TEST_F(PoolFiguresTest, OneSlowRepositoryIsSeenBesideAHealthyOne) {
  AddSnapshot(
      "a", std::chrono::hours(2),
      {{tags::kRepositories, "fast,slow"}, {std::string(tags::kPointPrefix) + "fast", "x"}});
  AddSnapshot("b", std::chrono::minutes(1), {{tags::kRepositories, "slow"}});
  AddSnapshot("c", std::chrono::hours(9), {{tags::kRepositories, "slow"}, {tags::kHidden, "1"}});
  const std::string text = Figures();
  EXPECT_THAT(text, HasSubstr("thinsnap_export_pending{pool=\"p\",repository=\"fast\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("thinsnap_export_pending{pool=\"p\",repository=\"slow\"} 2\n"));
  EXPECT_THAT(
      text,
      HasSubstr("thinsnap_export_oldest_pending_seconds{pool=\"p\",repository=\"slow\"} 7200\n"));
}

TEST_F(PoolFiguresTest, ACutFromTheFutureHasNoNegativeAge) {
  AddSnapshot("a", -std::chrono::hours(1), {{tags::kRepositories, "r"}});
  EXPECT_THAT(Figures(),
              HasSubstr("thinsnap_export_oldest_pending_seconds{pool=\"p\",repository=\"r\"} 0\n"));
}

}  // namespace
}  // namespace thinsnap::driver
