// RemoveTree: rm -r that stays on one filesystem, so that a volume still mounted inside is never
// emptied.
#pragma once

#include <string>

namespace thinsnap::containers {

// Removes what it can; missing is fine.
void RemoveTree(const std::string& path);

}  // namespace thinsnap::containers
