// JSONPath, the subset of columns: .a.b, ['a.b'], [0], [-1], [*], [?(@.type=="Ready")], leading "$"
// or braces optional.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/core/result.h"
#include "base/data/json.h"

namespace thinsnap::objects {

class JsonPath {
 public:
  static Result<JsonPath> Parse(std::string_view text);
  // Everything it points at, in order; pointers into `value`.
  std::vector<const Json*> Find(const Json& value) const;

  struct Step;

 private:
  std::shared_ptr<const std::vector<Step>> steps_;
};

}  // namespace thinsnap::objects
