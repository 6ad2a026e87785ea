// The records of volumes and snapshots as JSON, for pools that keep them in files.
#pragma once

#include "base/data/json_fwd.h"
#include "csi/pool/thin_pool.h"

namespace thinsnap::pool {

Json ToRecord(const VolumeInfo& volume);
Json ToRecord(const SnapshotInfo& snapshot);
// kDataLoss when a field is missing or not what it should be.
Result<VolumeInfo> VolumeFromRecord(const Json& record);
Result<SnapshotInfo> SnapshotFromRecord(const Json& record);

}  // namespace thinsnap::pool
