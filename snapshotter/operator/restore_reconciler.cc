// RestoreSession: everything is checked here, by the operator: Repository, usagePolicy, the sealed
// point, the templates. Then each volume gets a VolumeSnapshot to be made from, and a Job makes the
// claims. What was made for the occasion goes when it is over: unbound claims, VolumeSnapshots,
// contents, in this order.
#include <utility>

#include "snapshotter/api/restore_plan.h"
#include "snapshotter/operator/jobs.h"
#include "snapshotter/operator/reconcilers.h"
#include "snapshotter/operator/restore_check.h"
#include "snapshotter/operator/restore_claims.h"

namespace thinsnap::backup {

namespace {

constexpr Duration kPoll = std::chrono::seconds(1);

std::string HelperName(const Json& restore, std::size_t index) {
  return "thinsnap-" + kube::UidOf(restore) + "-" + std::to_string(index);
}

// The VolumeSnapshot that is still there with this very cut; nothing when it is gone or in another
// namespace.
Result<bool> LiveSnapshotFits(Context& context, const std::string& ns, const Json& snapshot,
                              const SourceVolume& source) {
  if (kube::NamespaceOf(snapshot) != ns || source.volume_snapshot.empty()) return false;
  const auto live =
      TRY(GetIfExists(context.client, kube::types::kVolumeSnapshot, {ns, source.volume_snapshot}));
  if (!live || kube::IsDeleting(*live) || !BoolAt(*live, "status.readyToUse")) return false;
  const auto content_name = StringAt(*live, "status.boundVolumeSnapshotContentName");
  const auto content =
      TRY(GetIfExists(context.client, kube::types::kVolumeSnapshotContent, {"", content_name}));
  if (!content || kube::IsDeleting(*content)) return false;
  const auto handle = StringAt(*content, "status.snapshotHandle");
  const auto live_handle = ParseSnapshotHandle(handle);
  const auto wanted = ParseSnapshotHandle(source.handle);
  return live_handle && wanted ? live_handle->SameCut(*wanted) : handle == source.handle;
}

// A VolumeSnapshot for a handle, with a content that keeps the data when it goes.
Status EnsureHelper(Context& context, const Json& restore, const SourceVolume& source,
                    const std::string& name) {
  const kube::ObjectKey key{kube::NamespaceOf(restore), name};
  auto content = kube::NewObject(kube::types::kVolumeSnapshotContent, {"", name});
  kube::SetLabel(content, context.kinds.Key("restore-session-uid"), kube::UidOf(restore));
  content.as_object()["spec"] = JsonObject{
      {"deletionPolicy", "Retain"},
      {"driver", source.driver.empty() ? context.options.driver : source.driver},
      {"source", JsonObject{{"snapshotHandle", source.handle}}},
      {"sourceVolumeMode", source.volume_mode.empty() ? "Filesystem" : source.volume_mode},
      {"volumeSnapshotRef", JsonObject{{"apiVersion", kube::types::kVolumeSnapshot.api_version()},
                                       {"kind", "VolumeSnapshot"},
                                       {"name", key.name},
                                       {"namespace", key.ns}}}};
  TRY(EnsureExists(context.client, kube::types::kVolumeSnapshotContent, content));
  auto volume_snapshot = kube::NewObject(kube::types::kVolumeSnapshot, key);
  kube::SetLabel(volume_snapshot, context.kinds.Key("restore-session-uid"), kube::UidOf(restore));
  volume_snapshot.as_object()["spec"] =
      JsonObject{{"source", JsonObject{{"volumeSnapshotContentName", name}}}};
  TRY(EnsureExists(context.client, kube::types::kVolumeSnapshot, volume_snapshot));
  return {};
}

// What the Job is told, in status: claim, source, VolumeSnapshot.
Result<JsonObject> EnsureSources(Context& context, const Json& restore,
                                 const RestoreCheck& checked) {
  JsonObject components;
  for (std::size_t i = 0; i < checked.plan.size(); ++i) {
    const auto& volume = checked.plan[i];
    auto name = volume.source.volume_snapshot;
    if (!TRY(LiveSnapshotFits(context, kube::NamespaceOf(restore), checked.snapshot,
                              volume.source))) {
      name = HelperName(restore, i);
      TRY(EnsureHelper(context, restore, volume.source, name));
    }
    auto& component = components[volume.source.component];
    if (component.is_null()) component = JsonObject{{"phase", "Pending"}, {"volumes", JsonArray()}};
    component.as_object()["volumes"].as_array().push_back(
        JsonObject{{"claim", volume.claim()},
                   {"source", volume.source.claim},
                   {"volumeSnapshotName", name},
                   {"phase", "Pending"}});
  }
  return components;
}

Result<JobPlan> RestorePlan(Context& context, const Json& restore) {
  const auto key = kube::KeyOf(restore);
  const auto& task_spec = ArrayAt(restore, "spec.addon.tasks")[0];
  const auto task = TRY(FindTask(context, StringAt(restore, "spec.addon.name"), "restoreTasks",
                                 StringAt(task_spec, "name")));
  JobPlan plan;
  plan.key = {key.ns, ValidName(key.name, "restore")};
  plan.owner = restore;
  plan.component = "thinsnap-restore";
  plan.cluster_role = "thinsnap-restore-job";
  plan.image = StringAt(task.function, "spec.image", context.options.image);
  plan.command = TRY(CommandOfFunction(context, task.function,
                                       {{"namespace", key.ns},
                                        {"restoreSession", key.name},
                                        {"snapshot", StringAt(restore, "spec.dataSource.snapshot")},
                                        {"taskName", StringAt(task_spec, "name")}}));
  plan.labels = OffshootLabels(context.kinds, "RestoreSession", key.name, key.ns, "");
  if (const auto* settings = Find(restore, "spec.addon.jobTemplate")) plan.settings = *settings;
  return plan;
}

// Unbound claims (when it did not succeed), then VolumeSnapshots, then contents. True when all are
// gone.
Result<bool> CleanUp(Context& context, const Json& restore, bool claims_too) {
  if (claims_too) {
    // Or it would make the claims again.
    TRY(DeleteIfExists(context.client, kube::types::kJob,
                       {kube::NamespaceOf(restore), ValidName(kube::NameOf(restore), "restore")}));
    const auto claims = TRY(ClaimsOf(context, restore));
    bool waiting = false;
    for (const auto& claim : claims) {
      if (StringAt(claim, "status.phase") == "Bound") continue;
      waiting = true;
      if (!kube::IsDeleting(claim))
        TRY(DeleteIfExists(context.client, kube::types::kPersistentVolumeClaim,
                           kube::KeyOf(claim)));
    }
    if (waiting) return false;
  }
  kube::ListOptions options;
  options.label_selector = context.kinds.Key("restore-session-uid") + "=" + kube::UidOf(restore);
  for (const auto* type : {&kube::types::kVolumeSnapshot, &kube::types::kVolumeSnapshotContent}) {
    const auto list = TRY(
        context.client.List(*type, type->namespaced ? kube::NamespaceOf(restore) : "", options));
    for (const auto& item : list.items) {
      if (!kube::IsDeleting(item)) TRY(DeleteIfExists(context.client, *type, kube::KeyOf(item)));
    }
    if (!list.items.empty()) return false;
  }
  return true;
}

void Finish(Context& context, Json& restore, const std::string& phase, const std::string& message) {
  if (phase != "Invalid") ReportMetrics(context, restore);
  Set(restore, "status.phase", Json(phase));
  Set(restore, "status.duration", Json(DurationText(context.Now() - CreationTime(restore))));
  context.events.Emit(restore, phase == "Succeeded" ? "Normal" : "Warning",
                      "RestoreSession" + phase, message);
}

// Components that have not ended fail with the reason.
void FailComponents(Json& restore, const std::string& why) {
  auto* components = FindMutable(restore, "status.components");
  if (components == nullptr || !components->is_object()) return;
  for (auto& [name, component] : components->get_object()) {
    const auto phase = StringAt(component, "phase");
    if (phase == "Succeeded" || phase == "Failed") continue;
    component.as_object()["phase"] = "Failed";
    component.as_object()["error"] = why;
  }
}

bool DeadlinePassed(const Context& context, const Json& restore) {
  const auto deadline = TimeAt(restore, "status.restoreDeadline");
  return deadline && context.Now() > *deadline;
}

// A Repository that came back from a bucket may not know its passphrase, or know it under a name
// that this cluster lacks: then it takes the Secret that the RestoreSession names. Not before it
// has said that it lacks one: a plain repository is not opened with a passphrase.
Status LendPassphrase(Context& context, const Json& restore, const Json& repository) {
  const auto* given = Find(restore, "spec.dataSource.encryptionSecret");
  if (given == nullptr || !repository.is_object()) return {};
  const auto* initialized = kube::FindCondition(repository, "RepositoryInitialized");
  if (initialized == nullptr || StringAt(*initialized, "status") != "False" ||
      StringAt(*initialized, "reason") != kEncryptionSecretMissing) {
    return {};
  }
  if (kube::AnnotationOf(repository, context.kinds.Key("imported-from")).empty()) return {};
  const auto ns = kube::NamespaceOf(repository);
  const auto offered = ReferenceKey(*given, kube::NamespaceOf(restore));
  if (offered.ns != ns || !TRY(GetIfExists(context.client, kube::types::kSecret, offered)))
    return {};
  if (const auto* known = Find(repository, "spec.encryptionSecret")) {
    const auto key = ReferenceKey(*known, ns);
    if (key == offered || TRY(GetIfExists(context.client, kube::types::kSecret, key))) return {};
  }
  Json next = repository;
  Set(next, "spec.encryptionSecret", ReferenceTo(offered));
  TRY(context.client.Update(context.kinds.repository, next));
  return {};
}

Result<kube::Requeue> Begin(Context& context, const Json& before) {
  Json next = before;
  const auto save = [&] {
    return WriteStatus(context, context.kinds.restore_session, before, next);
  };
  const auto checked = TRY(CheckRestore(context, next));
  if (!checked.invalid.empty()) {
    Report(context, next, "ValidationPassed", false, "ResourceValidationFailed", checked.invalid);
    Finish(context, next, "Invalid", checked.invalid);
    TRY(save());
    return kube::Requeue::Done();
  }
  const auto timeout = ParseDuration(StringAt(next, "spec.restoreTimeout"));
  if (timeout.ok() && TimeAt(next, "status.restoreDeadline") == std::nullopt &&
      !StringAt(next, "spec.restoreTimeout").empty()) {
    Set(next, "status.restoreDeadline", Json(FormatRfc3339(CreationTime(next) + *timeout)));
  }
  if (!checked.pending.empty()) {
    TRY(LendPassphrase(context, next, checked.repository));
    Set(next, "status.phase", "Pending");
    Report(context, next, "ValidationPassed", false, "WaitingForDependencies", checked.pending);
    if (DeadlinePassed(context, next)) {
      Finish(context, next, "Failed", "restoreTimeout passed: " + checked.pending);
    }
    TRY(save());
    return kube::Requeue::After(kPoll);
  }
  Report(context, next, "ValidationPassed", true, "ResourceValidationPassed",
         "Snapshot " + kube::KeyOf(checked.snapshot).ToString() + " is restored");
  auto components = TRY(EnsureSources(context, next, checked));
  Set(next, "status.totalComponents", static_cast<std::int64_t>(components.size()));
  Set(next, "status.components", std::move(components));
  Set(next, "status.phase", "Running");
  TRY(save());
  return kube::Requeue::After(Duration{0});
}

// A claim made from a VolumeSnapshot that is not ready would be refused first. `waiting` says what
// the CSI driver says of one that does not become ready.
Result<bool> SourcesReady(Context& context, const Json& restore, std::string& waiting) {
  bool ready = true;
  for (const auto& [name, component] : ObjectAt(restore, "status.components")) {
    for (const auto& volume : ArrayAt(component, "volumes")) {
      const kube::ObjectKey key{kube::NamespaceOf(restore), StringAt(volume, "volumeSnapshotName")};
      const auto source = TRY(GetIfExists(context.client, kube::types::kVolumeSnapshot, key));
      if (source && BoolAt(*source, "status.readyToUse")) continue;
      ready = false;
      const auto error = source ? StringAt(*source, "status.error.message") : "it is gone";
      if (!error.empty()) waiting = "VolumeSnapshot " + key.ToString() + ": " + error;
    }
  }
  return ready;
}

Result<kube::Requeue> Follow(Context& context, const Json& before) {
  Json next = before;
  const auto save = [&] {
    return WriteStatus(context, context.kinds.restore_session, before, next);
  };
  if (!kube::ConditionIs(next, "RestoreExecutorEnsured") && !DeadlinePassed(context, next)) {
    std::string waiting;
    if (!TRY(SourcesReady(context, next, waiting))) {
      if (!waiting.empty()) {
        Report(context, next, "RestoreExecutorEnsured", false, "WaitingForVolumeSnapshots",
               waiting);
        TRY(save());
      }
      return kube::Requeue::After(std::chrono::milliseconds(100));
    }
    const auto plan = RestorePlan(context, next);
    if (!plan.ok()) return plan.error();
    TRY(EnsureJob(context, *plan));
    Report(context, next, "RestoreExecutorEnsured", true, "SuccessfullyEnsuredRestoreExecutor",
           "the restore Job is there");
    TRY(save());
    return kube::Requeue::After(kPoll);
  }
  std::vector<std::string> failed;
  bool ended = true;
  for (const auto& [name, component] : ObjectAt(next, "status.components")) {
    const auto phase = StringAt(component, "phase");
    ended = ended && (phase == "Succeeded" || phase == "Failed");
    if (phase == "Failed")
      failed.push_back(std::string(name) + ": " + StringAt(component, "error"));
  }
  const kube::ObjectKey job_key{kube::NamespaceOf(next), ValidName(kube::NameOf(next), "restore")};
  if (!ended) {
    TRY(SelectNodes(context, next));
    std::string why = TRY(FollowClaims(context, next));
    if (why.empty() && DeadlinePassed(context, next)) {
      why =
          "the restore did not end within restoreTimeout, " + StringAt(next, "spec.restoreTimeout");
    }
    if (why.empty()) why = StandsStill(context, next);
    const auto job = TRY(GetIfExists(context.client, kube::types::kJob, job_key));
    if (why.empty() && !job) why = "the restore Job was deleted";
    if (why.empty() && StateOfJob(*job) != JobState::kRunning) {
      why = "the restore Job ended before the restore did: " + FailureOfJob(*job);
    }
    if (why.empty()) {
      TRY(save());
      return kube::Requeue::After(kPoll);
    }
    TRY(DeleteIfExists(context.client, kube::types::kJob, job_key));
    FailComponents(next, why);
    Report(context, next, "RestoreIncomplete", true, "RestoreExecutorTerminatedBeforeCompletion",
           why, false);
    TRY(save());
    return kube::Requeue::After(Duration{0});
  }
  if (failed.empty()) {
    RemoveCondition(next, kRestoreProgressing);
  } else if (!kube::ConditionIs(next, "RestoreIncomplete")) {
    Report(context, next, "RestoreIncomplete", true, "ComponentsFailed", Joined(failed, "; "),
           false);
  }
  if (!TRY(CleanUp(context, next, !failed.empty())))
    return kube::Requeue::After(std::chrono::milliseconds(200));
  Finish(context, next, failed.empty() ? "Succeeded" : "Failed",
         failed.empty() ? "every component was restored" : Joined(failed, "; "));
  TRY(save());
  return kube::Requeue::Done();
}

}  // namespace

Result<kube::Requeue> ReconcileRestoreSession(Context& context, const kube::ObjectKey& key) {
  auto found = TRY(GetIfExists(context.client, context.kinds.restore_session, key));
  if (!found) return kube::Requeue::Done();
  const auto phase = StringAt(*found, "status.phase");
  if (kube::IsDeleting(*found)) {
    if (!kube::HasFinalizer(*found, context.kinds.finalizer)) return kube::Requeue::Done();
    if (!TRY(CleanUp(context, *found, phase == "Running"))) return kube::Requeue::After(kPoll);
    TRY(DropFinalizer(context, context.kinds.restore_session, *found));
    return kube::Requeue::Done();
  }
  if (phase == "Succeeded" || phase == "Failed" || phase == "Invalid") return kube::Requeue::Done();
  TRY(EnsureFinalizer(context, context.kinds.restore_session, *found));
  return phase == "Running" ? Follow(context, *found) : Begin(context, *found);
}

}  // namespace thinsnap::backup
