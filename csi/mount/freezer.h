// Freezing one mounted filesystem so that it cannot stay frozen: a watch (csi/mount/thaw_watch.h)
// thaws it at the deadline, or as soon as the process that froze it is gone.
#pragma once

#include <memory>
#include <string>

#include "base/core/clock.h"
#include "base/core/result.h"
#include "csi/mount/mounter.h"

namespace thinsnap::mount {

// What lies in the page cache is written out before the filesystem stands still, so that it stands
// still shortly. thaw_socket: whose server keeps the watch; empty: a child of this process.
Result<std::unique_ptr<FrozenMount>> FreezeFilesystem(const std::string& target, Duration deadline,
                                                      const std::string& thaw_socket = "");
Status SyncFilesystem(const std::string& target);
Status ThawFilesystem(const std::string& target);

}  // namespace thinsnap::mount
