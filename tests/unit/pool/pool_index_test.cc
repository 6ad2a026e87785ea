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

}  // namespace
}  // namespace thinsnap::pool
