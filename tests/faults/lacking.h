// Objects that lack one field which all others of their kind have.
#pragma once

#include <string>
#include <vector>

#include "base/data/json.h"

namespace thinsnap::faults {

struct Lacking {
  std::string what;  // "spec.template left out"
  Json object;
};

// For each member at any depth the object without it, and with null in its place. Its name and its
// namespace stay.
std::vector<Lacking> LackingOneField(const Json& object);

}  // namespace thinsnap::faults
