// MountQuiesce: freezes the filesystems of volumes that are mounted here, for pools whose cut is
// not atomic by itself. What no mount shows is written to by nobody, or raw: then its users see to
// it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/core/clock.h"
#include "base/core/counters.h"
#include "csi/mount/mounter.h"
#include "csi/pool/thin_pool.h"

namespace thinsnap::mount {

class MountQuiesce final : public pool::Quiesce {
 public:
  // Where the volume's device is, or nullopt when it is not in use here.
  using DeviceOf = std::function<std::optional<std::string>(const pool::VolumeId&)>;

  // counters: how long filesystems stand still, as thinsnap_freeze_seconds; may be null. All of it
  // outlives this.
  MountQuiesce(Clock& clock, Mounter& mounter, Counters* counters, DeviceOf device_of);

  // Of several, each is written out before the first stands still. kFailedPrecondition: a volume is
  // mounted, but other mounts cover every place where it could be reached.
  Result<std::unique_ptr<pool::Stillness>> Hold(std::span<const pool::VolumeId> volumes,
                                                Duration most) override;

 private:
  // A path at which the volume's filesystem is reached; all of its mounts share one filesystem.
  Result<std::optional<std::string>> Reach(const pool::VolumeId& volume,
                                           const std::vector<MountEntry>& mounts);

  Clock& clock_;
  Mounter& mounter_;
  Counters* const counters_;
  const DeviceOf device_of_;
};

}  // namespace thinsnap::mount
