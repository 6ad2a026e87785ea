#include "csi/controller/placement.h"

#include <algorithm>
#include <tuple>

#include "base/core/bytes.h"
#include "csi/driver/request.h"

namespace thinsnap::controller {
namespace {

template <typename List>
bool Contains(const List& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

// Why the pool is not taken, or "".
std::string Obstacle(const driver::PoolRecord& pool, const PlacementWish& wish) {
  if (!wish.nodes.empty() && !Contains(wish.nodes, driver::TopologyValue(pool.node)))
    return "not in the topology";
  if (pool.silent) return "silent: its node writes no heartbeat";
  if (!pool.healthy) return pool.reason.empty() ? "not healthy" : pool.reason;
  if (pool.size_bytes < wish.size_bytes) return "too small";
  return "";
}

int VolumesOf(const driver::PoolRecord& pool, const std::string& ns) {
  const auto found = pool.volumes_by_namespace.find(ns);
  return found == pool.volumes_by_namespace.end() ? 0 : found->second;
}

}  // namespace

Result<std::vector<driver::PoolRecord>> PlanPlacement(const std::vector<driver::PoolRecord>& pools,
                                                      const PlacementWish& wish) {
  std::vector<driver::PoolRecord> fit;
  std::string figures;
  for (const driver::PoolRecord& pool : pools) {
    const std::string obstacle = Obstacle(pool, wish);
    if (obstacle.empty()) fit.push_back(pool);
    figures += (figures.empty() ? "" : "; ") + ("pool " + pool.id.str()) + " on node " + pool.node +
               " has " + FormatSize(pool.free_bytes) + " free of " + FormatSize(pool.size_bytes) +
               (obstacle.empty() ? "" : ", " + obstacle);
  }
  if (fit.empty()) {
    return Error(Code::kResourceExhausted, "no pool takes a volume of " +
                                               FormatSize(wish.size_bytes) + ": " +
                                               (figures.empty() ? "there are no pools" : figures));
  }
  const auto rank = [&](const driver::PoolRecord& pool) {
    const auto at =
        std::find(wish.preferred.begin(), wish.preferred.end(), driver::TopologyValue(pool.node));
    return std::tuple(pool.id == wish.source ? 0 : 1, at - wish.preferred.begin(),
                      wish.ns.empty() ? 0 : -VolumesOf(pool, wish.ns), ~pool.free_bytes,
                      pool.id.str());
  };
  std::sort(fit.begin(), fit.end(), [&](const driver::PoolRecord& a, const driver::PoolRecord& b) {
    return rank(a) < rank(b);
  });
  return fit;
}

}  // namespace thinsnap::controller
