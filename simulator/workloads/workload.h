// What the plans of this folder share: hashes of pod templates, percentages, which pods go first.
// Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/data/json.h"

namespace thinsnap::workloads {

// The same for equal templates, whatever the order of their members; letters that are fit for names
// and labels.
std::string TemplateHash(const Json& pod_template);

// "25%" of total, or a number. Absent: the fallback.
std::int64_t ScaledValue(const Json* int_or_percent, std::int64_t total, bool round_up,
                         std::int64_t fallback);

// The pods to delete first when there are too many: those without a node, not running, not ready,
// then the youngest.
void SortForRemoval(std::vector<const Json*>& pods);

}  // namespace thinsnap::workloads
