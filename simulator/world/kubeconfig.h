// The kubeconfig that `up` writes also says which data folder it belongs to, in an extension that
// clients pass over: so `thinsnap-sim destroy-node` finds the running cluster the way kubectl does.
#pragma once

#include <string>

#include "base/core/result.h"

namespace thinsnap::world {

Result<std::string> NameDataFolder(const std::string& kubeconfig_yaml,
                                   const std::string& data_folder);
// Writes or replaces a kubeconfig of ours, through a link if it is one. kFailedPrecondition where
// the file is somebody else's: other clusters' contexts may be in it.
Status WriteKubeconfig(const std::string& path, const std::string& kubeconfig_yaml);
// kFailedPrecondition when the file is not one of ours.
Result<std::string> FindDataFolder(const std::string& kubeconfig_path);

}  // namespace thinsnap::world
