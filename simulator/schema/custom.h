// Custom resources by their schema: pruning, defaulting and validation of values.
#pragma once

#include <string>
#include <vector>

#include "base/data/json.h"
#include "simulator/schema/api_error.h"
#include "simulator/schema/schema.h"

namespace thinsnap::schema {

// Removes members that the schema does not know; their paths go to `pruned` ("spec.dropped") if
// given. The root's apiVersion, kind and metadata are left alone.
void Prune(const Schema& schema, Json& object, std::vector<std::string>* pruned = nullptr);

// Fills in defaults; a null where the schema has a default and is not nullable counts as absent,
// other such nulls are dropped.
void DefaultBySchema(const Schema& schema, Json& object);

// Types, constraints, list uniqueness, CEL rules. `old` is null for a create.
FieldErrors ValidateBySchema(const Schema& schema, const Json& object, const Json* old);

}  // namespace thinsnap::schema
