// Defaults of built-in kinds, as the API server fills them in on every request.
#pragma once

#include "base/data/json.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::schema {

void DefaultBuiltin(const Kind& kind, const KindVersion& version, Json& object);

}  // namespace thinsnap::schema
