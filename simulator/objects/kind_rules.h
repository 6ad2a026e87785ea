// What single kinds do to their objects around a write, beyond the rules of all.
#pragma once

#include "base/data/json.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::objects {

// The object has its uid. Job selector and labels, Secret stringData, Namespace finalizers, the
// data sources of a claim, phase and quality of service of a pod.
void PrepareKindCreate(const schema::Kind& kind, Json& object);
void PrepareKindUpdate(const schema::Kind& kind, const Json& old, Json& object);
void PrepareServiceUpdate(const Json& old, Json& object);

}  // namespace thinsnap::objects
