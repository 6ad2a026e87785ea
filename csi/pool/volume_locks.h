// VolumeLocks: who works on which volume. One table for all verbs of a node and for its jobs in the
// background; nobody waits in it: whoever comes second is told who is there.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/result.h"
#include "csi/pool/thin_pool.h"

namespace thinsnap::pool {

enum class LockMode { kShared, kExclusive };

// Thread-safe. A holder is named by what it does ("NodeStageVolume"). kAborted names the holder,
// which every sidecar takes as "again, later".
class VolumeLocks {
 public:
  // Held until it is destroyed; must not outlive the table.
  class Lock {
   public:
    Lock(Lock&& other) noexcept
        : locks_(std::exchange(other.locks_, nullptr)),
          key_(std::move(other.key_)),
          holder_(std::move(other.holder_)) {}
    Lock& operator=(Lock&&) = delete;
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    ~Lock() {
      if (locks_ != nullptr) locks_->Release(key_, holder_);
    }

   private:
    friend class VolumeLocks;
    Lock(VolumeLocks& locks, std::string key, std::string holder)
        : locks_(&locks), key_(std::move(key)), holder_(std::move(holder)) {}

    VolumeLocks* locks_;
    std::string key_, holder_;
  };

  Result<Lock> Take(const VolumeId& volume, LockMode mode, const std::string& holder);
  // The name of a volume that may not exist yet. Whoever makes or removes a volume takes its name.
  Result<Lock> TakeName(const std::string& name, const std::string& holder);
  // The same for a snapshot's.
  Result<Lock> TakeSnapshotName(const std::string& name, const std::string& holder);

 private:
  struct Held {
    LockMode mode = LockMode::kShared;
    std::vector<std::string> holders;  // one where it is exclusive
  };
  Result<Lock> TakeKey(std::string key, LockMode mode, const std::string& holder);
  void Release(const std::string& key, const std::string& holder);

  std::mutex mutex_;
  std::map<std::string, Held> held_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::pool
