// Which snapshots of a volume keep their thin device: those that are not everywhere yet, the newest
// localCopies of those that are, and the base of the next increment for each repository.
#pragma once

#include <vector>

#include "csi/pool/thin_pool.h"

namespace thinsnap::transfer {

struct LocalCopiesPlan {
  std::vector<pool::SnapshotId> drop;    // give the device back, keep the record
  std::vector<pool::SnapshotId> remove;  // hidden, and no base any more
};

// snapshots: all of one volume, sorted by id. tight: the pool is full: hidden bases go too, and of
// the copies only the newest stays.
LocalCopiesPlan PlanLocalCopies(const std::vector<pool::SnapshotInfo>& snapshots,
                                bool volume_exists, bool tight);

// Whether an increment of some repository would start from this snapshot: it is the newest one
// there with a device.
bool IsBase(const std::vector<pool::SnapshotInfo>& snapshots, const pool::SnapshotInfo& snapshot);

// The newest older snapshot with a device that the repository has; null if there is none.
const pool::SnapshotInfo* ChooseBase(const std::vector<pool::SnapshotInfo>& snapshots,
                                     const pool::SnapshotInfo& target,
                                     const std::string& repository);

}  // namespace thinsnap::transfer
