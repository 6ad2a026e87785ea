// MountQuiesce: freezes the filesystem of a volume that is mounted here, for pools whose cut is not
// atomic by itself.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/core/guarded.h"
#include "csi/mount/mounter.h"
#include "csi/pool/thin_pool.h"

namespace thinsnap::mount {

class MountQuiesce final : public pool::Quiesce {
 public:
  // Where the volume's device is, or nullopt when it is not in use here. Called while a pool cuts,
  // so it must not ask that pool.
  using DeviceOf = std::function<std::optional<std::string>(const pool::VolumeId&)>;

  MountQuiesce(Mounter& mounter, DeviceOf device_of)
      : mounter_(mounter), device_of_(std::move(device_of)) {}

  // All mounts of a volume share one filesystem: freezing any of them freezes it.
  Status Freeze(const pool::VolumeId& volume) override;
  Status Thaw(const pool::VolumeId& volume) override;

 private:
  static constexpr Duration kDeadline = std::chrono::seconds(5);

  Mounter& mounter_;
  const DeviceOf device_of_;
  std::mutex mutex_;
  std::map<pool::VolumeId, std::unique_ptr<FrozenMount>> frozen_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::mount
