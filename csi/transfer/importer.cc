#include "csi/transfer/importer.h"

#include <algorithm>
#include <utility>

#include "base/core/bytes.h"
#include "base/core/log.h"
#include "csi/pool/tags.h"

namespace thinsnap::transfer {
namespace {

constexpr Duration kFirstRetry = std::chrono::seconds(1);
constexpr Duration kLastRetry = std::chrono::seconds(30);

// Repeating does not help: the bytes are damaged, the key is wrong, the point is not there, or the
// pool refuses.
bool IsFinal(Code code) {
  return code == Code::kDataLoss || code == Code::kUnauthenticated ||
         code == Code::kFailedPrecondition || code == Code::kNotFound ||
         code == Code::kInvalidArgument || code == Code::kPermissionDenied ||
         code == Code::kResourceExhausted;
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
    Start(volume, TRY(pool::SnapshotHandle::Parse(from)), false);
  }
  return {};
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

void Importer::Start(const pool::VolumeInfo& volume, const pool::SnapshotHandle& from, bool blank,
                     std::uint64_t data_bytes) {
  std::vector<std::shared_ptr<Job>> ended;
  const std::lock_guard lock(mutex_);
  ended = TakeEnded();
  // What failed for good took the volume with it, and is to be told.
  if (jobs_.contains(volume.id) || failures_.contains(volume.name)) return;
  auto job = std::make_shared<Job>(runtime_, group_);
  job->name = volume.name;
  job->from = from;
  job->blank = blank;
  job->data_bytes = data_bytes;
  jobs_[volume.id] = job;
  job->group.Spawn("import " + volume.id.str(),
                   [this, id = volume.id, raw = job.get()] { Run(id, *raw); });
}

std::uint64_t Importer::OutstandingBytes() {
  const std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (const auto& [volume, job] : jobs_) {
    if (!job->done) sum += job->data_bytes - std::min(job->data_bytes, job->progress.done_bytes);
  }
  return sum;
}

std::optional<Error> Importer::TakeFailure(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = failures_.find(name);
  if (found == failures_.end()) return std::nullopt;
  std::optional<Error> failure = std::move(found->second);
  failures_.erase(found);
  return failure;
}

Status Importer::Fill(const pool::VolumeId& volume, Job& job) {
  const repo::PointInfo point = TRY(FindPoint(repositories_, job.from));
  const auto repository = TRY(repositories_.Open(job.from.repository));
  const auto target = TRY(pool_.OpenVolume(volume));
  mover::ImportRequest request;
  request.point = point.name;
  request.target = target.get();
  request.target_is_blank = std::exchange(job.blank, false);
  request.progress = [this, &job](const mover::Progress& progress) {
    const std::lock_guard lock(mutex_);
    job.progress = progress;
  };
  return mover::ImportBlocks(*repository, runtime_, request);
}

void Importer::Run(const pool::VolumeId& volume, Job& job) {
  Duration retry = kFirstRetry;
  for (;;) {
    Status filled = Fill(volume, job);
    if (filled.ok()) filled = pool_.TagVolume(volume, {{tags::kImporting, ""}});
    if (filled.Is(Code::kCancelled) || Runtime::Cancelled()) break;
    if (filled.ok()) break;
    LogWarning("import", "volume " + volume.str() + ": " + filled.error().ToString());
    if (IsFinal(filled.error().code())) {
      if (auto removed = pool_.RemoveVolume(volume); !removed.ok()) {
        LogWarning("import", "volume " + volume.str() + ": " + removed.error().ToString());
      }
      const std::lock_guard lock(mutex_);
      failures_.insert_or_assign(job.name, filled.error());
      break;
    }
    {
      const std::lock_guard lock(mutex_);
      job.trouble = filled.error();
    }
    if (!runtime_.SleepFor(retry).ok()) break;
    retry = std::min(retry * 2, kLastRetry);
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
    jobs_.erase(found);
  }
  job->group.Stop();
  job->group.Join();
  return {};
}

}  // namespace thinsnap::transfer
