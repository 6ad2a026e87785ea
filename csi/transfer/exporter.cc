#include "csi/transfer/exporter.h"

#include <algorithm>
#include <utility>

#include "base/core/log.h"
#include "base/data/json.h"
#include "csi/pool/handle.h"
#include "csi/pool/tags.h"
#include "csi/transfer/local_copies.h"

namespace thinsnap::transfer {
namespace {

bool IsPending(const pool::SnapshotInfo& snapshot) {
  return snapshot.has_device && !tags::Has(snapshot.tags, tags::kHidden) &&
         !tags::IsExported(snapshot);
}

// "<namespace>/<name>" as an object.
Json NamespacedName(const std::string& text) {
  const auto slash = text.find('/');
  JsonObject object;
  if (slash != std::string::npos) {
    object["namespace"] = text.substr(0, slash);
    object["name"] = text.substr(slash + 1);
  }
  return object;
}

}  // namespace

Exporter::Exporter(Runtime& runtime, TaskGroup& group, Random& random, pool::ThinPool& pool,
                   Repositories& repositories, ExporterOptions options)
    : runtime_(runtime),
      group_(group),
      random_(random),
      pool_(pool),
      repositories_(repositories),
      options_(std::move(options)),
      changed_(runtime.NewEventCount()) {}

Status Exporter::Resume() {
  const auto status = TRY(pool_.GetStatus());
  pool_id_ = status.id;
  std::set<pool::VolumeId> volumes;
  for (const pool::SnapshotInfo& snapshot : TRY(pool_.ListSnapshots())) {
    volumes.insert(snapshot.volume);
  }
  for (const pool::VolumeId& volume : volumes) Add(volume);
  return {};
}

void Exporter::Add(const pool::VolumeId& volume) {
  {
    const std::lock_guard lock(mutex_);
    const auto [at, is_new] = volumes_.try_emplace(volume, false);
    at->second = true;
    if (is_new) {
      group_.Spawn("export " + volume.str(), [this, volume] { RunVolume(volume); });
    }
  }
  changed_->Notify();
}

void Exporter::Ensure(const pool::VolumeId& volume) {
  {
    const std::lock_guard lock(mutex_);
    if (volumes_.contains(volume)) return;
  }
  Add(volume);
}

void Exporter::RunVolume(const pool::VolumeId& volume) {
  Duration retry = options_.first_retry;
  for (;;) {
    const auto seen = changed_->Seen();
    {
      const std::lock_guard lock(mutex_);
      volumes_[volume] = false;
    }
    const Result<bool> done = ExportPending(volume);
    if (Runtime::Cancelled()) return;
    if (done.ok() && *done) {
      const std::lock_guard lock(mutex_);
      if (!volumes_[volume]) {
        volumes_.erase(volume);
        return;
      }
      retry = options_.first_retry;
      continue;
    }
    // A change of anything wakes early: there are few.
    const MonoTime until = runtime_.clock().MonoNow() + retry;
    const Status waited = changed_->Wait(seen, until);
    if (waited.Is(Code::kCancelled)) return;
    retry = waited.ok() ? options_.first_retry : std::min(retry * 2, options_.last_retry);
  }
}

Result<std::vector<pool::SnapshotInfo>> Exporter::SnapshotsOf(const pool::VolumeId& volume) {
  std::vector<pool::SnapshotInfo> snapshots = TRY(pool_.ListSnapshots());
  std::erase_if(snapshots, [&](const pool::SnapshotInfo& s) {
    return s.volume != volume || tags::Has(s.tags, tags::kInternal);
  });
  return snapshots;
}

Result<bool> Exporter::ExportPending(const pool::VolumeId& volume) {
  // A series takes its points in order: what comes after a failed one waits.
  std::set<std::string> blocked;
  for (;;) {
    // Read again each time: the point just made is a base for the next, and snapshots come and go.
    const std::vector<pool::SnapshotInfo> siblings = TRY(SnapshotsOf(volume));
    const auto next = NextExport(siblings, blocked);
    if (!next) break;
    const Status exported = ExportOne(*next->snapshot, next->repository, siblings);
    TRY(Runtime::CheckCancelled());
    if (!exported.ok()) blocked.insert(next->repository);
  }
  TRY(Trim(volume));
  return blocked.empty();
}

std::optional<Exporter::Pending> Exporter::NextExport(
    const std::vector<pool::SnapshotInfo>& siblings, const std::set<std::string>& blocked) {
  const std::lock_guard lock(mutex_);
  for (const pool::SnapshotInfo& snapshot : siblings) {
    if (!IsPending(snapshot) || cancelled_.contains(snapshot.id)) continue;
    for (const std::string& repository : tags::RepositoriesOf(snapshot)) {
      if (blocked.contains(repository) || !tags::PointIn(snapshot, repository).empty()) continue;
      return Pending{&snapshot, repository};
    }
  }
  return std::nullopt;
}

Status Exporter::ExportOne(const pool::SnapshotInfo& snapshot, const std::string& repository,
                           const std::vector<pool::SnapshotInfo>& siblings) {
  TRY(TakeTurn());
  auto job = std::make_shared<Job>(runtime_, group_);
  job->snapshot = snapshot.id;
  job->repository = repository;
  bool cancelled = false;
  {
    const std::lock_guard lock(mutex_);
    cancelled = cancelled_.contains(snapshot.id);
    if (!cancelled) jobs_.push_back(job);
  }
  Status outcome = Error(Code::kCancelled, "the export was cancelled");
  if (!cancelled) {
    // In a group of its own, so that it can be ended alone.
    job->group.Spawn("export " + snapshot.id.str() + " to " + repository, [&] {
      auto point = Upload(snapshot, repository, siblings);
      if (!point.ok()) {
        outcome = point.error();
        return;
      }
      outcome =
          pool_.TagSnapshot(snapshot.id, {{tags::kPointPrefix + repository, point->name.str()}});
    });
    job->group.Join();
    const std::lock_guard lock(mutex_);
    std::erase(jobs_, job);
    if (outcome.ok()) {
      reports_[snapshot.id].failure.reset();
    } else if (!outcome.Is(Code::kCancelled)) {
      reports_[snapshot.id].failure = outcome.error();
    }
  }
  EndTurn();
  changed_->Notify();
  if (!outcome.ok() && !outcome.Is(Code::kCancelled)) {
    LogWarning("export", "snapshot " + snapshot.id.str() + " to repository " + repository + ": " +
                             outcome.error().ToString());
  }
  return outcome;
}

Result<repo::PointInfo> Exporter::Upload(const pool::SnapshotInfo& snapshot,
                                         const std::string& repository,
                                         const std::vector<pool::SnapshotInfo>& siblings) {
  const RepositoryConfig config = TRY(repositories_.Config(repository));
  if (config.wiping) {
    return Error(Code::kFailedPrecondition,
                 "repository " + repository + " is being wiped and takes no exports");
  }
  const auto opened = TRY(repositories_.Open(repository));
  const auto source = TRY(pool_.OpenSnapshot(snapshot.id));
  const pool::SnapshotHandle handle{pool_id_, snapshot.volume, snapshot.id, ""};
  mover::ExportRequest request;
  request.series = handle.series();
  request.snapshot = snapshot.id.str();
  request.cut = snapshot.cut;
  request.device_identity = snapshot.device_identity;
  request.source = source.get();
  request.attributes = Attributes(snapshot);
  if (const pool::SnapshotInfo* base = ChooseBase(siblings, snapshot, repository)) {
    request.base = repo::PointName(tags::PointIn(*base, repository));
    request.base_device_identity = base->device_identity;
    request.changed = [this, base_id = base->id,
                       target = snapshot.id](const block::ExtentVisitor& visit) {
      return pool_.Changed(base_id, target, visit);
    };
  }
  LogInfo("export", "snapshot " + snapshot.id.str() + " to repository " + repository +
                        (request.base ? ", based on " + request.base->str() : ", in full"));
  return mover::ExportBlocks(*opened, runtime_, random_, request);
}

Json Exporter::Attributes(const pool::SnapshotInfo& snapshot) const {
  const auto repositories = tags::RepositoriesOf(snapshot);
  const pool::SnapshotHandle handle{pool_id_, snapshot.volume, snapshot.id,
                                    repositories.empty() ? "" : repositories.front()};
  JsonObject attributes;
  attributes["driver"] = pool::kDriverName;
  attributes["handle"] = handle.ToString();
  attributes["pool"] = pool_id_.str();
  attributes["volume"] = snapshot.volume.str();
  attributes["snapshot"] = snapshot.id.str();
  attributes["node"] = options_.node_name;
  attributes["pvc"] = NamespacedName(tags::Get(snapshot.tags, tags::kClaim));
  attributes["volumeSnapshot"] = NamespacedName(tags::Get(snapshot.tags, tags::kVolumeSnapshot));
  attributes["content"] = tags::Get(snapshot.tags, tags::kContent);
  const std::string size = tags::Get(snapshot.tags, tags::kSize);
  attributes["sizeBytes"] = size.empty() ? snapshot.size_bytes : std::stoull(size);
  attributes["fsType"] = tags::Get(snapshot.tags, tags::kFsType);
  attributes["volumeMode"] = tags::Get(snapshot.tags, tags::kMode);
  return attributes;
}

Status Exporter::Cancel(const pool::SnapshotId& snapshot) {
  {
    const std::lock_guard lock(mutex_);
    cancelled_.insert(snapshot);
    for (const auto& job : jobs_) {
      if (job->snapshot == snapshot) job->group.Stop();
    }
  }
  for (;;) {
    const auto seen = changed_->Seen();
    {
      const std::lock_guard lock(mutex_);
      if (std::none_of(jobs_.begin(), jobs_.end(),
                       [&](const auto& job) { return job->snapshot == snapshot; })) {
        return {};
      }
    }
    TRY(changed_->Wait(seen));
  }
}

void Exporter::OnRepositoryChange(const std::string& id, bool gone_or_wiping) {
  if (gone_or_wiping) {
    const std::lock_guard lock(mutex_);
    for (const auto& job : jobs_) {
      if (job->repository == id) job->group.Stop();
    }
  }
  changed_->Notify();
}

std::optional<Error> Exporter::FailureToReport(const pool::SnapshotId& snapshot) {
  const std::lock_guard lock(mutex_);
  Report& report = reports_[snapshot];
  ++report.polls;
  if (report.polls % 2 != 0) return std::nullopt;
  return report.failure;
}

void Exporter::ForgetReports(const pool::SnapshotId& snapshot) {
  const std::lock_guard lock(mutex_);
  reports_.erase(snapshot);
  cancelled_.erase(snapshot);
}

Status Exporter::Trim(const pool::VolumeId& volume, bool tight) {
  const auto snapshots = TRY(SnapshotsOf(volume));
  const auto found = pool_.GetVolume(volume);
  if (!found.ok() && !found.Is(Code::kNotFound)) return found.error();
  const LocalCopiesPlan plan = PlanLocalCopies(snapshots, found.ok(), tight);
  for (const auto& id : plan.remove) TRY(pool_.RemoveSnapshot(id));
  for (const auto& id : plan.drop) TRY(pool_.DropDevice(id));
  return {};
}

Status Exporter::TakeTurn() {
  for (;;) {
    const auto seen = changed_->Seen();
    {
      const std::lock_guard lock(mutex_);
      if (running_ < options_.volumes_at_once) {
        ++running_;
        return {};
      }
    }
    TRY(changed_->Wait(seen));
  }
}

void Exporter::EndTurn() {
  const std::lock_guard lock(mutex_);
  --running_;
}

}  // namespace thinsnap::transfer
