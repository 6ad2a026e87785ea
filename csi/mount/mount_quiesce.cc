#include "csi/mount/mount_quiesce.h"

#include <utility>

namespace thinsnap::mount {

Status MountQuiesce::Freeze(const pool::VolumeId& volume) {
  const auto device = device_of_(volume);
  if (!device) return {};
  const std::uint64_t number = TRY(mounter_.DeviceNumber(*device));
  for (const MountEntry& entry : TRY(mounter_.List())) {
    if (entry.device != number) continue;
    auto frozen = TRY(mounter_.Freeze(entry.target, kDeadline));
    const std::lock_guard lock(mutex_);
    frozen_[volume] = std::move(frozen);
    return {};
  }
  return {};
}

Status MountQuiesce::Thaw(const pool::VolumeId& volume) {
  std::unique_ptr<FrozenMount> frozen;
  {
    const std::lock_guard lock(mutex_);
    const auto found = frozen_.find(volume);
    if (found == frozen_.end()) return {};
    frozen = std::move(found->second);
    frozen_.erase(found);
  }
  return frozen->Thaw();
}

}  // namespace thinsnap::mount
