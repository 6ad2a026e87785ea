#include "csi/pool/pool_index.h"

#include <gtest/gtest.h>

namespace thinsnap::pool {
namespace {

// A node whose clock ran ahead once, or that starts in 1970, goes on at once: each id is greater
// than the one before, and there is no limit to how far behind the clock may be.
TEST(PoolIndexTest, SnapshotIdsGrowWhateverTheClockSays) {
  SeededRandom random(1);
  PoolIndex index;
  const VolumeId volume("v");
  WallTime now(std::chrono::hours(24 * 365 * 60));
  SnapshotId last;
  for (int i = 0; i < 1000; ++i) {
    if (i == 1) now = WallTime();
    SnapshotInfo snapshot;
    snapshot.id = index.NewSnapshotId(volume, now, random);
    ASSERT_GT(snapshot.id, last);
    ASSERT_TRUE(IsUlid(snapshot.id.str()));
    snapshot.name = "s" + std::to_string(i);
    snapshot.volume = volume;
    last = snapshot.id;
    index.Put(snapshot);
  }
}

// A restore point may bear the id of a snapshot that is gone: another cut is never taken for it,
// neither of this life of the pool nor of the next, with the clock far behind.
TEST(PoolIndexTest, NoIdIsGivenTwice) {
  SeededRandom random(2);
  PoolIndex index;
  VolumeInfo volume;
  volume.id = VolumeId("v");
  volume.name = "v";
  index.Put(volume);
  WallTime now(std::chrono::hours(24 * 365 * 60));
  SnapshotId last;
  for (int i = 0; i < 100; ++i) {
    if (i == 1) now = WallTime();
    SnapshotInfo snapshot;
    snapshot.id = index.NewSnapshotId(volume.id, now, random);
    ASSERT_GT(snapshot.id, last);
    snapshot.name = "s";
    snapshot.volume = volume.id;
    last = snapshot.id;
    index.Put(snapshot);
    const auto record = index.RecordWithout(snapshot.id);
    ASSERT_TRUE(record);
    index.Erase(snapshot.id);
    if (i % 2 == 0) continue;
    index = PoolIndex();
    index.Put(*record);
  }
}

}  // namespace
}  // namespace thinsnap::pool
