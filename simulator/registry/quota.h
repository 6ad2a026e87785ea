// ResourceQuota: how much of a namespace's allowance is used, counted from the store each time.
#pragma once

#include <map>
#include <string>

#include "base/data/json_fwd.h"
#include "simulator/objects/store.h"
#include "simulator/schema/api_error.h"
#include "simulator/schema/kinds.h"
#include "simulator/schema/quantity.h"

namespace thinsnap::registry {

// Whether some quota of the namespace speaks of objects of this kind.
bool IsCounted(const objects::VersionedStore& store, const std::string& ns,
               const schema::Kind& kind);
// Forbidden if a quota would be exceeded by this new object.
schema::ApiStatus CheckQuota(const objects::VersionedStore& store, const std::string& ns,
                             const schema::Kind& kind, const Json& object);
// Writes status.hard and status.used of the namespace's quotas.
void RefreshQuotas(objects::VersionedStore& store, const std::string& ns);

}  // namespace thinsnap::registry
