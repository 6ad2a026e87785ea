#include "csi/transfer/importer.h"

#include <algorithm>
#include <utility>

#include "base/core/bytes.h"
#include "base/core/log.h"
#include "csi/pool/tags.h"

namespace thinsnap::transfer {
namespace {

// What is so for good once the import began: the bytes are damaged, or the point is gone. That a
// store refuses us (an expired token, a policy, a missing bucket) or a device fails can be mended,
// and what was restored until then is kept.
bool IsFinal(const Error& error) {
  return error.code() == Code::kDataLoss || error.code() == Code::kNotFound;
}

}  // namespace

Result<repo::PointInfo> FindPoint(Repositories& repositories, const pool::SnapshotHandle& handle) {
  const auto repository = TRY(repositories.Open(handle.repository));
  auto point = repository->FindPoint(handle.series(), handle.snapshot.str());
  if (point.Is(Code::kNotFound)) {
    return Error(Code::kNotFound, "repository " + handle.repository +
                                      " has no restore point of snapshot " + handle.ToString());
  }
  return point;
}

Status Importer::Resume() {
  for (const pool::VolumeInfo& volume : TRY(pool_.ListVolumes())) {
    const std::string from = tags::Get(volume.tags, tags::kImporting);
    if (from.empty()) continue;
    const auto handle = pool::SnapshotHandle::Parse(from);
    if (!handle.ok()) {
      LogWarning("import", "volume " + volume.id.str() + " cannot be filled, its tag `" +
                               tags::kImporting + "` is \"" + from +
                               "\": " + handle.error().message());
      continue;
    }
    Start(volume, *handle, false);
  }
  return {};
}

void Importer::SetServing(bool serving) {
  {
    const std::lock_guard lock(mutex_);
    serving_ = serving;
    for (TaskGroup* turn : turns_) {
      if (!serving) turn->Stop();
    }
  }
  changed_->Notify();
}

std::vector<std::shared_ptr<Importer::Job>> Importer::TakeEnded() {
  std::vector<std::shared_ptr<Job>> ended;
  for (auto it = jobs_.begin(); it != jobs_.end();) {
    if (it->second->done) {
      ended.push_back(std::move(it->second));
      it = jobs_.erase(it);
    } else {
      ++it;
    }
  }
  return ended;
}

void Importer::Start(const pool::VolumeInfo& volume, const pool::SnapshotHandle& from, bool blank) {
  std::vector<std::shared_ptr<Job>> ended;
  auto job = std::make_shared<Job>(runtime_, group_);
  job->name = volume.name;
  job->from = from;
  job->blank = blank;
  {
    const std::lock_guard lock(mutex_);
    ended = TakeEnded();
    // What failed for good took the volume with it, and is to be told.
    if (failures_.contains(volume.name)) return;
    if (!jobs_.try_emplace(volume.id, job).second) return;
  }
  job->group.Spawn("import " + volume.id.str(),
                   [this, id = volume.id, raw = job.get()] { Run(id, *raw); });
}

std::optional<Error> Importer::TakeFailure(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = failures_.find(name);
  if (found == failures_.end()) return std::nullopt;
  std::optional<Error> failure = std::move(found->second);
  failures_.erase(found);
  return failure;
}

Importer::Outcome Importer::Fill(const pool::VolumeId& volume, Job& job) {
  const auto point = FindPoint(repositories_, job.from);
  if (!point.ok()) return {point.error(), IsFinal(point.error())};
  const auto repository = repositories_.Open(job.from.repository);
  if (!repository.ok()) return {repository.error(), false};
  std::unique_ptr<MemoryBudget::Share> memory;
  if (options_.memory != nullptr) {
    auto share = options_.memory->Take();
    if (!share.ok()) return {share.error(), false};
    memory = std::move(*share);
  }
  const auto lease =
      pool_.LeaseVolume(volume, {pool::HolderKind::kJob, "the import of " + job.from.ToString(),
                                 [&job] { job.group.Stop(); }});
  if (!lease.ok()) return {lease.error(), false};
  const auto target = (*lease)->Open();
  if (!target.ok()) return {target.error(), false};
  mover::ImportRequest request;
  request.point = point->name;
  request.target = target->get();
  request.target_is_blank = std::exchange(job.blank, false);
  request.progress = [this, &job](const mover::Progress& progress) {
    const std::lock_guard lock(mutex_);
    job.progress = progress;
  };
  const Status filled = mover::ImportBlocks(**repository, runtime_, request);
  if (!filled.ok()) return {filled, IsFinal(filled.error())};
  return {pool_.TagVolume(volume, {{tags::kImporting, ""}, {tags::kImportBytes, ""}}), false};
}

Importer::Outcome Importer::TakeTurn(const pool::VolumeId& volume, Job& job) {
  Outcome outcome{Error(Code::kCancelled, "the import was stopped"), false};
  TaskGroup turn(runtime_, &job.group);
  for (;;) {
    const auto seen = changed_->Seen();
    {
      const std::lock_guard lock(mutex_);
      if (serving_ && static_cast<int>(turns_.size()) < options_.at_once) {
        turns_.insert(&turn);
        break;
      }
    }
    if (const Status waited = changed_->Wait(seen); !waited.ok()) return {waited, false};
  }
  turn.Spawn("fill " + volume.str(), [&] { outcome = Fill(volume, job); });
  turn.Join();
  {
    const std::lock_guard lock(mutex_);
    turns_.erase(&turn);
  }
  changed_->Notify();
  return outcome;
}

void Importer::Run(const pool::VolumeId& volume, Job& job) {
  Backoff backoff;
  std::string told;
  for (;;) {
    const Outcome outcome = TakeTurn(volume, job);
    if (outcome.status.ok() || Runtime::Cancelled()) break;
    if (outcome.status.Is(Code::kCancelled)) continue;  // when the pool serves again
    const Error& error = outcome.status.error();
    if (std::exchange(told, error.message()) != error.message()) {
      LogWarning("import", "volume " + volume.str() + ": " + error.ToString());
    }
    if (outcome.final) {
      if (auto removed = pool_.RemoveVolume(volume); !removed.ok()) {
        LogWarning("import", "volume " + volume.str() + ": " + removed.error().ToString());
      }
      const std::lock_guard lock(mutex_);
      failures_.insert_or_assign(job.name, error);
      break;
    }
    {
      const std::lock_guard lock(mutex_);
      job.trouble = error;
    }
    backoff.Failed(runtime_.clock().MonoNow(), options_.first_retry, options_.last_retry, random_);
    if (!runtime_.SleepFor(backoff.not_before() - runtime_.clock().MonoNow()).ok()) break;
  }
  {
    const std::lock_guard lock(mutex_);
    job.done = true;
  }
  changed_->Notify();
}

Status Importer::Wait(const pool::VolumeId& volume, MonoTime deadline) {
  for (;;) {
    const auto seen = changed_->Seen();
    std::string progress, name;
    {
      std::vector<std::shared_ptr<Job>> ended;
      const std::lock_guard lock(mutex_);
      const auto found = jobs_.find(volume);
      if (found == jobs_.end()) return {};
      const Job& job = *found->second;
      if (job.done) name = job.name;
      progress = "importing " + job.from.ToString() + ": " + FormatSize(job.progress.done_bytes);
      if (job.progress.total_bytes != 0) {
        progress += " of " + FormatSize(job.progress.total_bytes);
      }
      if (job.trouble) progress += "; last trouble: " + job.trouble->message();
      if (job.done) ended = TakeEnded();
    }
    if (!name.empty()) {
      if (const auto failure = TakeFailure(name)) return *failure;
      return {};
    }
    const Status waited = changed_->Wait(seen, deadline);
    if (waited.Is(Code::kDeadlineExceeded)) return Error(Code::kAborted, progress);
    TRY(waited);
  }
}

Status Importer::Cancel(const pool::VolumeId& volume) {
  std::shared_ptr<Job> job;
  {
    const std::lock_guard lock(mutex_);
    const auto found = jobs_.find(volume);
    if (found == jobs_.end()) return {};
    job = found->second;
  }
  job->group.Stop();
  job->group.Join();
  // Only now may another one fill the volume.
  const std::lock_guard lock(mutex_);
  if (const auto found = jobs_.find(volume); found != jobs_.end() && found->second == job) {
    jobs_.erase(found);
  }
  return {};
}

}  // namespace thinsnap::transfer
