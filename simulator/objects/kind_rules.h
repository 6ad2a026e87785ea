// What single kinds do to their objects around a write, beyond the rules of all.
#pragma once

#include <string>

#include "base/core/clock.h"
#include "base/data/json.h"
#include "simulator/schema/kinds.h"

namespace thinsnap::objects {

// The object has its uid. Job selector and labels, Namespace finalizers, the
// data sources of a claim, phase and quality of service of a pod.
void PrepareKindCreate(const schema::Kind& kind, Json& object, WallTime now);
void PrepareKindUpdate(const schema::Kind& kind, const Json& old, Json& object);
// Guaranteed, Burstable or BestEffort.
std::string QualityOfService(const Json& pod);
void PrepareServiceUpdate(const Json& old, Json& object);

}  // namespace thinsnap::objects
