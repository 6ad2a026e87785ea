// The objects that every cluster has from its first moment: namespaces and the roles that people
// and programs expect.
#pragma once

#include <vector>

#include "base/data/json_fwd.h"

namespace thinsnap::registry {

std::vector<Json> BootstrapObjects();

}  // namespace thinsnap::registry
