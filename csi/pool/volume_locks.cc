#include "csi/pool/volume_locks.h"

#include <algorithm>

#include "base/core/bytes.h"

namespace thinsnap::pool {

Result<VolumeLocks::Lock> VolumeLocks::Take(const VolumeId& volume, LockMode mode,
                                            const std::string& holder) {
  return TakeKey("volume " + volume.str(), mode, holder);
}

Result<VolumeLocks::Lock> VolumeLocks::TakeName(const std::string& name,
                                                const std::string& holder) {
  return TakeKey("volume name " + name, LockMode::kExclusive, holder);
}

Result<VolumeLocks::Lock> VolumeLocks::TakeSnapshotName(const std::string& name,
                                                        const std::string& holder) {
  return TakeKey("snapshot name " + name, LockMode::kExclusive, holder);
}

Result<VolumeLocks::Lock> VolumeLocks::TakeKey(std::string key, LockMode mode,
                                               const std::string& holder) {
  const std::lock_guard lock(mutex_);
  const auto [found, taken] = held_.try_emplace(key);
  Held& held = found->second;
  if (!taken && (mode == LockMode::kExclusive || held.mode == LockMode::kExclusive)) {
    return Error(Code::kAborted,
                 key + " is busy: " + held.holders.front() + " of an earlier call is under way");
  }
  held.mode = mode;
  held.holders.push_back(holder);
  return Lock(*this, std::move(key), holder);
}

void VolumeLocks::Release(const std::string& key, const std::string& holder) {
  const std::lock_guard lock(mutex_);
  const auto found = held_.find(key);
  ASSERT(found != held_.end());
  auto& holders = found->second.holders;
  const auto at = std::find(holders.begin(), holders.end(), holder);
  ASSERT(at != holders.end());
  holders.erase(at);
  if (holders.empty()) held_.erase(found);
}

}  // namespace thinsnap::pool
