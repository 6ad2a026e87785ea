#include "csi/transfer/exporter.h"

#include <algorithm>
#include <utility>

#include "base/core/log.h"
#include "base/data/json.h"
#include "csi/pool/handle.h"
#include "csi/pool/tags.h"

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

// Of what ExportBlocks returns, what a store or a repository says; the rest concerns this series
// only (its device, its points).
bool BlamesRepository(const Error& error) {
  switch (error.code()) {
    case Code::kUnavailable:
    case Code::kUnknownOutcome:
    case Code::kDeadlineExceeded:
    case Code::kPermissionDenied:
    case Code::kUnauthenticated:
    case Code::kResourceExhausted:
      return true;
    default:
      return false;
  }
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
      work_(runtime.NewEventCount()),
      ends_(runtime.NewEventCount()) {}

Status Exporter::Resume() {
  const auto status = TRY(pool_.GetStatus());
  pool_id_ = status.id;
  const auto snapshots = TRY(pool_.ListSnapshots());
  {
    const std::lock_guard lock(mutex_);
    for (const pool::SnapshotInfo& snapshot : snapshots) looks_.insert(snapshot.volume);
  }
  for (int i = 0; i < options_.at_once; ++i) {
    group_.Spawn("export " + std::to_string(i), [this] { Work(); });
  }
  return {};
}

void Exporter::SetServing(bool serving) {
  {
    const std::lock_guard lock(mutex_);
    serving_ = serving;
    for (const auto& job : jobs_) {
      if (!serving) job->group.Stop();
    }
  }
  work_->Notify();
}

void Exporter::Add(const pool::VolumeId& volume) {
  {
    const std::lock_guard lock(mutex_);
    looks_.insert(volume);
  }
  work_->Notify();
}

void Exporter::Work() {
  for (;;) {
    const auto seen = work_->Seen();
    const Turn turn = NextTurn();
    if (turn.look) {
      Look(*turn.look);
    } else if (turn.job) {
      Run(turn.job);
    } else if (work_->Wait(seen, turn.until).Is(Code::kCancelled)) {
      return;
    }
    if (Runtime::Cancelled()) return;
  }
}

Exporter::Turn Exporter::NextTurn() {
  Turn turn;
  const MonoTime now = runtime_.clock().MonoNow();
  const std::lock_guard lock(mutex_);
  if (!serving_) return turn;
  if (!looks_.empty()) {
    if (look_backoff_.not_before() <= now) {
      turn.look = looks_.extract(looks_.begin()).value();
      return turn;
    }
    turn.until = look_backoff_.not_before();
  }
  std::pair<const Series, Waiting>* chosen = nullptr;
  for (auto& entry : waiting_) {
    const auto& [series, waiting] = entry;
    const Lane& lane = lanes_[series.repository];
    const int most = lane.backoff.failing() ? 1 : options_.at_once_per_repository;
    if (waiting.running || lane.running >= most) continue;
    const MonoTime at = std::max(waiting.backoff.not_before(), lane.backoff.not_before());
    if (at > now) {
      turn.until = std::min(turn.until, at);
    } else if (chosen == nullptr || waiting.order < chosen->second.order) {
      chosen = &entry;
    }
  }
  if (chosen == nullptr) return turn;
  chosen->second.running = true;
  ++lanes_[chosen->first.repository].running;
  turn.job = std::make_shared<Job>(runtime_, group_, chosen->first);
  jobs_.push_back(turn.job);
  return turn;
}

Result<std::vector<pool::SnapshotInfo>> Exporter::SnapshotsOf(const pool::VolumeId& volume) {
  std::vector<pool::SnapshotInfo> snapshots = TRY(pool_.SnapshotsOf(volume));
  std::erase_if(snapshots,
                [](const pool::SnapshotInfo& s) { return tags::Has(s.tags, tags::kInternal); });
  return snapshots;
}

void Exporter::Look(const pool::VolumeId& volume) {
  const auto found = SnapshotsOf(volume);
  const Status trimmed = found.ok() ? Trim(volume) : Status(found.error());
  if (!trimmed.ok()) {
    bool is_first = false;
    {
      const std::lock_guard lock(mutex_);
      is_first = !look_backoff_.failing();
      looks_.insert(volume);
      look_backoff_.Failed(runtime_.clock().MonoNow(), options_.first_retry, options_.last_retry,
                           random_);
    }
    if (is_first && !trimmed.Is(Code::kCancelled)) {
      LogWarning("export", "volume " + volume.str() + ": " + trimmed.error().ToString());
    }
  }
  if (!found.ok()) return;
  {
    const std::lock_guard lock(mutex_);
    if (trimmed.ok()) look_backoff_.Reset();
    std::set<std::string> wanted;
    for (const pool::SnapshotInfo& snapshot : *found) {
      for (const std::string& repository : tags::RepositoriesOf(snapshot)) {
        if (IsWanted(snapshot, repository)) wanted.insert(repository);
      }
    }
    for (const std::string& repository : wanted) {
      const auto [at, is_new] = waiting_.try_emplace({repository, volume});
      if (is_new) at->second.order = ++orders_;
    }
    std::erase_if(waiting_, [&](const auto& entry) {
      return entry.first.volume == volume && !entry.second.running &&
             !wanted.contains(entry.first.repository);
    });
  }
  work_->Notify();
}

bool Exporter::IsWanted(const pool::SnapshotInfo& snapshot, const std::string& repository) const {
  return IsPending(snapshot) && tags::PointIn(snapshot, repository).empty() &&
         !cancelled_.contains(snapshot.id);
}

const pool::SnapshotInfo* Exporter::Choose(Job& job,
                                           const std::vector<pool::SnapshotInfo>& siblings) {
  const std::string& repository = job.series.repository;
  const std::lock_guard lock(mutex_);
  auto chosen = siblings.begin();
  for (; chosen != siblings.end(); ++chosen) {
    const auto takers = tags::RepositoriesOf(*chosen);
    if (std::find(takers.begin(), takers.end(), repository) != takers.end() &&
        IsWanted(*chosen, repository)) {
      break;
    }
  }
  if (chosen == siblings.end()) return nullptr;
  job.snapshot = chosen->id;
  return &*chosen;
}

void Exporter::Run(const std::shared_ptr<Job>& job) {
  Outcome outcome;
  const auto siblings = SnapshotsOf(job->series.volume);
  if (siblings.ok()) {
    const pool::SnapshotInfo* snapshot = Choose(*job, *siblings);
    ends_->Notify();
    if (snapshot != nullptr) {
      outcome.status = Error(Code::kCancelled, "the export was cancelled");
      const pool::SnapshotInfo* base = ChooseBase(*siblings, *snapshot, job->series.repository);
      job->group.Spawn("export " + snapshot->id.str() + " to " + job->series.repository,
                       [&] { outcome = Upload(*job, *snapshot, base); });
      job->group.Join();
    }
  } else {
    outcome.status = siblings.error();
  }
  Finish(job, outcome);
}

void Exporter::Finish(const std::shared_ptr<Job>& job, const Outcome& outcome) {
  const Series& series = job->series;
  const bool cancelled = outcome.status.Is(Code::kCancelled);
  const bool failed = !outcome.status.ok() && !cancelled;
  const MonoTime now = runtime_.clock().MonoNow();
  bool is_news = false;
  {
    const std::lock_guard lock(mutex_);
    Lane& lane = lanes_[series.repository];
    --lane.running;
    std::erase(jobs_, job);
    // Asked again also where it was cancelled: another snapshot may be next.
    looks_.insert(series.volume);
    if (failed) {
      Waiting& waiting = waiting_[series];
      waiting.running = false;
      waiting.order = ++orders_;
      waiting.backoff.Failed(now, options_.first_retry, options_.last_retry, random_);
      Report& report = reports_[job->snapshot];
      is_news = !report.failure || report.failure->message() != outcome.status.error().message();
      report.failure = outcome.status.error();
      if (outcome.blames_repository) {
        lane.backoff.Failed(now, options_.first_retry, options_.last_retry, random_);
        lane.failure = outcome.status.error();
      }
    } else {
      waiting_.erase(series);
      if (!cancelled && !job->snapshot.str().empty()) {
        lane.backoff.Reset();
        lane.failure.reset();
        const auto report = reports_.find(job->snapshot);
        if (report != reports_.end()) report->second.failure.reset();
      }
    }
    if (job->snapshot.str().empty()) reports_.erase(job->snapshot);
    if (lane.running == 0 && !lane.backoff.failing()) lanes_.erase(series.repository);
  }
  if (is_news) {
    LogWarning("export", "snapshot " + job->snapshot.str() + " to repository " + series.repository +
                             ": " + outcome.status.error().ToString());
  }
  ends_->Notify();
  work_->Notify();
}

Exporter::Outcome Exporter::Upload(Job& job, const pool::SnapshotInfo& snapshot,
                                   const pool::SnapshotInfo* base) {
  const std::string& repository = job.series.repository;
  const auto config = repositories_.Config(repository);
  if (!config.ok()) return {config.error(), true};
  if (config->wiping) {
    return {Error(Code::kFailedPrecondition,
                  "repository " + repository + " is being wiped and takes no exports"),
            true};
  }
  const auto opened = repositories_.Open(repository);
  if (!opened.ok()) return {opened.error(), true};
  std::unique_ptr<MemoryBudget::Share> memory;
  if (options_.memory != nullptr) {
    auto share = options_.memory->Take();
    if (!share.ok()) return {share.error(), false};
    memory = std::move(*share);
  }
  const pool::Holder holder{pool::HolderKind::kJob,
                            "the export of " + snapshot.id.str() + " to repository " + repository,
                            [&job] { job.group.Stop(); }};
  const auto lease = pool_.LeaseSnapshot(snapshot.id, holder);
  if (!lease.ok()) return {lease.error(), false};
  const auto source = (*lease)->Open();
  if (!source.ok()) return {source.error(), false};
  const pool::SnapshotHandle handle{pool_id_, snapshot.volume, snapshot.id, ""};
  mover::ExportRequest request;
  request.series = handle.series();
  request.snapshot = snapshot.id.str();
  request.cut = snapshot.cut;
  request.device_identity = snapshot.device_identity;
  request.source = source->get();
  request.allocated = [this, id = snapshot.id] { return pool_.Allocated(id, 0); };
  request.attributes = Attributes(snapshot);
  // Kept until it is compared with. One that is going away is no base.
  auto base_pin = base == nullptr ? Error(Code::kNotFound, "there is no base")
                                  : pool_.PinSnapshot(base->id, holder);
  if (base_pin.ok()) {
    request.base = repo::PointName(tags::PointIn(*base, repository));
    request.base_device_identity = base->device_identity;
    request.changed = [this, &base_pin, base_id = base->id, target = snapshot.id] {
      const auto pin = std::move(base_pin);
      return pool_.Changed(base_id, target, 0);
    };
  }
  LogInfo("export", "snapshot " + snapshot.id.str() + " to repository " + repository +
                        (request.base ? ", based on " + request.base->str() : ", in full"));
  const auto point = mover::ExportBlocks(**opened, runtime_, random_, request);
  if (!point.ok()) return {point.error(), BlamesRepository(point.error())};
  return {pool_.TagSnapshot(snapshot.id, {{tags::kPointPrefix + repository, point->name.str()}}),
          false};
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
  attributes["sizeBytes"] = tags::GetBytes(snapshot.tags, tags::kSize, snapshot.size_bytes);
  attributes["fsType"] = tags::Get(snapshot.tags, tags::kFsType);
  attributes["volumeMode"] = tags::Get(snapshot.tags, tags::kMode);
  return attributes;
}

Status Exporter::Cancel(const pool::SnapshotId& snapshot) {
  for (;;) {
    const auto seen = ends_->Seen();
    bool running = false;
    {
      const std::lock_guard lock(mutex_);
      cancelled_.insert(snapshot);
      for (const auto& job : jobs_) {
        if (job->snapshot != snapshot) continue;
        job->group.Stop();
        running = true;
      }
    }
    if (!running) return {};
    TRY(ends_->Wait(seen));
  }
}

void Exporter::OnRepositoryChange(const std::string& id, bool gone_or_wiping) {
  {
    const std::lock_guard lock(mutex_);
    for (const auto& job : jobs_) {
      if (gone_or_wiping && job->series.repository == id) job->group.Stop();
    }
    if (const auto lane = lanes_.find(id); lane != lanes_.end()) lane->second.backoff.Reset();
    for (auto& [series, waiting] : waiting_) {
      if (series.repository == id) waiting.backoff.Reset();
    }
  }
  work_->Notify();
}

std::optional<Error> Exporter::FailureToReport(const pool::SnapshotInfo& snapshot) {
  const std::lock_guard lock(mutex_);
  Report& report = reports_[snapshot.id];
  if (++report.polls % 2 != 0) return std::nullopt;
  if (report.failure) return report.failure;
  for (const std::string& repository : tags::RepositoriesOf(snapshot)) {
    if (!tags::PointIn(snapshot, repository).empty()) continue;
    const auto lane = lanes_.find(repository);
    if (lane != lanes_.end() && lane->second.failure) return lane->second.failure;
  }
  return std::nullopt;
}

Status Exporter::Forget(const pool::SnapshotId& snapshot) {
  // A job that has yet to choose may have looked before the snapshot was hidden.
  for (;;) {
    const auto seen = ends_->Seen();
    {
      const std::lock_guard lock(mutex_);
      if (std::none_of(jobs_.begin(), jobs_.end(),
                       [](const auto& job) { return job->snapshot.str().empty(); })) {
        reports_.erase(snapshot);
        cancelled_.erase(snapshot);
        return {};
      }
    }
    TRY(ends_->Wait(seen));
  }
}

Status Exporter::GiveUp(const pool::SnapshotId& snapshot) {
  // Without its device nobody can begin to use it; and to drop it disturbs nobody who does.
  if (const Status dropped = pool_.DropDevice(snapshot);
      !dropped.ok() && !dropped.Is(Code::kNotFound)) {
    return dropped;
  }
  return pool_.RemoveSnapshot(snapshot);
}

Result<LocalCopiesPlan> Exporter::PlanFor(const pool::VolumeId& volume, bool tight) {
  const auto snapshots = TRY(SnapshotsOf(volume));
  const auto found = pool_.GetVolume(volume);
  if (!found.ok() && !found.Is(Code::kNotFound)) return found.error();
  return PlanLocalCopies(snapshots, found.ok(), tight);
}

Status Exporter::Carry(const LocalCopiesPlan& plan) {
  const auto is_used = [](const Status& status) {
    return status.Is(Code::kAborted) || status.Is(Code::kFailedPrecondition);
  };
  for (const auto& id : plan.remove) {
    if (const Status removed = GiveUp(id); !removed.ok() && !is_used(removed)) return removed;
  }
  for (const auto& id : plan.drop) {
    if (const Status dropped = pool_.DropDevice(id); !dropped.ok() && !is_used(dropped)) {
      return dropped;
    }
  }
  return {};
}

Status Exporter::Trim(const pool::VolumeId& volume) {
  return Carry(TRY(PlanFor(volume, /*tight=*/false)));
}

Result<bool> Exporter::MakeRoom(std::uint64_t missing_bytes) {
  struct Offer {
    std::uint64_t bytes = 0;
    LocalCopiesPlan plan;
  };
  std::set<pool::VolumeId> volumes;
  for (const pool::SnapshotInfo& snapshot : TRY(pool_.ListSnapshots())) {
    volumes.insert(snapshot.volume);
  }
  std::vector<Offer> offers;
  std::vector<pool::SnapshotId> all;
  for (const pool::VolumeId& volume : volumes) {
    Offer offer;
    offer.plan = TRY(PlanFor(volume, /*tight=*/true));
    std::vector<pool::SnapshotId> given_up = offer.plan.remove;
    given_up.insert(given_up.end(), offer.plan.drop.begin(), offer.plan.drop.end());
    if (given_up.empty()) continue;
    offer.bytes = TRY(pool_.Reclaimable(given_up));
    all.insert(all.end(), given_up.begin(), given_up.end());
    offers.push_back(std::move(offer));
  }
  const std::uint64_t possible = TRY(pool_.Reclaimable(all));
  if (possible < missing_bytes) return false;
  std::stable_sort(offers.begin(), offers.end(),
                   [](const Offer& a, const Offer& b) { return a.bytes > b.bytes; });
  const std::uint64_t free_before = TRY(pool_.GetStatus())
  .free_bytes;
  for (const Offer& offer : offers) {
    TRY(Carry(offer.plan));
    const pool::PoolStatus now = TRY(pool_.GetStatus());
    if (now.free_bytes >= free_before + missing_bytes) break;
  }
  return true;
}

}  // namespace thinsnap::transfer
