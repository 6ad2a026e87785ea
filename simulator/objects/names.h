// The syntax of names, labels and finalizers
// (k8s.io/docs/concepts/overview/working-with-objects/names).
#pragma once

#include <string>
#include <string_view>

#include "base/data/json.h"
#include "simulator/schema/api_error.h"

namespace thinsnap::objects {

// Each returns "" if the text is fine, else why not.
std::string CheckDnsLabel(std::string_view text);
std::string CheckDnsSubdomain(std::string_view text);
std::string CheckPathSegment(std::string_view text);
std::string CheckQualifiedName(std::string_view text);  // [prefix/]name
std::string CheckLabelValue(std::string_view text);
std::string CheckConfigKey(std::string_view text);

// The labels of the object at `path`, appended to errors.
void CheckLabels(const Json& object, const std::string& path, schema::FieldErrors& errors);

}  // namespace thinsnap::objects
