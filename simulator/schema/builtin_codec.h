// The typed pass over objects of built-in kinds: what Go's decoder and encoder do to them between
// request and store.
#pragma once

#include <string>
#include <vector>

#include "base/data/json.h"
#include "simulator/schema/api_error.h"
#include "simulator/schema/schema.h"

namespace thinsnap::schema {

// The value as the type has it: unknown members are left out (and named in `unknown`, "spec.x"),
// nulls and empty optional members too; quantities and times are canonical; structs and scalars
// that Go always writes are there. The error says what cannot be of the type, without context.
Result<Json> ConvertBuiltin(const Schema& schema, Json value, std::vector<std::string>* unknown);

}  // namespace thinsnap::schema
