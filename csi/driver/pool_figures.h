// What a pool shows of itself at /metrics: its space, what its volumes promise, what its snapshots
// hold, and, for each repository, how far its exports are behind.
#pragma once

#include <vector>

#include "base/core/clock.h"
#include "base/core/counters.h"
#include "csi/pool/thin_pool.h"

namespace thinsnap::driver {

// Describes the families and looks the figures up whenever they are asked for. Both outlive
// `counters`. A pool that does not answer shows thinsnap_pool_up 0 and nothing else.
void ShowPool(Counters& counters, pool::ThinPool& pool, Clock& clock);

// The figures of one pool, as a function of what it holds.
void SetPoolFigures(Counters& counters, const pool::PoolStatus& status,
                    const std::vector<pool::VolumeInfo>& volumes,
                    const std::vector<pool::SnapshotInfo>& snapshots, WallTime now);

}  // namespace thinsnap::driver
