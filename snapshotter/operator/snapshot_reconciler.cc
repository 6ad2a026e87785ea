// Snapshot: what the Job cannot see is filled in (handles from the contents, figures from the
// sealed points), the phase follows from the components, and the view goes to the bucket.
#include <algorithm>
#include <set>
#include <utility>

#include "snapshotter/api/restore_plan.h"
#include "snapshotter/api/snapshot.h"
#include "snapshotter/api/views.h"
#include "snapshotter/operator/export_progress.h"
#include "snapshotter/operator/reconcilers.h"
#include "snapshotter/store/s3_error.h"

namespace thinsnap::backup {

namespace {

// Reads handle and driver of one volume from its VolumeSnapshot's content. False while they are not
// there.
Result<bool> FillHandle(Context& context, const Json& snapshot, const std::string& repository_id,
                        Json& stat) {
  if (!StringAt(stat, "volumeSnapshotHandle").empty()) return true;
  const kube::ObjectKey key{kube::NamespaceOf(snapshot), StringAt(stat, "volumeSnapshotName")};
  if (key.name.empty()) return false;
  const auto volume_snapshot = TRY(GetIfExists(context.client, kube::types::kVolumeSnapshot, key));
  if (!volume_snapshot) return false;
  const auto content_name = StringAt(*volume_snapshot, "status.boundVolumeSnapshotContentName");
  if (content_name.empty()) return false;
  const auto content =
      TRY(GetIfExists(context.client, kube::types::kVolumeSnapshotContent, {"", content_name}));
  if (!content) return false;
  auto text = StringAt(*content, "status.snapshotHandle");
  if (text.empty()) return false;
  const auto driver = StringAt(*content, "spec.driver");
  // One cut reaches several repositories under one handle; this Snapshot is about its own.
  if (auto handle = ParseSnapshotHandle(text);
      handle && driver == context.options.driver && !handle->repository.empty()) {
    handle->repository = repository_id;
    text = handle->ToString();
  }
  auto& fields = stat.as_object();
  fields["volumeSnapshotHandle"] = text;
  fields["driver"] = driver;
  fields["volumeMode"] = StringAt(*content, "spec.sourceVolumeMode", "Filesystem");
  const auto size = IntAt(*content, "status.restoreSize");
  if (size > 0 && !fields.contains("restoreSize"))
    fields["restoreSize"] = QuantityText(static_cast<std::uint64_t>(size));
  return true;
}

const char* ModeName(repo::ExportMode mode) {
  switch (mode) {
    case repo::ExportMode::kFull:
      return "full";
    case repo::ExportMode::kChanged:
      return "incremental";
    case repo::ExportMode::kReread:
      return "reread";
  }
  return "full";
}

// The figures of one volume from its restore point. kNotFound when the repository has none.
Status FillFigures(repo::Repository& engine, Json& stat) {
  if (Find(stat, "bytesUploaded") != nullptr) return {};
  const auto handle = ParseSnapshotHandle(StringAt(stat, "volumeSnapshotHandle"));
  if (!handle || handle->repository.empty()) return {};
  const auto point = TRY(engine.FindPoint(handle->series(), handle->snapshot));
  auto& fields = stat.as_object();
  fields.erase("progress");
  fields["mode"] = ModeName(point.mode);
  if (!point.mode_reason.empty()) fields["modeReason"] = point.mode_reason;
  fields["bytesRead"] = static_cast<std::int64_t>(point.read_bytes);
  fields["bytesChanged"] = static_cast<std::int64_t>(point.changed_bytes);
  fields["bytesStored"] = static_cast<std::int64_t>(point.stored_bytes);
  fields["bytesUploaded"] = static_cast<std::int64_t>(point.uploaded_bytes);
  if (StringAt(stat, "restoreSize").empty()) fields["restoreSize"] = QuantityText(point.size_bytes);
  return {};
}

// The size of a component is what its volumes uploaded.
void SumUp(Json& component) {
  std::uint64_t uploaded = 0;
  for (const auto& stat : ArrayAt(component, "volumeSnapshotterStats"))
    uploaded += static_cast<std::uint64_t>(IntAt(stat, "bytesUploaded"));
  component.as_object()["size"] = SizeText(uploaded);
}

// True if some volume still lacks what its ended component should have.
bool Incomplete(const Json& component) {
  for (const auto& stat : ArrayAt(component, "volumeSnapshotterStats")) {
    const auto handle = ParseSnapshotHandle(StringAt(stat, "volumeSnapshotHandle"));
    if (StringAt(stat, "volumeSnapshotHandle").empty()) return true;
    if (handle && !handle->repository.empty() && Find(stat, "bytesUploaded") == nullptr)
      return true;
  }
  return false;
}

// True where this repository has a sound point of every volume, whatever became of the rest: one
// cut goes to several repositories, and one of them that fails is no loss of the others.
Result<bool> HasEveryPoint(Context& context, const Json& repository, Json& stats) {
  const auto& volumes = stats.get_array();
  const bool cut = std::all_of(volumes.begin(), volumes.end(), [](const Json& stat) {
    const auto handle = ParseSnapshotHandle(StringAt(stat, "volumeSnapshotHandle"));
    return handle && !handle->repository.empty();
  });
  if (!cut || volumes.empty()) return false;
  const auto opened = TRY(OpenRepositoryOf(context, repository));
  for (auto& stat : stats.get_array()) {
    const auto filled = FillFigures(*opened.open.repository, stat);
    if (filled.Is(Code::kNotFound) || filled.Is(Code::kDataLoss)) return false;
    TRY(filled);
  }
  return true;
}

// Fills in what is there to be had. A component that the Job calls done, but whose point is not in
// the repository, fails.
Status FillComponents(Context& context, const Json& repository, Json& snapshot) {
  auto* components = FindMutable(snapshot, "status.components");
  if (components == nullptr || !components->is_object()) return {};
  const auto repository_id = StringAt(repository, "status.repositoryID");
  for (auto& [name, component] : components->get_object()) {
    auto* stats = FindMutable(component, "volumeSnapshotterStats");
    if (stats == nullptr || !stats->is_array()) continue;
    for (auto& stat : stats->get_array()) TRY(FillHandle(context, snapshot, repository_id, stat));
    const auto phase = StringAt(component, "phase");
    const bool given_up = phase == "Failed" ||
                          (phase != "Succeeded" && kube::ConditionIs(snapshot, "BackupIncomplete"));
    if (given_up && TRY(HasEveryPoint(context, repository, *stats))) {
      component.as_object()["phase"] = "Succeeded";
      component.as_object().erase("error");
      SumUp(component);
    }
    if (StringAt(component, "phase") != "Succeeded" || !Incomplete(component)) continue;
    const auto opened = TRY(OpenRepositoryOf(context, repository));
    for (auto& stat : stats->get_array()) {
      const auto filled = FillFigures(*opened.open.repository, stat);
      if (filled.Is(Code::kNotFound) || filled.Is(Code::kDataLoss)) {
        component.as_object()["phase"] = "Failed";
        component.as_object()["error"] =
            "claim " + StringAt(stat, "pvcName") +
            ": the VolumeSnapshot is ready, but repository " + repository_id +
            " has no sound restore point for it: " + filled.error().message();
        break;
      }
      if (!filled.ok()) return filled;
    }
    SumUp(component);
  }
  return {};
}

// full unless every volume was incremental; the sizes added up.
void SummarizeComponents(Json& snapshot) {
  const auto* components = FindObject(snapshot, "status.components");
  if (components == nullptr) return;
  std::uint64_t size = 0;
  bool figures = false;
  for (const auto& [name, component] : *components) {
    for (const auto& stat : ArrayAt(component, "volumeSnapshotterStats")) {
      if (Find(stat, "bytesUploaded") == nullptr) continue;
      figures = true;
      size += static_cast<std::uint64_t>(IntAt(stat, "bytesUploaded"));
    }
  }
  if (figures) Set(snapshot, "status.size", Json(SizeText(size)));
}

Status UploadView(Context& context, const Json& repository, const Json& snapshot) {
  const auto opened = TRY(OpenRepositoryOf(context, repository));
  return PutText(*opened.open.store, kSnapshotsPrefix + kube::NameOf(snapshot) + ".yaml",
                 ViewOf(snapshot));
}

// Removes the VolumeSnapshots of a Snapshot that no other Snapshot of the namespace names.
Status DeleteVolumeSnapshots(Context& context, const Json& snapshot) {
  std::set<std::string> names;
  const auto collect = [](const Json& from, const auto& visit) {
    const auto* components = FindObject(from, "status.components");
    if (components == nullptr) return;
    for (const auto& [name, component] : *components) {
      for (const auto& stat : ArrayAt(component, "volumeSnapshotterStats"))
        visit(StringAt(stat, "volumeSnapshotName"), stat);
    }
  };
  collect(snapshot, [&](const std::string& name, const Json&) { names.insert(name); });
  const auto others = TRY(context.client.List(context.kinds.snapshot, kube::NamespaceOf(snapshot)));
  for (const auto& other : others.items) {
    if (kube::UidOf(other) == kube::UidOf(snapshot)) continue;
    collect(other, [&](const std::string& name, const Json&) { names.erase(name); });
  }
  for (const auto& name : names) {
    if (name.empty()) continue;
    const kube::ObjectKey key{kube::NamespaceOf(snapshot), name};
    const auto existing = TRY(GetIfExists(context.client, kube::types::kVolumeSnapshot, key));
    // Only what a session made; a VolumeSnapshot made by hand stays with whoever made it.
    if (!existing || kube::LabelOf(*existing, context.kinds.Key("invoker-name")).empty()) continue;
    TRY(DeleteIfExists(context.client, kube::types::kVolumeSnapshot, key));
  }
  return {};
}

// A point that cannot be read any more is forgotten by its name.
Status ForgetDamaged(repo::Repository& engine, const SnapshotHandle& handle) {
  std::vector<repo::PointName> names;
  const auto prefix = handle.series() + "/" + handle.snapshot + ".";
  TRY(engine.ListPoints(handle.series(), [&](const repo::PointName& name, const Error&) {
    if (name.str().starts_with(prefix)) names.push_back(name);
  }));
  for (const auto& name : names) TRY(engine.Forget(name));
  return {};
}

// WipeOut forgets every restore point of the Snapshot and removes its view.
Status ForgetPoints(Context& context, const Json& repository, const Json& snapshot) {
  const auto opened = TRY(OpenRepositoryOf(context, repository));
  const auto* components = FindObject(snapshot, "status.components");
  if (components != nullptr) {
    for (const auto& [name, component] : *components) {
      for (const auto& stat : ArrayAt(component, "volumeSnapshotterStats")) {
        const auto handle = ParseSnapshotHandle(StringAt(stat, "volumeSnapshotHandle"));
        if (!handle || handle->repository != opened.open.repository->id().str()) continue;
        const auto point = opened.open.repository->FindPoint(handle->series(), handle->snapshot);
        if (point.Is(Code::kNotFound)) continue;
        if (point.Is(Code::kDataLoss)) {
          TRY(ForgetDamaged(*opened.open.repository, *handle));
          continue;
        }
        if (!point.ok()) return point.error();
        TRY(opened.open.repository->Forget(point->name));
      }
    }
  }
  return opened.open.store->Delete(kSnapshotsPrefix + kube::NameOf(snapshot) + ".yaml");
}

// Whoever deletes a BackupSession, or its configuration, ends its Job: nobody else would say so.
Status NoticeLostSession(Context& context, Json& snapshot) {
  const kube::ObjectKey key{kube::NamespaceOf(snapshot), StringAt(snapshot, "spec.backupSession")};
  if (key.name.empty() || kube::ConditionIs(snapshot, "BackupIncomplete")) return {};
  const auto session = TRY(GetIfExists(context.client, context.kinds.backup_session, key));
  if (session && !kube::IsDeleting(*session)) return {};
  Report(context, snapshot, "BackupIncomplete", true, "BackupExecutorTerminatedBeforeCompletion",
         "BackupSession " + key.ToString() + " was deleted before the backup ended", false);
  return {};
}

Result<kube::Requeue> FinishSnapshot(Context& context, Json snapshot) {
  const kube::ObjectKey repository_key{kube::NamespaceOf(snapshot),
                                       StringAt(snapshot, "spec.repository")};
  const auto repository =
      TRY(GetIfExists(context.client, context.kinds.repository, repository_key));
  // Without its Repository nothing is left to remove: a wipe of it took the points, anything else
  // keeps them.
  const bool wipe = StringAt(snapshot, "spec.deletionPolicy") == "WipeOut" && repository &&
                    !kube::IsDeleting(*repository) &&
                    !kube::ConditionIs(*repository, "OwnedElsewhere");
  if (wipe && TRY(NamespaceIsGoing(context, kube::NamespaceOf(snapshot)))) {
    ReportKeptData(context, snapshot);
  } else if (wipe) {
    const auto forgotten = ForgetPoints(context, *repository, snapshot);
    if (!forgotten.ok() && !store::BucketIsGone(forgotten.error())) {
      if (forgotten.Is(Code::kCancelled)) return forgotten.error();
      Json next = snapshot;
      Report(context, next, "CleanedUp", false, "CleanUpFailed",
             "the restore points could not be forgotten: " + forgotten.error().message() +
                 "; this is tried again, deletionPolicy Delete releases the object and keeps them");
      TRY(WriteStatus(context, context.kinds.snapshot, snapshot, next));
      return kube::Requeue::After(kRetryInterval);
    }
    TRY(DeleteVolumeSnapshots(context, snapshot));
  }
  TRY(DropFinalizer(context, context.kinds.snapshot, snapshot));
  return kube::Requeue::Done();
}

}  // namespace

Result<kube::Requeue> ReconcileSnapshot(Context& context, const kube::ObjectKey& key) {
  auto found = TRY(GetIfExists(context.client, context.kinds.snapshot, key));
  if (!found) return kube::Requeue::Done();
  if (kube::IsDeleting(*found)) {
    if (!kube::HasFinalizer(*found, context.kinds.finalizer)) return kube::Requeue::Done();
    return FinishSnapshot(context, std::move(*found));
  }
  const auto phase = StringAt(*found, "status.phase");
  // Whoever makes a Snapshot (a session, an import, an adoption) writes its status second: until
  // then there is nothing to add to, and a status of ours would stand in the way of theirs.
  if (phase.empty()) return kube::Requeue::Done();
  const bool uploaded = kube::FindCondition(*found, "SnapshotMetadataUploaded") != nullptr;
  // What was brought back from a bucket is as its view says, until the points are compared.
  if (kube::FindCondition(*found, "Unverified") != nullptr) return kube::Requeue::Done();
  if (IsFinalPhase(phase) && uploaded) return kube::Requeue::Done();

  const kube::ObjectKey repository_key{key.ns, StringAt(*found, "spec.repository")};
  const auto repository =
      TRY(GetIfExists(context.client, context.kinds.repository, repository_key));
  if (!repository) return kube::Requeue::After(kRetryInterval);

  Json next = *found;
  if (!ComponentsEnded(next)) TRY(NoticeLostSession(context, next));
  auto filled = FillComponents(context, *repository, next);
  if (filled.ok() && ComponentsEnded(next) && FailureOfComponents(next).empty())
    RemoveCondition(next, "BackupIncomplete");
  // Nobody waits any longer, not even for a bucket that does not answer; its view comes later.
  const bool given_up = kube::ConditionIs(next, "BackupIncomplete");
  const bool ended = ComponentsEnded(next) || given_up;
  if (!filled.ok() && (!ended || filled.Is(Code::kCancelled))) return filled.error();
  SummarizeComponents(next);
  if (!ended) TRY(FollowExports(context, *repository, next));

  if (ended && !uploaded) {
    if (!filled.ok() && !given_up)
      return filled.error().In("the figures of Snapshot " + key.ToString());
    Json complete = next;
    const bool ours = !kube::ConditionIs(*repository, "OwnedElsewhere");
    kube::SetCondition(complete, "SnapshotMetadataUploaded", true,
                       ours ? "SuccessfullyUploadedSnapshotMetadata" : "OwnedByAnotherCluster",
                       ours ? "the Snapshot's view is in the bucket"
                            : "the bucket belongs to another cluster and is not written",
                       context.Now());
    kube::SetCondition(complete, "RecentSnapshotListUpdated", true,
                       "SuccessfullyUpdatedRecentSnapshotList",
                       "the Repository lists this Snapshot", context.Now());
    Set(complete, "status.lastUpdateTime", Json(context.NowText()));
    Set(complete, "status.phase", Json(SnapshotPhase(complete)));
    const auto sent = ours ? UploadView(context, *repository, complete) : Status();
    if (sent.ok()) {
      auto listed = *repository;
      auto snapshots = TRY(SnapshotsOf(context, listed));
      for (auto& snapshot : snapshots) {
        if (kube::NameOf(snapshot) == key.name) snapshot = complete;
      }
      SummarizeSnapshots(listed, snapshots);
      TRY(WriteStatus(context, context.kinds.repository, *repository, listed));
      next = std::move(complete);
    } else if (MayPass(sent.error()) && (!given_up || sent.Is(Code::kCancelled))) {
      return sent.error();
    } else if (!MayPass(sent.error())) {
      Report(context, next, "SnapshotMetadataUploaded", false, "FailedToUploadSnapshotMetadata",
             sent.error().message());
    }
  }
  Set(next, "status.phase", Json(SnapshotPhase(next)));
  if (StringAt(next, "status.phase") != phase && IsFinalPhase(StringAt(next, "status.phase"))) {
    const bool good = StringAt(next, "status.phase") == "Succeeded";
    context.events.Emit(next, good ? "Normal" : "Warning",
                        good ? "BackupSucceeded" : "BackupFailed",
                        good ? "every component succeeded" : FailureOfSnapshot(next));
  }
  TRY(WriteStatus(context, context.kinds.snapshot, *found, next));
  const bool view_owed =
      given_up && kube::FindCondition(next, "SnapshotMetadataUploaded") == nullptr;
  if (!IsFinalPhase(StringAt(next, "status.phase")) || view_owed)
    return kube::Requeue::After(kRetryInterval);
  return kube::Requeue::Done();
}

}  // namespace thinsnap::backup
