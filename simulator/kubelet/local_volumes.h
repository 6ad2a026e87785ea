// Volumes that are folders of the node itself (emptyDir, hostPath), places below a volume
// (subPath), and whose files they are (fsGroup).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <sys/types.h>

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

struct FsGroup {
  std::optional<std::int64_t> group;
  bool on_mismatch_only = false;  // fsGroupChangePolicy: OnRootMismatch
};
FsGroup FsGroupOf(const Json& pod);

// Gives the volume's files to the pod's fsGroup, as Kubernetes does for filesystems of one writer.
Status ApplyFsGroup(const std::string& path, const FsGroup& fs_group);
// Everything below the path belongs to the group, which gets these permissions on files.
Status GiveToGroup(const std::string& path, std::int64_t group, mode_t file_mode);

}  // namespace thinsnap::kubelet
