#include "csi/driver/pool_figures.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "csi/pool/tags.h"

namespace thinsnap::driver {
namespace {

struct Gauge {
  const char* name;
  const char* help;
};

constexpr Gauge kUp = {"thinsnap_pool_up", "1 while the pool answers."};
constexpr Gauge kHealthy = {"thinsnap_pool_healthy", "1 while the pool takes writes."};
constexpr Gauge kSize = {"thinsnap_pool_size_bytes", "Data space of the pool."};
constexpr Gauge kFree = {"thinsnap_pool_free_bytes", "Data space that nothing holds."};
constexpr Gauge kMetadataSize = {"thinsnap_pool_metadata_size_bytes",
                                 "Metadata space; 0 where a pool has none of its own."};
constexpr Gauge kMetadataFree = {"thinsnap_pool_metadata_free_bytes", "Free metadata space."};
constexpr Gauge kPromised = {"thinsnap_pool_promised_bytes", "Sum of the sizes of all volumes."};
constexpr Gauge kOverhead = {"thinsnap_pool_snapshot_overhead_bytes",
                             "Held by snapshots alone; 0 where unknown."};
constexpr Gauge kVolumes = {"thinsnap_pool_volumes", "Volumes in the pool."};
constexpr Gauge kSnapshots = {"thinsnap_pool_snapshots", "Snapshots that have a device."};
constexpr Gauge kPending = {"thinsnap_export_pending",
                            "Cuts that are not in their repository yet, by repository."};
constexpr Gauge kOldest = {"thinsnap_export_oldest_pending_seconds",
                           "Age of the oldest of them: the recovery point age."};
constexpr Gauge kImporting = {"thinsnap_import_volumes", "Volumes that are being restored."};

constexpr Gauge kTrouble = {"thinsnap_pool_trouble",
                            "1 while the pool has the trouble that `kind` names."};

constexpr Gauge kAll[] = {kUp,       kHealthy,  kSize,      kFree,      kMetadataSize,
                          kPromised, kOverhead, kVolumes,   kSnapshots, kMetadataFree,
                          kPending,  kOldest,   kImporting, kTrouble};

void Describe(Counters& counters) {
  for (const Gauge& gauge : kAll) {
    counters.Describe(gauge.name, Counters::Kind::kGauge, gauge.help);
  }
}

double AsFigure(std::uint64_t bytes) { return static_cast<double>(bytes); }

}  // namespace

void SetPoolFigures(Counters& counters, const pool::PoolStatus& status,
                    const std::vector<pool::VolumeInfo>& volumes,
                    const std::vector<pool::SnapshotInfo>& snapshots, WallTime now) {
  Describe(counters);
  const Labels pool = {{"pool", status.id.str()}};
  std::uint64_t promised = 0;
  int importing = 0;
  for (const pool::VolumeInfo& volume : volumes) {
    promised += volume.size_bytes;
    if (tags::Has(volume.tags, tags::kImporting)) ++importing;
  }
  struct Backlog {
    int pending = 0;
    WallTime oldest = WallTime::max();
  };
  std::map<std::string, Backlog> backlogs;
  int devices = 0;
  for (const pool::SnapshotInfo& snapshot : snapshots) {
    if (snapshot.has_device) ++devices;
    for (const std::string& repository : tags::RepositoriesOf(snapshot)) {
      // A repository whose exports are all done is shown as such, not left out.
      Backlog& backlog = backlogs[repository];
      if (!snapshot.has_device || tags::Has(snapshot.tags, tags::kHidden) ||
          !tags::PointIn(snapshot, repository).empty()) {
        continue;
      }
      ++backlog.pending;
      backlog.oldest = std::min(backlog.oldest, snapshot.cut);
    }
  }
  counters.Set(kUp.name, pool, 1);
  counters.Set(kHealthy.name, pool, status.healthy() ? 1 : 0);
  const std::pair<const char*, bool> troubles[] = {{"read_only", status.read_only},
                                                   {"needs_check", status.needs_check},
                                                   {"out_of_data_space", status.out_of_data_space},
                                                   {"metadata_low", status.metadata_low}};
  for (const auto& [kind, is_so] : troubles) {
    counters.Set(kTrouble.name, {{"kind", kind}, {"pool", status.id.str()}}, is_so ? 1 : 0);
  }
  counters.Set(kSize.name, pool, AsFigure(status.size_bytes));
  counters.Set(kFree.name, pool, AsFigure(status.free_bytes));
  counters.Set(kMetadataSize.name, pool, AsFigure(status.metadata_size_bytes));
  counters.Set(kMetadataFree.name, pool, AsFigure(status.metadata_free_bytes));
  counters.Set(kPromised.name, pool, AsFigure(promised));
  counters.Set(kOverhead.name, pool, AsFigure(status.snapshot_overhead_bytes));
  counters.Set(kVolumes.name, pool, static_cast<double>(volumes.size()));
  counters.Set(kSnapshots.name, pool, devices);
  counters.Set(kImporting.name, pool, importing);
  for (const auto& [repository, backlog] : backlogs) {
    const Labels labels = {{"pool", status.id.str()}, {"repository", repository}};
    counters.Set(kPending.name, labels, backlog.pending);
    // A clock that stepped back makes no negative age.
    const Duration age =
        backlog.pending == 0 ? Duration::zero() : std::max(Duration::zero(), now - backlog.oldest);
    counters.Set(kOldest.name, labels, std::chrono::duration<double>(age).count());
  }
}

void ShowPool(Counters& counters, pool::ThinPool& pool, Clock& clock) {
  Describe(counters);
  counters.BeforeRender([&pool, &clock](Counters& into) {
    // What is gone since the last time is not shown with its last figure.
    for (const Gauge& gauge : kAll) into.Clear(gauge.name);
    const auto status = pool.GetStatus();
    const auto volumes = pool.ListVolumes();
    const auto snapshots = pool.ListSnapshots();
    if (!status.ok() || !volumes.ok() || !snapshots.ok()) {
      into.Set(kUp.name, {{"pool", status.ok() ? status->id.str() : ""}}, 0);
      return;
    }
    SetPoolFigures(into, *status, *volumes, *snapshots, clock.Now());
  });
}

}  // namespace thinsnap::driver
