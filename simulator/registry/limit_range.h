// LimitRanges: what a namespace gives containers that name no amounts, and the least and the most
// that it lets them and claims have.
#pragma once

#include <string>

#include "base/data/json_fwd.h"
#include "simulator/objects/store.h"
#include "simulator/schema/api_error.h"

namespace thinsnap::registry {

// Fills in a new pod's amounts. Forbidden if those of a new pod or claim are out of bounds.
schema::ApiStatus ApplyLimitRanges(const objects::VersionedStore& store, const std::string& ns,
                                   std::string_view resource, Json& object);

}  // namespace thinsnap::registry
