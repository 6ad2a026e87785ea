// Defaults of built-in kinds, as the API server fills them in on every request.
#pragma once

#include "base/data/json.h"
#include "simulator/objects/kinds.h"

namespace thinsnap::objects {

void DefaultBuiltin(const Kind& kind, const KindVersion& version, Json& object);

}  // namespace thinsnap::objects
