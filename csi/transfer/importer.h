// Importer: fills volumes from restore points in the background. A volume that is being filled has
// the tag `importing` until all of it is durable, and cannot be staged before.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/runtime.h"
#include "csi/pool/handle.h"
#include "csi/pool/thin_pool.h"
#include "csi/transfer/repositories.h"
#include "snapshotter/mover/transfer.h"

namespace thinsnap::transfer {

// The point of an exported snapshot. kNotFound when the repository has none; otherwise as
// Repositories::Open.
Result<repo::PointInfo> FindPoint(Repositories& repositories, const pool::SnapshotHandle& handle);

// Thread-safe.
class Importer {
 public:
  Importer(Runtime& runtime, TaskGroup& group, pool::ThinPool& pool, Repositories& repositories)
      : runtime_(runtime),
        group_(group),
        pool_(pool),
        repositories_(repositories),
        changed_(runtime.NewEventCount()) {}

  // Takes up what an earlier life left.
  Status Resume();
  // Nothing happens if the volume is being filled already, or could not be for good.
  // `data_bytes`: what it will write, where that is known already.
  void Start(const pool::VolumeInfo& volume, const pool::SnapshotHandle& from, bool blank,
             std::uint64_t data_bytes = 0);
  // What the running imports have yet to write.
  std::uint64_t OutstandingBytes();
  // OK when the volume is filled (or not being filled); kAborted with the progress at the deadline.
  // After a final error, which is answered once, the half-filled volume is gone.
  Status Wait(const pool::VolumeId& volume, MonoTime deadline);
  // The final error of a volume of that name that nobody waited for.
  std::optional<Error> TakeFailure(const std::string& name);
  // Ends it and waits for that; the volume stays.
  Status Cancel(const pool::VolumeId& volume);

 private:
  struct Job {
    Job(Runtime& runtime, TaskGroup& parent) : group(runtime, &parent) {}
    TaskGroup group;
    std::string name;  // of the volume
    pool::SnapshotHandle from;
    bool blank = false;
    std::uint64_t data_bytes = 0;
    // With the lock held.
    mover::Progress progress;
    std::optional<Error> trouble;  // transient; tried again
    bool done = false;
  };

  // Ended jobs are taken out with the lock held, but destroyed (joined) without it.
  std::vector<std::shared_ptr<Job>> TakeEnded() REQUIRES(mutex_);
  void Run(const pool::VolumeId& volume, Job& job);
  Status Fill(const pool::VolumeId& volume, Job& job);

  Runtime& runtime_;
  TaskGroup& group_;
  pool::ThinPool& pool_;
  Repositories& repositories_;
  std::unique_ptr<EventCount> changed_;
  std::mutex mutex_;
  std::map<pool::VolumeId, std::shared_ptr<Job>> jobs_ GUARDED_BY(mutex_);
  std::map<std::string, Error> failures_ GUARDED_BY(mutex_);  // by name, until they are told
};

}  // namespace thinsnap::transfer
