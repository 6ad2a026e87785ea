#include "simulator/schema/schema.h"

#include <algorithm>

namespace thinsnap::schema {

const Property* Schema::FindProperty(std::string_view name) const {
  const auto found = std::lower_bound(
      properties.begin(), properties.end(), name,
      [](const Property& property, std::string_view wanted) { return property.name < wanted; });
  return found != properties.end() && found->name == name ? &*found : nullptr;
}

}  // namespace thinsnap::schema
