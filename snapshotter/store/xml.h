// The XML that S3 speaks: elements and text. Strict and bounded: no document types, no entities but
// the five and numeric ones, attributes are checked and dropped, namespaces' prefixes are part of
// the name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"

namespace thinsnap::store {

struct XmlElement {
  std::string name;
  std::string text;  // all character data of this element itself
  std::vector<XmlElement> children;

  // The first child of that name; null if there is none.
  const XmlElement* Child(std::string_view child_name) const;
  // Its text; empty if there is none.
  std::string TextOf(std::string_view child_name) const;
};

// The root. kInvalidArgument with the offset; more than 16 levels or `max_elements` elements are
// refused.
Result<XmlElement> ParseXml(std::string_view text, std::size_t max_elements = 100'000);

// Escapes for character data. Characters that XML cannot hold become U+FFFD.
std::string XmlEscape(std::string_view text);

}  // namespace thinsnap::store
