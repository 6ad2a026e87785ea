#include "snapshotter/api/snapshot.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/kube/object.h"
#include "snapshotter/api/fields.h"

namespace thinsnap::backup {

namespace {

constexpr std::size_t kRecentSnapshots = 5;

}  // namespace

bool IsFinalPhase(std::string_view phase) {
  return phase == "Succeeded" || phase == "Failed" || phase == "Skipped";
}

std::vector<std::string> FailureOfComponents(const Json& snapshot) {
  std::vector<std::string> reasons;
  if (const auto* components = FindObject(snapshot, "status.components")) {
    for (const auto& [name, component] : *components) {
      if (const auto error = StringAt(component, "error"); !error.empty())
        reasons.push_back("component " + std::string(name) + ": " + error);
    }
  }
  return reasons;
}

std::string FailureOfSnapshot(const Json& snapshot) {
  auto reasons = FailureOfComponents(snapshot);
  if (const auto* incomplete = kube::FindCondition(snapshot, "BackupIncomplete");
      incomplete != nullptr && reasons.empty()) {
    reasons.push_back(StringAt(*incomplete, "message"));
  }
  if (const auto text = FalseConditions(snapshot); !text.empty()) reasons.push_back(text);
  return Joined(reasons, "; ");
}

bool ComponentsEnded(const Json& snapshot) {
  const auto* components = FindObject(snapshot, "status.components");
  if (components == nullptr || components->empty()) return false;
  if (static_cast<std::int64_t>(components->size()) < IntAt(snapshot, "status.totalComponents"))
    return false;
  return std::all_of(components->begin(), components->end(), [](const auto& entry) {
    return IsFinalPhase(StringAt(entry.value(), "phase"));
  });
}

std::string SnapshotPhase(const Json& snapshot) {
  if (kube::ConditionIs(snapshot, "SnapshotMetadataUploaded", "False") ||
      kube::ConditionIs(snapshot, "RecentSnapshotListUpdated", "False") ||
      kube::ConditionIs(snapshot, "BackupIncomplete")) {
    return "Failed";
  }
  const auto* components = FindObject(snapshot, "status.components");
  if (components == nullptr || components->empty()) return "Pending";
  if (!ComponentsEnded(snapshot) || !kube::ConditionIs(snapshot, "SnapshotMetadataUploaded"))
    return "Running";
  for (const auto& [name, component] : *components) {
    if (StringAt(component, "phase") == "Failed") return "Failed";
  }
  return "Succeeded";
}

void SummarizeSnapshots(Json& repository, const std::vector<Json>& snapshots) {
  JsonArray recent;
  std::set<std::string> paths;
  std::string last_backup;
  std::int64_t count = 0;
  for (const auto& snapshot : snapshots) {
    if (kube::IsDeleting(snapshot)) continue;
    ++count;
    const auto time =
        StringAt(snapshot, "status.snapshotTime", StringAt(snapshot, "metadata.creationTimestamp"));
    if (StringAt(snapshot, "status.phase") == "Succeeded" && time > last_backup) last_backup = time;
    if (const auto* components = FindObject(snapshot, "status.components")) {
      for (const auto& [name, component] : *components) {
        if (auto path = StringAt(component, "path"); !path.empty()) paths.insert(std::move(path));
      }
    }
    JsonObject item{{"name", kube::NameOf(snapshot)},
                    {"phase", StringAt(snapshot, "status.phase", "Pending")},
                    {"session", StringAt(snapshot, "spec.session")},
                    {"snapshotTime", time}};
    if (const auto size = StringAt(snapshot, "status.size"); !size.empty()) item["size"] = size;
    recent.push_back(std::move(item));
    if (recent.size() > kRecentSnapshots) recent.erase(recent.begin());
  }
  Set(repository, "status.snapshotCount", count);
  Set(repository, "status.recentSnapshots", std::move(recent));
  if (last_backup.empty()) {
    Remove(repository, "status.lastBackupTime");
  } else {
    Set(repository, "status.lastBackupTime", Json(last_backup));
  }
  JsonArray path_list;
  for (const auto& path : paths) path_list.emplace_back(path);
  Set(repository, "status.componentPaths", std::move(path_list));
}

}  // namespace thinsnap::backup
