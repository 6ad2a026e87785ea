// The mount namespace of a simulated node. Everything is mounted in here and nothing of it is seen
// outside; when the node's last process dies, the kernel undoes all of it.
#pragma once

#include <string>

#include "base/core/result.h"

namespace thinsnap::world {

// In a new mount namespace: cuts propagation, and makes / the namespace's own root, also in a
// chroot: runc needs a mount point, and what joins a container must find nothing above it. The
// working folder stays. Of the calling thread and those that it starts.
Status MakeOwnRoot();

// To be called by process 1 of a new mount and PID namespace before it starts a thread: the above,
// and mounts /proc, /sys, cgroups and /dev where they are missing.
Status MakeNodeRoot();

// A small tmpfs for secrets, tokens and the state of containers.
Status MountMemoryFolder(const std::string& path);

}  // namespace thinsnap::world
