// Exporter: brings the snapshots of exporting classes into their repositories, in the background.
// What is to be done stands in the snapshots' tags, so a driver that starts again goes on by
// itself.
//
// Vocabulary
//   Series    one volume in one repository. Its snapshots are exported in order, one at a time.
//   Lane      one repository: how many of its series run, and when it may be asked again. One that
//             refuses or does not answer is tried by one series at a time, at growing intervals,
//             and takes no worker from the others meanwhile.
//   Worker    a task that takes the series which has waited longest. Each takes up to 128 MiB.
#pragma once

#include <cstdint>
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
#include "csi/pool/thin_pool.h"
#include "csi/transfer/backoff.h"
#include "csi/transfer/local_copies.h"
#include "csi/transfer/memory_budget.h"
#include "csi/transfer/repositories.h"
#include "snapshotter/mover/transfer.h"

namespace thinsnap::transfer {

struct ExporterOptions {
  std::string node_name;
  MemoryBudget* memory = nullptr;  // shared with others; null: without such a limit
  int at_once = 3;
  int at_once_per_repository = 2;
  Duration first_retry = std::chrono::seconds(1);
  Duration last_retry = std::chrono::seconds(60);
};

// Thread-safe.
class Exporter {
 public:
  Exporter(Runtime& runtime, TaskGroup& group, Random& random, pool::ThinPool& pool,
           Repositories& repositories, ExporterOptions options);

  // Starts the workers and takes up what an earlier life left. Once.
  Status Resume();
  // Only a pool that serves is written to: while it does not, nothing new is begun, and what runs
  // is stopped. It serves until told otherwise.
  void SetServing(bool serving);
  // There may be something to export of this volume: after a cut, or when somebody asks for one.
  void Add(const pool::VolumeId& volume);
  // Ends the snapshot's exports, if there are any, and waits for that. They are not taken up again.
  Status Cancel(const pool::SnapshotId& snapshot);
  // The repository's configuration changed: what waits for it is tried at once; what runs is
  // stopped if it is gone or being wiped.
  void OnRepositoryChange(const std::string& id, bool gone_or_wiping);

  // What CreateSnapshot is to report of a snapshot that is not ready: its failure, or that of a
  // repository that it waits for, at every second call, so that the sidecar gets to store the
  // handle at the others. Never at the first call of this process's life.
  std::optional<Error> FailureToReport(const pool::SnapshotInfo& snapshot);
  // It is exported, hidden or gone: what was kept of it is dropped.
  Status Forget(const pool::SnapshotId& snapshot);

  // Removes a snapshot that nobody asks for any more; kAborted while a job uses it, which goes on.
  Status GiveUp(const pool::SnapshotId& snapshot);
  // Gives back what local copies and bases no longer need; what an export uses stays until the
  // next time.
  Status Trim(const pool::VolumeId& volume);
  // Gives up bases and surplus copies until so much has become free, those of the volume that gives
  // most first. False, and nothing is given up, where all of them together cannot be enough.
  Result<bool> MakeRoom(std::uint64_t missing_bytes);

 private:
  struct Series {
    std::string repository;
    pool::VolumeId volume;
    auto operator<=>(const Series&) const = default;
  };
  struct Waiting {
    std::uint64_t order = 0;  // the smallest has waited longest
    bool running = false;
    Backoff backoff;
  };
  struct Lane {
    int running = 0;
    Backoff backoff;
    std::optional<Error> failure;
  };
  struct Job {
    Job(Runtime& runtime, TaskGroup& parent, Series for_series)
        : group(runtime, &parent), series(std::move(for_series)) {}
    TaskGroup group;  // so that it can be ended alone
    const Series series;
    pool::SnapshotId snapshot;  // empty until it is chosen
  };
  struct Report {
    int polls = 0;
    std::optional<Error> failure;
  };
  // What a worker is to do next; neither: wait until then.
  struct Turn {
    std::optional<pool::VolumeId> look;
    std::shared_ptr<Job> job;
    MonoTime until = kForever;
  };
  struct Outcome {
    Status status;
    bool blames_repository = false;
  };

  void Work();
  Turn NextTurn();
  // Finds the series of a volume that have something to export, and trims the volume.
  void Look(const pool::VolumeId& volume);
  void Run(const std::shared_ptr<Job>& job);
  Result<std::vector<pool::SnapshotInfo>> SnapshotsOf(const pool::VolumeId& volume);
  Result<LocalCopiesPlan> PlanFor(const pool::VolumeId& volume, bool tight);
  Status Carry(const LocalCopiesPlan& plan);
  bool IsWanted(const pool::SnapshotInfo& snapshot, const std::string& repository) const
      REQUIRES(mutex_);
  // The oldest snapshot of the series that is not exported; null if there is none.
  const pool::SnapshotInfo* Choose(Job& job, const std::vector<pool::SnapshotInfo>& siblings);
  Outcome Upload(Job& job, const pool::SnapshotInfo& snapshot, const pool::SnapshotInfo* base);
  void Finish(const std::shared_ptr<Job>& job, const Outcome& outcome);
  Json Attributes(const pool::SnapshotInfo& snapshot) const;

  Runtime& runtime_;
  TaskGroup& group_;
  Random& random_;
  pool::ThinPool& pool_;
  Repositories& repositories_;
  const ExporterOptions options_;
  pool::PoolId pool_id_;
  std::unique_ptr<EventCount> work_;  // there may be something for a worker
  std::unique_ptr<EventCount> ends_;  // a job chose its snapshot or ended

  std::mutex mutex_;
  bool serving_ GUARDED_BY(mutex_) = true;
  std::uint64_t orders_ GUARDED_BY(mutex_) = 0;
  std::set<pool::VolumeId> looks_ GUARDED_BY(mutex_);
  Backoff look_backoff_ GUARDED_BY(mutex_);  // the pool does not answer
  std::map<Series, Waiting> waiting_ GUARDED_BY(mutex_);
  std::map<std::string, Lane> lanes_ GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<Job>> jobs_ GUARDED_BY(mutex_);
  std::set<pool::SnapshotId> cancelled_ GUARDED_BY(mutex_);
  std::map<pool::SnapshotId, Report> reports_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::transfer
