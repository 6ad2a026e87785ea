// YAML in and out as JSON values, through libyaml. YAML 1.2 core scalars; also what Kubernetes
// manifests rely on: 0644 is octal, plain yes/no/on/off stay strings, duplicate keys and anchors
// that blow up are errors.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"
#include "base/data/json_fwd.h"

namespace thinsnap {

// One document; kInvalidArgument with the line. An empty document is null.
Result<Json> ParseYaml(std::string_view text);
// All documents of a stream, empty ones left out.
Result<std::vector<Json>> ParseYamlStream(std::string_view text);
std::string ToYaml(const Json& value);

}  // namespace thinsnap
