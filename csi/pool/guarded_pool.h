// GuardedThinPool: refuses what would fill the pool, with the figures, before anything is touched.
// A thin pool that runs full takes every volume on it down.
#pragma once

#include <memory>

#include "csi/pool/thin_pool.h"

namespace thinsnap::pool {

struct GuardOptions {
  // Free space below which nothing new is made: the larger of the two, of data and of metadata.
  double headroom_fraction = 0.05;
  std::uint64_t headroom_bytes = 0;
  // Volumes may promise this many times the pool's size in sum; 0: any.
  double overprovision = 0;
};

std::unique_ptr<ThinPool> MakeGuardedThinPool(std::unique_ptr<ThinPool> inner,
                                              GuardOptions options);

// The decision itself. `wanted_bytes` is the size of a new or grown volume, 0 for a snapshot;
// `promised_bytes` is the sum of the other volumes' sizes; `fill_bytes` are as good as taken.
Status CheckHeadroom(const PoolStatus& status, std::uint64_t wanted_bytes,
                     std::uint64_t promised_bytes, const GuardOptions& options,
                     std::uint64_t fill_bytes = 0);

// What CheckHeadroom would let through, into the status.
void SetCapacity(PoolStatus& status, std::uint64_t promised_bytes, const GuardOptions& options);

}  // namespace thinsnap::pool
