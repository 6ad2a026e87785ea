// WorldState: what `up` remembers in its data folder besides the API server's objects: which nodes
// there are, which were destroyed, and the random name under which this world appears in cgroups.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/core/random.h"
#include "base/core/result.h"

namespace thinsnap::world {

struct WorldState {
  std::string id;                   // of cgroups: "thinsnap-<id>"
  std::set<std::string> destroyed;  // node names that never come back
};

// The control group in which all containers of the world are.
inline std::string CgroupOf(const WorldState& state) { return "thinsnap-" + state.id; }

// Makes it at first.
Result<WorldState> LoadWorldState(const std::string& path, Random& random);
// Durable when it returns.
Status SaveWorldState(const std::string& path, const WorldState& state);

// node-1 ... node-N without those that were destroyed.
std::vector<std::string> NodeNames(int count, const WorldState& state);

}  // namespace thinsnap::world
