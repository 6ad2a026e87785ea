// Server-side apply and the bookkeeping of metadata.managedFields.
#pragma once

#include <string>

#include "base/core/clock.h"
#include "base/data/json.h"
#include "simulator/schema/api_error.h"
#include "simulator/schema/schema.h"

namespace thinsnap::objects {

struct FieldManager {
  std::string name;         // "kubectl"
  std::string api_version;  // of the request: "v1"
  std::string subresource;  // "" or "status"
};

// After an ordinary create or update (any patch but apply): `object` gets managedFields in which
// the manager owns what this write changed. `old` is null for a create. A client may empty
// managedFields by sending [] or [{}].
void TrackUpdate(const schema::Schema& schema, const Json* old, Json& object,
                 const FieldManager& manager, WallTime now);

// The object after the apply, with managedFields; not yet defaulted. `live` is null when there is
// none yet. 409 with the conflicts as causes unless `force`; 400 when the patch has managedFields.
// `patch` is decoded (DecodeValue).
schema::ApiResult<Json> ApplyConfiguration(const schema::Schema& schema, const Json* live,
                                           const Json& patch, const FieldManager& manager,
                                           bool force, WallTime now);

}  // namespace thinsnap::objects
