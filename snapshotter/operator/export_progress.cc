#include "snapshotter/operator/export_progress.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "snapshotter/api/restore_plan.h"
#include "snapshotter/operator/reconcilers.h"
#include "snapshotter/repo/session.h"

namespace thinsnap::backup {

namespace {

constexpr Duration kStuck = std::chrono::minutes(30);

// Bytes of the volume that are behind the writer; 0 before its first checkpoint.
Result<std::uint64_t> PositionOf(repo::Repository& engine, const SnapshotHandle& handle) {
  const auto sessions = TRY(repo::FindSessions(engine.store(), engine.keyring(), handle.series()));
  std::uint64_t position = 0;
  for (const auto& found : sessions) {
    const bool own = found.session.point.str().find(handle.snapshot) != std::string::npos;
    if (own) position = std::max(position, found.session.position_bytes);
  }
  return position;
}

int PercentOf(const Json& stat) {
  return std::atoi(StringAt(stat, "progress.percentDone", "0").c_str());
}

// Each tenth of the way is an event too.
void WriteProgress(Context& context, const Json& snapshot, Json& stat, std::uint64_t position) {
  const auto total = ParseQuantity(StringAt(stat, "restoreSize"));
  const auto done = SizeText(position);
  if (StringAt(stat, "progress.backupDone") == done) return;
  const auto before = PercentOf(stat);
  JsonObject progress{{"backupDone", done}, {"lastChange", context.NowText()}};
  if (total.ok() && *total > 0) {
    progress["total"] = SizeText(*total);
    progress["percentDone"] =
        std::to_string(std::min<std::uint64_t>(position * 100 / *total, 100)) + "%";
  }
  Set(stat, "progress", std::move(progress));
  if (PercentOf(stat) / 10 == before / 10) return;
  context.events.Emit(snapshot, "Normal", "ExportProgress",
                      "claim " + StringAt(stat, "pvcName") + ": " + done + " of " +
                          StringAt(stat, "progress.total") + ", " +
                          StringAt(stat, "progress.percentDone"));
}

}  // namespace

Status FollowExports(Context& context, const Json& repository, Json& snapshot) {
  auto* components = FindMutable(snapshot, "status.components");
  if (components == nullptr || !components->is_object()) return {};
  std::string stuck;
  const Json identity = snapshot;  // for events, while its parts are edited
  for (auto& [name, component] : components->get_object()) {
    auto* stats = FindMutable(component, "volumeSnapshotterStats");
    if (StringAt(component, "phase") != "Running" || stats == nullptr || !stats->is_array())
      continue;
    for (auto& stat : stats->get_array()) {
      const auto handle = ParseSnapshotHandle(StringAt(stat, "volumeSnapshotHandle"));
      if (!handle || handle->repository.empty()) continue;
      const auto opened = OpenRepositoryOf(context, repository);
      if (opened.Is(Code::kCancelled)) return opened.error();
      std::string trouble;
      if (opened.ok()) {
        const auto position = PositionOf(*opened->open.repository, *handle);
        if (position.Is(Code::kCancelled)) return position.error();
        if (position.ok()) WriteProgress(context, identity, stat, *position);
        if (!position.ok()) trouble = ": " + position.error().message();
      } else {
        trouble = ": " + opened.error().message();
      }
      const auto moved = TimeAt(stat, "progress.lastChange");
      const auto since =
          moved ? *moved : TimeAt(stat, "volumeSnapshotTime").value_or(context.Now());
      if (context.Now() - since > kStuck) {
        stuck = "the export of claim " + StringAt(stat, "pvcName") +
                " has made no progress for 30 minutes" + trouble;
      }
    }
  }
  if (!stuck.empty()) {
    Report(context, snapshot, "BackupIncomplete", true, "BackupExecutorTerminatedBeforeCompletion",
           stuck, false);
  }
  return {};
}

}  // namespace thinsnap::backup
