// HorizontalPodAutoscalers in their two versions: v1 has a share of the CPU, v2 any metrics.
#pragma once

#include <string_view>

#include "base/data/json_fwd.h"

namespace thinsnap::schema {

// Nothing is lost: what v1 has no field for stands in its annotations, as the API has it.
void ConvertAutoscaler(std::string_view to_version, Json& autoscaler);

}  // namespace thinsnap::schema
