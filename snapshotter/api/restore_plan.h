// Which claim of a RestoreSession gets the data of which volume of a Snapshot. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"
#include "base/data/json.h"

namespace thinsnap::backup {

// A volume as the Snapshot's status has it.
struct SourceVolume {
  std::string component, claim, volume_snapshot, handle, driver, volume_mode;
  std::uint64_t size_bytes = 0;  // 0: unknown
};

struct PlannedVolume {
  SourceVolume source;
  Json claim_template;  // expanded: ${POD_ORDINAL} and ${COMPONENT_NAME} are filled in
  std::string claim() const;
};

// The volumes of all ended components, or of those named. kNotFound names a component that is not
// there.
Result<std::vector<SourceVolume>> SourcesOf(const Json& snapshot,
                                            const std::vector<std::string>& components);

// A template for one component; "volumesnapshot-pod-2" has the ordinal 2.
Json ExpandTemplate(const Json& claim_template, std::string_view component);

// Matches by the annotation `annotation` (source-claim), then by equal name, then by order where as
// many are left on both sides. kInvalidArgument: a sentence with the field, what was found and what
// is accepted.
Result<std::vector<PlannedVolume>> PlanRestore(const std::vector<SourceVolume>& sources,
                                               const JsonArray& templates,
                                               const std::string& annotation);

// "1Gi", "500M", "1073741824", "1.5Gi".
Result<std::uint64_t> ParseQuantity(std::string_view text);
// Exactly, in the largest binary unit that fits: "1Gi", "1073741825".
std::string QuantityText(std::uint64_t bytes);

}  // namespace thinsnap::backup
