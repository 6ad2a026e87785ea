// Which node a new volume goes to.
#pragma once

#include <string>
#include <vector>

#include "base/core/result.h"
#include "csi/driver/pool_object.h"

namespace thinsnap::controller {

struct PlacementWish {
  std::uint64_t size_bytes = 0;
  std::vector<std::string> nodes;      // topology values that are allowed; empty: all
  std::vector<std::string> preferred;  // in this order
  pool::PoolId source;                 // that holds the source; empty: none
  std::string ns;                      // of the claim
};

// Pools in the order in which they are tried: the one that holds the source, those of preferred
// nodes, the one with most volumes of the namespace, those with most free space. Pools that are too
// small, silent or not healthy are left out; kResourceExhausted with each pool's figures when none
// is left.
Result<std::vector<driver::PoolRecord>> PlanPlacement(const std::vector<driver::PoolRecord>& pools,
                                                      const PlacementWish& wish);

}  // namespace thinsnap::controller
