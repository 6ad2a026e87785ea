// Volumes that are folders of the node itself (emptyDir, hostPath), and places below a volume
// (subPath).
#pragma once

#include <string>

#include "base/core/result.h"
#include "base/data/json.h"

namespace thinsnap::kubelet {

// An emptyDir at the path. True if something is mounted there: medium Memory, whose sizeLimit
// holds.
Result<bool> MakeEmptyFolder(const Json& source, const std::string& path);

// Checks or makes what hostPath's type asks for; answers the path.
Result<std::string> MakeHostPath(const Json& source);

// A place below a volume, made when missing (as open as the volume itself), that no link may lead
// out of the volume.
Result<std::string> PlaceBelow(const std::string& volume, const std::string& sub_path);

}  // namespace thinsnap::kubelet
