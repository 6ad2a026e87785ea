#include "snapshotter/operator/session_run.h"

#include <algorithm>
#include <utility>

#include "snapshotter/operator/reconcilers.h"

namespace thinsnap::backup {

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
