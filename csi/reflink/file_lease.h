// Leases of a reflink pool: the file of a volume or snapshot, and its loop device for whoever asks
// for a node. Leases of one file share the device; the kernel detaches it with the last of them, or
// with the mount that outlives it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/core/guarded.h"
#include "csi/pool/thin_pool.h"
#include "csi/reflink/loop_device.h"

namespace thinsnap::reflink {

// Thread-safe.
class ActiveDevices {
 public:
  Result<std::shared_ptr<const LoopDevice>> Attach(const std::string& file, bool read_only);
  // Null where nobody has asked for one.
  std::shared_ptr<const LoopDevice> Find(const std::string& file);

 private:
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<const LoopDevice>> devices_ GUARDED_BY(mutex_);
};

std::unique_ptr<pool::Lease> MakeFileLease(std::unique_ptr<pool::Pin> pin, ActiveDevices& devices,
                                           std::string file, block::OpenMode mode);

}  // namespace thinsnap::reflink
