// Whose files a volume's are: the pod's fsGroup.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <sys/types.h>

#include "base/core/result.h"
#include "base/data/json_fwd.h"

namespace thinsnap::kubelet {

struct FsGroup {
  std::optional<std::int64_t> group;
  bool on_mismatch_only = false;  // fsGroupChangePolicy: OnRootMismatch
};
FsGroup FsGroupOf(const Json& pod);

// Gives the volume's files to the group, as Kubernetes does: always, or when the root of the volume
// shows that nobody did.
Status ApplyFsGroup(const std::string& path, const FsGroup& fs_group);
// Everything below the path belongs to the group, which gets these permissions on files. The path
// itself comes last: whoever is interrupted leaves a root that shows it. Follows no links, also
// where somebody puts them while it works. What refuses (an immutable file) stays as it is.
Status GiveToGroup(const std::string& path, std::int64_t group, mode_t file_mode);

}  // namespace thinsnap::kubelet
