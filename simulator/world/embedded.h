// The manifests of deploy/driver, put into the program at build time by the CMakeLists.txt beside
// this file.
#pragma once

#include <string_view>

namespace thinsnap::world {

extern const std::string_view kDriverManifests;

}  // namespace thinsnap::world
