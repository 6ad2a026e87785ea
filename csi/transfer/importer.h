// Importer: fills volumes from restore points in the background. A volume that is being filled has
// the tag `importing` until all of it is durable, and cannot be staged before.
//
// A few at a time, each with up to 128 MiB; the others wait for their turn.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "csi/pool/handle.h"
#include "csi/pool/thin_pool.h"
#include "csi/transfer/backoff.h"
#include "csi/transfer/memory_budget.h"
#include "csi/transfer/repositories.h"
#include "snapshotter/mover/transfer.h"

namespace thinsnap::transfer {

// The point of an exported snapshot. kNotFound when the repository has none; otherwise as
// Repositories::Open.
Result<repo::PointInfo> FindPoint(Repositories& repositories, const pool::SnapshotHandle& handle);

struct ImporterOptions {
  MemoryBudget* memory = nullptr;  // shared with others; null: without such a limit
  int at_once = 1;
  Duration first_retry = std::chrono::seconds(1);
  Duration last_retry = std::chrono::seconds(30);
};

// Thread-safe.
class Importer {
 public:
  Importer(Runtime& runtime, TaskGroup& group, Random& random, pool::ThinPool& pool,
           Repositories& repositories, ImporterOptions options = {})
      : runtime_(runtime),
        group_(group),
        random_(random),
        pool_(pool),
        repositories_(repositories),
        options_(options),
        changed_(runtime.NewEventCount()) {}

  // Takes up what an earlier life left. A volume that cannot be taken up is logged; the others are.
  Status Resume();
  // Only a pool that serves is written to: while it does not, nothing is begun, and what runs is
  // stopped; it goes on afterwards. It serves until told otherwise.
  void SetServing(bool serving);
  // Nothing happens if the volume is being filled already, or could not be for good.
  void Start(const pool::VolumeInfo& volume, const pool::SnapshotHandle& from, bool blank);
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
    // With the lock held.
    mover::Progress progress;
    std::optional<Error> trouble;  // transient; tried again
    bool done = false;
  };
  // Repeating helps only where somebody else than the repository failed.
  struct Outcome {
    Status status;
    bool final = false;
  };

  // Ended jobs are taken out with the lock held, but destroyed (joined) without it.
  std::vector<std::shared_ptr<Job>> TakeEnded() REQUIRES(mutex_);
  void Run(const pool::VolumeId& volume, Job& job);
  // Fills it once, when it is its turn. kCancelled also when the pool ceased to serve.
  Outcome TakeTurn(const pool::VolumeId& volume, Job& job);
  Outcome Fill(const pool::VolumeId& volume, Job& job);

  Runtime& runtime_;
  TaskGroup& group_;
  Random& random_;
  pool::ThinPool& pool_;
  Repositories& repositories_;
  const ImporterOptions options_;
  std::unique_ptr<EventCount> changed_;
  std::mutex mutex_;
  bool serving_ GUARDED_BY(mutex_) = true;
  std::set<TaskGroup*> turns_ GUARDED_BY(mutex_);  // of those that write just now
  std::map<pool::VolumeId, std::shared_ptr<Job>> jobs_ GUARDED_BY(mutex_);
  std::map<std::string, Error> failures_ GUARDED_BY(mutex_);  // by name, until they are told
};

}  // namespace thinsnap::transfer
