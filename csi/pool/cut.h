// Cut: how snapshots come to be, the same in every pool: names and volumes are claimed, the volumes
// pinned and held, the time taken, the copies made, the hold checked, and only then the copies get
// their names. Nothing is locked while anybody waits.
#pragma once

#include <optional>
#include <vector>

#include "base/core/clock.h"
#include "base/core/random.h"
#include "csi/pool/thin_pool.h"
#include "csi/pool/volume_locks.h"

namespace thinsnap::pool {

// What of it differs between pools. A request without a name is one snapshot alone.
class CutSteps {
 public:
  virtual ~CutSteps() = default;
  // What the request stands for, if it is there already; an error where it cannot be.
  virtual Result<std::optional<GroupInfo>> FindCut(const GroupRequest& request) = 0;
  // The record of one that is about to be made.
  virtual Result<SnapshotInfo> DescribeCut(const SnapshotRequest& request, WallTime cut) = 0;
  // Copies the volumes, which stand still. Nobody finds the copies yet.
  virtual Status CopyAll(const std::vector<SnapshotInfo>& members) = 0;
  // Makes them what their names stand for: all or none, durable.
  virtual Status PlaceAll(const std::vector<SnapshotInfo>& members) = 0;
  // Removes what was made of them, also what was placed.
  virtual void Abandon(const std::vector<SnapshotInfo>& members) = 0;
};

// Thread-safe.
class Cuts {
 public:
  Cuts(Clock& clock, Random& random) : clock_(clock), random_(random) {}

  Result<GroupInfo> Make(const GroupRequest& request, ThinPool& pool, CutSteps& steps,
                         Quiesce& quiesce);

 private:
  Clock& clock_;
  Random& random_;
  VolumeLocks claims_;
};

}  // namespace thinsnap::pool
