// Exporter: brings the snapshots of exporting classes into their repositories, in the background.
// What is to be done stands in the snapshots' tags, so a driver that starts again goes on by
// itself.
//
// One task for each volume that has something to export, its snapshots in order; a few volumes at a
// time.
#pragma once

#include <functional>
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
#include "csi/transfer/repositories.h"
#include "snapshotter/mover/transfer.h"

namespace thinsnap::transfer {

struct ExporterOptions {
  std::string node_name;
  int volumes_at_once = 2;
  Duration first_retry = std::chrono::seconds(1);
  Duration last_retry = std::chrono::seconds(60);
};

// Thread-safe.
class Exporter {
 public:
  Exporter(Runtime& runtime, TaskGroup& group, Random& random, pool::ThinPool& pool,
           Repositories& repositories, ExporterOptions options);

  // Takes up what an earlier life left.
  Status Resume();
  // After a cut.
  void Add(const pool::VolumeId& volume);
  // Add, unless the volume is seen to already: a cut whose own call failed after it.
  void Ensure(const pool::VolumeId& volume);
  // Ends the snapshot's export, if there is one, and waits for that. It is not taken up again.
  Status Cancel(const pool::SnapshotId& snapshot);
  // The repository's configuration changed: waiting exports try again, running ones stop if it is
  // being wiped.
  void OnRepositoryChange(const std::string& id, bool gone_or_wiping);

  // What CreateSnapshot is to report of a snapshot that is not ready: its failure at every second
  // call, so that the sidecar gets to store the handle at the others. Never at the first call of
  // this process's life.
  std::optional<Error> FailureToReport(const pool::SnapshotId& snapshot);
  void ForgetReports(const pool::SnapshotId& snapshot);

  // Gives back what local copies and bases no longer need.
  Status Trim(const pool::VolumeId& volume, bool tight = false);

 private:
  struct Job {
    explicit Job(Runtime& runtime, TaskGroup& parent) : group(runtime, &parent) {}
    TaskGroup group;
    pool::SnapshotId snapshot;
    std::string repository;
  };
  struct Report {
    int polls = 0;
    std::optional<Error> failure;
  };

  struct Pending {
    const pool::SnapshotInfo* snapshot;
    std::string repository;
  };

  void RunVolume(const pool::VolumeId& volume);
  // True when nothing is left to do; false when an export failed, which was reported.
  Result<bool> ExportPending(const pool::VolumeId& volume);
  // The oldest snapshot that is missing in a repository that takes it.
  std::optional<Pending> NextExport(const std::vector<pool::SnapshotInfo>& siblings,
                                    const std::set<std::string>& blocked);
  Status ExportOne(const pool::SnapshotInfo& snapshot, const std::string& repository,
                   const std::vector<pool::SnapshotInfo>& siblings);
  Result<repo::PointInfo> Upload(const pool::SnapshotInfo& snapshot, const std::string& repository,
                                 const std::vector<pool::SnapshotInfo>& siblings);
  Json Attributes(const pool::SnapshotInfo& snapshot) const;
  Result<std::vector<pool::SnapshotInfo>> SnapshotsOf(const pool::VolumeId& volume);
  Status TakeTurn();
  void EndTurn();

  Runtime& runtime_;
  TaskGroup& group_;
  Random& random_;
  pool::ThinPool& pool_;
  Repositories& repositories_;
  const ExporterOptions options_;
  pool::PoolId pool_id_;
  std::unique_ptr<EventCount> changed_;

  std::mutex mutex_;
  std::map<pool::VolumeId, bool> volumes_ GUARDED_BY(mutex_);  // with a task; true: look again
  std::vector<std::shared_ptr<Job>> jobs_ GUARDED_BY(mutex_);  // running
  std::set<pool::SnapshotId> cancelled_ GUARDED_BY(mutex_);
  std::map<pool::SnapshotId, Report> reports_ GUARDED_BY(mutex_);
  int running_ GUARDED_BY(mutex_) = 0;
};

}  // namespace thinsnap::transfer
