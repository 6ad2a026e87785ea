<<<<<<< HEAD
// Defaults of built-in kinds, from a table.
=======
// Defaults of built-in kinds, as the API server fills them in on every request.
>>>>>>> d731240 (objects: rules around writes, defaults, custom resources and their schemas)
#pragma once

#include "base/data/json.h"
#include "simulator/objects/kinds.h"

namespace thinsnap::objects {

<<<<<<< HEAD
void DefaultBuiltin(const Kind& kind, const KindVersion& version, Json& object);
=======
void DefaultBuiltin(const Kind& kind, Json& object);
>>>>>>> d731240 (objects: rules around writes, defaults, custom resources and their schemas)

}  // namespace thinsnap::objects
