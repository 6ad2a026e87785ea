// An image in an OCI layout (what `skopeo copy ... oci:FOLDER` and `docker buildx -o
// type=oci,dest=FOLDER,tar=false` make): its layers unpacked, each into a folder of its own, and
// what its configuration says.
#pragma once

#include <string>
#include <vector>

#include "base/core/command.h"
#include "base/core/result.h"
#include "simulator/containers/environment.h"

namespace thinsnap::containers {

struct OciImage {
  std::vector<std::string> layers;  // folders for overlayfs, the lowest first
  std::vector<std::string> entrypoint, command;
  Variables environment;
  std::string working_folder, user;
};

bool IsOciLayout(const std::string& folder);

// Blobs are checked against their digests. A layer is unpacked once for all nodes and images, into
// a folder below the cache. No layer is unpacked over another, so that no link in one leads the
// next out of its folder.
Result<OciImage> OpenOciLayout(const std::string& folder, const std::string& cache_folder,
                               CommandRunner& runner);

}  // namespace thinsnap::containers
