// The text of wire.txt, embedded by the build.
#pragma once

#include <string_view>

namespace thinsnap::objects {

extern const std::string_view kWireTable;

}  // namespace thinsnap::objects
