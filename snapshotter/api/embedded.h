// The manifests of deploy/, put into the program at build time by the CMakeLists.txt beside this
// file.
#pragma once

#include <string_view>

namespace thinsnap::backup {

extern const std::string_view kCrdManifests;
extern const std::string_view kCatalogManifests;

}  // namespace thinsnap::backup
