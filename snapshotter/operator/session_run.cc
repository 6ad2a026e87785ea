#include "snapshotter/operator/session_run.h"

#include <algorithm>
#include <utility>

#include "snapshotter/api/snapshot.h"
#include "snapshotter/operator/reconcilers.h"

namespace thinsnap::backup {

namespace {

Json SnapshotFor(Context& context, const SessionRun& run, const Json& repository) {
  const kube::ObjectKey key{NamespaceName(run),
                            SnapshotName(kube::NameOf(repository), SessionName(run))};
  auto snapshot = kube::NewObject(context.kinds.snapshot, key);
  kube::AddOwnerReference(snapshot, kube::OwnerReference(repository));
  kube::AddFinalizer(snapshot, context.kinds.finalizer);
  const auto target = [&](const char* member) {
    return StringAt(run.configuration, std::string("spec.target.") + member);
  };
  kube::SetLabel(snapshot, context.kinds.Key("repo-name"), kube::NameOf(repository));
  kube::SetLabel(snapshot, context.kinds.Key("app-ref-kind"), target("kind"));
  kube::SetLabel(snapshot, context.kinds.Key("app-ref-name"), ValidName(target("name"), ""));
  kube::SetLabel(snapshot, context.kinds.Key("app-ref-namespace"), key.ns);
  JsonObject app{{"apiGroup", target("apiGroup")},
                 {"kind", target("kind")},
                 {"name", target("name")},
                 {"namespace", key.ns}};
  snapshot.as_object()["spec"] = JsonObject{{"appRef", std::move(app)},
                                            {"backupSession", SessionName(run)},
                                            {"deletionPolicy", "Delete"},
                                            {"repository", kube::NameOf(repository)},
                                            {"session", StringAt(run.session, "spec.session")},
                                            {"snapshotID", NewUlid(context.Now(), context.random)},
                                            {"type", "FullBackup"},
                                            {"version", "v1"}};
  return snapshot;
}

}  // namespace

Result<std::vector<Json>> RepositoriesOfSession(Context& context, const SessionRun& run) {
  std::vector<Json> repositories;
  for (const auto& item : ArrayAt(run.spec, "repositories")) {
    const kube::ObjectKey key{NamespaceName(run), StringAt(item, "name")};
    auto repository = TRY(GetIfExists(context.client, context.kinds.repository, key));
    if (!repository)
      return Error(Code::kFailedPrecondition,
                   "Repository " + key.ToString() + " does not exist any more");
    repositories.push_back(std::move(*repository));
  }
  return repositories;
}

Status EnsureSnapshots(Context& context, SessionRun& run, const std::vector<Json>& repositories,
                       std::size_t components) {
  JsonArray statuses;
  for (const auto& repository : repositories) {
    auto snapshot = TRY(EnsureExists(context.client, context.kinds.snapshot,
                                     SnapshotFor(context, run, repository)));
    // Not by its phase: the Snapshot's own reconciler may have been faster with that.
    if (Find(snapshot, "status.totalComponents") == nullptr) {
      if (Find(snapshot, "status.phase") == nullptr) Set(snapshot, "status.phase", "Pending");
      Set(snapshot, "status.snapshotTime",
          Json(StringAt(run.session, "metadata.creationTimestamp")));
      Set(snapshot, "status.totalComponents", static_cast<std::int64_t>(components));
      Set(snapshot, "status.verificationStatus", "NotVerified");
      TRY(context.client.Update(context.kinds.snapshot, snapshot, "status"));
    }
    JsonObject status{{"name", kube::NameOf(snapshot)},
                      {"phase", StringAt(snapshot, "status.phase", "Pending")},
                      {"repository", kube::NameOf(repository)}};
    if (const auto* app = Find(snapshot, "spec.appRef")) status["appRef"] = *app;
    statuses.push_back(std::move(status));
  }
  Set(run.session, "status.totalSnapshots", static_cast<std::int64_t>(statuses.size()));
  Set(run.session, "status.snapshots", std::move(statuses));
  return {};
}

Status MarkIncomplete(Context& context, const SessionRun& run, const std::string& why,
                      bool overdue) {
  for (const auto& item : ArrayAt(run.session, "status.snapshots")) {
    const auto snapshot = TRY(GetIfExists(context.client, context.kinds.snapshot,
                                          {NamespaceName(run), StringAt(item, "name")}));
    if (!snapshot || IsFinalPhase(StringAt(*snapshot, "status.phase")) ||
        kube::ConditionIs(*snapshot, "BackupIncomplete"))
      continue;
    // What ended only has its view to be sent yet, unless that has no end either.
    if (ComponentsEnded(*snapshot) && !overdue) continue;
    Json next = *snapshot;
    Report(context, next, "BackupIncomplete", true, "BackupExecutorTerminatedBeforeCompletion", why,
           false);
    TRY(WriteStatus(context, context.kinds.snapshot, *snapshot, next));
  }
  return {};
}

Status RemoveVolumeSnapshots(Context& context, const SessionRun& run) {
  kube::ListOptions options;
  options.label_selector = context.kinds.Key("backup-session") + "=" + SessionName(run);
  const auto list =
      TRY(context.client.List(kube::types::kVolumeSnapshot, NamespaceName(run), options));
  for (const auto& item : list.items)
    TRY(DeleteIfExists(context.client, kube::types::kVolumeSnapshot, kube::KeyOf(item)));
  return {};
}

Result<bool> FollowSnapshots(Context& context, SessionRun& run, bool& any_failed) {
  auto* statuses = FindMutable(run.session, "status.snapshots");
  if (statuses == nullptr || !statuses->is_array()) return true;
  bool ended = true;
  std::vector<std::string> trouble;
  for (auto& item : statuses->get_array()) {
    const kube::ObjectKey key{NamespaceName(run), StringAt(item, "name")};
    const auto snapshot = TRY(GetIfExists(context.client, context.kinds.snapshot, key));
    const auto phase = snapshot ? StringAt(*snapshot, "status.phase", "Pending") : "Failed";
    Set(item, "phase", Json(phase));
    ended = ended && IsFinalPhase(phase);
    any_failed = any_failed || phase == "Failed";
    if (snapshot && !IsFinalPhase(phase)) {
      if (auto why = FailureOfSnapshot(*snapshot); !why.empty())
        trouble.push_back("Snapshot " + key.name + ": " + std::move(why));
    }
  }
  ReportTrouble(context, run.session, kBackupProgressing, "BackupStalled", trouble);
  return ended;
}

Status NameFailures(Context& context, const SessionRun& run, std::vector<std::string>& failures) {
  for (const auto& item : ArrayAt(run.session, "status.snapshots")) {
    if (StringAt(item, "phase") != "Failed") continue;
    const kube::ObjectKey key{NamespaceName(run), StringAt(item, "name")};
    const auto snapshot = TRY(GetIfExists(context.client, context.kinds.snapshot, key));
    failures.push_back("Snapshot " + key.name + ": " +
                       (snapshot ? FailureOfSnapshot(*snapshot) : "it was deleted"));
  }
  return {};
}

Result<std::string> EnsureClass(Context& context, const SessionRun& run,
                                const std::vector<TargetComponent>& components,
                                const std::vector<Json>& repositories) {
  ClassQuestion question;
  question.ns = NamespaceName(run);
  question.our_driver = context.options.driver;
  const auto& tasks = ArrayAt(run.spec, "addon.tasks");
  if (!tasks.empty()) question.wanted = StringAt(tasks[0], "params.volumeSnapshotClassName");
  question.drivers = TRY(DriversOf(context.client, question.ns, components));
  for (const auto& repository : repositories) {
    if (kube::ConditionIs(repository, "OwnedElsewhere")) {
      return Error(Code::kFailedPrecondition,
                   "Repository " + kube::KeyOf(repository).ToString() +
                       " is owned by another cluster and is not written from here");
    }
    question.repositories.push_back(StringAt(repository, "status.repositoryID"));
  }
  const auto all = TRY(context.client.List(context.kinds.repository, ""));
  for (const auto& repository : all.items) {
    if (const auto id = StringAt(repository, "status.repositoryID"); !id.empty()) {
      question.owners[id] = kube::KeyOf(repository).ToString();
    }
  }
  const auto classes = TRY(context.client.List(kube::types::kVolumeSnapshotClass, ""));
  const auto answer = TRY(ChooseClass(question, classes.items));
  if (answer.derived.is_object()) {
    TRY(EnsureExists(context.client, kube::types::kVolumeSnapshotClass, answer.derived));
    for (std::size_t i = 0; i < repositories.size(); ++i) {
      Json next = repositories[i];
      JsonArray names;
      if (const auto* known = FindArray(next, "status.volumeSnapshotClasses")) names = *known;
      if (std::find(names.begin(), names.end(), Json(answer.name)) != names.end()) continue;
      names.emplace_back(answer.name);
      Set(next, "status.volumeSnapshotClasses", std::move(names));
      TRY(WriteStatus(context, context.kinds.repository, repositories[i], next));
    }
  }
  return answer.name;
}

Result<JobPlan> BackupPlan(Context& context, const SessionRun& run,
                           const std::string& snapshot_class) {
  const auto addon = StringAt(run.spec, "addon.name");
  const auto& tasks = ArrayAt(run.spec, "addon.tasks");
  const auto task_name = tasks.empty() ? "" : StringAt(tasks[0], "name");
  const auto task = TRY(FindTask(context, addon, "backupTasks", task_name));
  JobPlan plan;
  plan.key = {NamespaceName(run), ValidName(SessionName(run), "backup")};
  plan.owner = run.session;
  plan.component = "thinsnap-backup";
  plan.cluster_role = "thinsnap-backup-job";
  plan.image = StringAt(task.function, "spec.image", context.options.image);
  plan.command = TRY(CommandOfFunction(context, task.function,
                                       {{"namespace", NamespaceName(run)},
                                        {"backupSession", SessionName(run)},
                                        {"invokerKind", "BackupConfiguration"},
                                        {"invokerName", kube::NameOf(run.configuration)},
                                        {"taskName", task_name},
                                        {"volumeSnapshotClassName", snapshot_class}}));
  plan.labels =
      OffshootLabels(context.kinds, "BackupConfiguration", kube::NameOf(run.configuration),
                     NamespaceName(run), StringAt(run.session, "spec.session"));
  if (const auto* settings = Find(run.spec, "addon.jobTemplate")) plan.settings = *settings;
  return plan;
}

}  // namespace thinsnap::backup
