// The control groups that containers of this world leave behind when it dies without warning: empty
// folders.
#pragma once

#include <string>

namespace thinsnap::containers {

// Removes the folder `name` ("thinsnap-x") with all below from every hierarchy. What still has
// processes stays: false.
bool RemoveCgroups(const std::string& name);

}  // namespace thinsnap::containers
