// The text of wire.txt, embedded by the build.
#pragma once

#include <string_view>

namespace thinsnap::schema {

extern const std::string_view kWireTable;

}  // namespace thinsnap::schema
