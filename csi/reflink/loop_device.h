// Loop devices with direct I/O (linux/loop.h): a file as a block device of the host.
#pragma once

#include <string>

#include "base/core/file.h"
#include "base/core/result.h"

namespace thinsnap::reflink {

struct LoopDevice {
  std::string path;  // /dev/loop7
  UniqueFd fd;       // holds it: the kernel detaches it with its last user (autoclear)
};

// Attaches the file, or finds the device that already has it (a mount outlives the process that
// made it). sector_bytes 0: the kernel's choice, which is 512 for a fresh file and 4096 for a
// reflinked one.
Result<LoopDevice> AttachLoopDevice(const std::string& file, unsigned sector_bytes = 0,
                                    bool read_only = false);
// Lets the device take the file's new size.
Status RefreshLoopDevice(const LoopDevice& device);
// kFailedPrecondition when a device has the file and is mounted, or somebody has it for himself.
Status CheckNotMounted(const std::string& file);
// Writes out what the page cache holds for writers of the raw device.
Status SyncLoopDevice(const LoopDevice& device);

}  // namespace thinsnap::reflink
