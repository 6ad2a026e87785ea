#include "snapshotter/operator/repository_points.h"

#include <map>
#include <string>
#include <utility>

#include "snapshotter/api/views.h"

namespace thinsnap::backup {

namespace {

std::string StatHandle(const Json& stat) { return StringAt(stat, "volumeSnapshotHandle"); }

// A Snapshot of session "manual" for a point that no Snapshot names: made by hand, or its view was
// lost.
Json AdoptedSnapshot(const Context& context, const Json& repository, const repo::PointInfo& point) {
  const auto time = FormatRfc3339(point.cut);
  const auto claim = StringAt(point.attributes, "pvc.name");
  const auto seconds = std::to_string(UnixSeconds(point.cut));
  kube::ObjectKey key{
      kube::NamespaceOf(repository),
      ValidName(kube::NameOf(repository),
                "manual-" + point.snapshot.substr(point.snapshot.size() - 6), seconds)};
  auto object = kube::NewObject(context.kinds.snapshot, key);
  kube::AddOwnerReference(object, kube::OwnerReference(repository));
  kube::AddFinalizer(object, context.kinds.finalizer);
  kube::SetLabel(object, context.kinds.Key("repo-name"), kube::NameOf(repository));
  const auto dot = point.series.find('.');
  SnapshotHandle handle{point.series.substr(0, dot),
                        dot == std::string::npos ? "" : point.series.substr(dot + 1),
                        point.snapshot, StringAt(repository, "status.repositoryID")};
  JsonObject spec{{"snapshotID", point.snapshot},
                  {"type", "FullBackup"},
                  {"repository", kube::NameOf(repository)},
                  {"session", "manual"},
                  {"version", "v1"},
                  {"deletionPolicy", "Delete"}};
  spec["appRef"] = JsonObject{{"apiGroup", ""},
                              {"kind", "PersistentVolumeClaim"},
                              {"name", claim.empty() ? "unknown" : claim},
                              {"namespace", StringAt(point.attributes, "pvc.namespace", key.ns)}};
  object.as_object()["spec"] = std::move(spec);
  JsonObject stat{{"pvcName", claim},
                  {"volumeSnapshotName", StringAt(point.attributes, "volumeSnapshot.name")},
                  {"volumeSnapshotTime", time},
                  {"volumeSnapshotHandle", handle.ToString()},
                  {"driver", StringAt(point.attributes, "driver", context.options.driver)}};
  object.as_object()["status"] = JsonObject{
      {"phase", "Pending"},
      {"snapshotTime", time},
      {"totalComponents", 1},
      {"components", JsonObject{{"volumesnapshot", JsonObject{{"driver", "VolumeSnapshotter"},
                                                              {"phase", "Succeeded"},
                                                              {"volumeSnapshotterStats",
                                                               JsonArray{std::move(stat)}}}}}}};
  return object;
}

using PointsByName = std::map<std::string, const repo::PointInfo*>;

// A point that a view names belongs to a Snapshot that somebody deleted here: that one is not
// brought back.
Status DropViewedPoints(store::ObjectStore& store, PointsByName& points) {
  std::vector<std::string> keys;
  TRY(store::ListAll(store, kSnapshotsPrefix, [&](const store::ObjectInfo& info) -> Status {
    keys.push_back(info.key);
    return {};
  }));
  for (const auto& key : keys) {
    TRY(Runtime::CheckCancelled());
    const auto view = ReadView(store, key);
    if (!view.ok()) {
      if (view.Is(Code::kNotFound) || view.Is(Code::kInvalidArgument)) continue;
      return view.error();
    }
    const auto* components = FindObject(*view, "status.components");
    if (components == nullptr) continue;
    for (const auto& [name, component] : *components) {
      for (const auto& stat : ArrayAt(component, "volumeSnapshotterStats")) {
        const auto handle = ParseSnapshotHandle(StatHandle(stat));
        if (handle) points.erase(handle->series() + "." + handle->snapshot);
      }
    }
  }
  return {};
}

}  // namespace

Result<bool> CompareWithPoints(Context& context, const Json& repository, repo::Repository& engine,
                               const std::vector<Json>& snapshots) {
  PointsByName points;
  std::vector<std::string> damaged;
  const auto list = TRY(engine.ListPoints("", [&](const repo::PointName& name, const Error& error) {
    damaged.push_back(name.str() + ": " + error.message());
  }));
  for (const auto& text : damaged) context.events.Emit(repository, "Warning", "PointDamaged", text);
  for (const auto& point : list) points[point.series + "." + point.snapshot] = &point;

  for (const auto& snapshot : snapshots) {
    const bool unverified = kube::ConditionIs(snapshot, "Unverified");
    std::vector<std::string> missing;
    static const JsonObject kNone;
    const auto* components = FindObject(snapshot, "status.components");
    for (const auto& [name, component] : components == nullptr ? kNone : *components) {
      for (const auto& stat : ArrayAt(component, "volumeSnapshotterStats")) {
        const auto handle = ParseSnapshotHandle(StatHandle(stat));
        if (!handle) {
          missing.push_back("claim " + StringAt(stat, "pvcName") + " has no handle of this driver");
          continue;
        }
        const auto known = points.find(handle->series() + "." + handle->snapshot);
        if (known == points.end() || handle->repository != engine.id().str()) {
          missing.push_back(StatHandle(stat));
        } else {
          points.erase(known);
        }
      }
    }
    if (!unverified) continue;
    Json next = snapshot;
    if (missing.empty()) {
      Report(context, next, "Unverified", false, "PointsFound",
             "every volume has its sealed restore point", true);
    } else {
      Report(context, next, "Unverified", true, "PointsMissing",
             "the repository has no restore point for: " + Joined(missing, ", "), false);
    }
    TRY(WriteStatus(context, context.kinds.snapshot, snapshot, next));
  }
  if (!points.empty()) TRY(DropViewedPoints(engine.store(), points));
  for (const auto& [name, point] : points) {
    const auto adopted = AdoptedSnapshot(context, repository, *point);
    auto created = TRY(EnsureExists(context.client, context.kinds.snapshot, adopted));
    if (Find(created, "status.phase") == nullptr) {
      Set(created, "status", ValueAt(adopted, "status"));
      TRY(context.client.Update(context.kinds.snapshot, created, "status"));
    }
  }
  return damaged.empty();
}

Result<bool> RestoreViews(Context& context, const Json& repository, store::ObjectStore& folder,
                          const std::vector<Json>& snapshots) {
  // Whether the view at the key stands for the object.
  const auto stands = [&](const std::string& key, const Json& object) -> Result<bool> {
    const auto view = ReadView(folder, key);
    const bool lost = view.Is(Code::kNotFound) || view.Is(Code::kInvalidArgument);
    if (!view.ok() && !lost) return view.error();
    if (!lost && StringAt(*view, "kind") == StringAt(object, "kind") &&
        StringAt(*view, "metadata.name") == kube::NameOf(object) &&
        StringAt(*view, "spec.snapshotID") == StringAt(object, "spec.snapshotID")) {
      return true;
    }
    context.events.Emit(repository, "Warning", "ViewRebuilt",
                        (view.ok()                  ? key + ": found another object's view"
                         : view.Is(Code::kNotFound) ? key + ": found nothing"
                                                    : view.error().message()) +
                            "; it is written anew from " + StringAt(object, "kind") + " " +
                            kube::KeyOf(object).ToString());
    return false;
  };
  for (const auto& snapshot : snapshots) {
    TRY(Runtime::CheckCancelled());
    // Only what was uploaded before; the rest is on its way, or not sealed by anything.
    if (kube::IsDeleting(snapshot) || kube::ConditionIs(snapshot, "Unverified") ||
        !kube::ConditionIs(snapshot, "SnapshotMetadataUploaded"))
      continue;
    const auto key = kSnapshotsPrefix + kube::NameOf(snapshot) + ".yaml";
    if (!TRY(stands(key, snapshot))) TRY(PutText(folder, key, ViewOf(snapshot)));
  }
  return !TRY(stands(kRepositoryKey, repository));
}

}  // namespace thinsnap::backup
