// An XFS image with reflinks, mounted where only this process sees it.
#pragma once

#include <string>

#include "base/core/bytes.h"
#include "base/core/result.h"

namespace thinsnap::pool {

// Makes and mounts one in a folder of its own; once for the process, in a mount namespace of its
// own. The image is sparse; the first call's size counts. The error says what the machine lacks.
// Everything goes with the process.
Result<std::string> MountReflinkImage(std::uint64_t size_bytes = 2 * kGiB);

}  // namespace thinsnap::pool
