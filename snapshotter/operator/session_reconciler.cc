// BackupSession: one run. Skipped, or: Snapshots, class, backup Job, retention Jobs, history, and a
// repetition when it failed and may be repeated.
#include <utility>

#include "snapshotter/api/session.h"
#include "snapshotter/api/snapshot.h"
#include "snapshotter/api/target.h"
#include "snapshotter/operator/jobs.h"
#include "snapshotter/operator/reconcilers.h"
#include "snapshotter/operator/session_run.h"

namespace thinsnap::backup {

namespace {

constexpr Duration kPoll = std::chrono::seconds(5);

Result<std::vector<Json>> SessionsOfInvoker(Context& context, const std::string& ns,
                                            const std::string& invoker) {
  kube::ListOptions options;
  options.label_selector = context.kinds.Key("invoker-name") + "=" + ValidName(invoker, "");
  auto list = TRY(context.client.List(context.kinds.backup_session, ns, options));
  std::erase_if(list.items,
                [&](const Json& item) { return StringAt(item, "spec.invoker.name") != invoker; });
  return std::move(list.items);
}

// Ends the session: phase, duration, and why in a condition and an event.
void Finish(Context& context, Json& session, const std::string& phase, const std::string& message) {
  RemoveCondition(session, kBackupProgressing);
  if (phase == "Failed") {
    kube::SetCondition(session, "BackupIncomplete", true, "BackupFailed", message, context.Now());
  }
  if (phase != "Skipped") ReportMetrics(context, session);
  Set(session, "status.phase", Json(phase));
  Set(session, "status.duration", Json(DurationText(context.Now() - CreationTime(session))));
  const bool good = phase == "Succeeded";
  context.events.Emit(session, good || phase == "Skipped" ? "Normal" : "Warning",
                      "BackupSession" + phase, message);
}

void Skip(Context& context, Json& session, const std::string& why) {
  Report(context, session, "BackupSkipped", true, "PreRequisitesNotSatisfied", why, true);
  Finish(context, session, "Skipped", why);
}

// Why this session may not run now; empty when it may.
Result<std::string> ReasonToSkip(Context& context, const SessionRun& run) {
  const auto phase = StringAt(run.configuration, "status.phase", "NotReady");
  const auto name = kube::KeyOf(run.configuration).ToString();
  if (phase != "Ready") {
    std::vector<std::string> reasons{FalseConditions(run.configuration)};
    for (const auto& session : ArrayAt(run.configuration, "status.sessions")) {
      for (const auto& condition : ArrayAt(session, "conditions")) {
        if (StringAt(condition, "status") == "False")
          reasons.push_back(StringAt(condition, "message"));
      }
    }
    return "BackupConfiguration " + name + " is " + phase + "; a backup runs when it is Ready. " +
           Joined(reasons, " ");
  }
  const auto sessions =
      TRY(SessionsOfInvoker(context, NamespaceName(run), kube::NameOf(run.configuration)));
  for (const auto& other : sessions) {
    if (kube::UidOf(other) == kube::UidOf(run.session)) continue;
    if (StringAt(other, "status.phase") == "Running") {
      return "BackupSession " + kube::NameOf(other) +
             " of the same BackupConfiguration is still running";
    }
  }
  return std::string();
}

// One retention Job for each repository; true when all have ended. A failed one fails the session.
Result<bool> ApplyRetention(Context& context, SessionRun& run, std::vector<std::string>& failures) {
  JsonArray statuses;
  bool ended = true;
  std::size_t index = 0;
  for (const auto& item : ArrayAt(run.spec, "repositories")) {
    const auto repository = StringAt(item, "name");
    Json reference = JsonObject();
    for (const auto& backend : ArrayAt(run.configuration, "spec.backends")) {
      if (StringAt(backend, "name") != StringAt(item, "backend")) continue;
      if (const auto* policy = Find(backend, "retentionPolicy")) reference = *policy;
    }
    const auto policy_key = ReferenceKey(reference, NamespaceName(run));
    JsonObject status{
        {"ref", ReferenceTo(policy_key)}, {"repository", repository}, {"phase", "Pending"}};
    const auto& known = ArrayAt(run.session, "status.retentionPolicy");
    if (index < known.size() && StringAt(known[index], "phase") == "Applied") {
      statuses.push_back(known[index++]);
      continue;
    }
    ++index;
    const auto policy =
        TRY(GetIfExists(context.client, context.kinds.retention_policy, policy_key));
    const auto* policy_spec = policy ? Find(*policy, "spec") : nullptr;
    std::string failure;
    if (policy_spec == nullptr)
      failure = "RetentionPolicy " + policy_key.ToString() + " does not exist";
    if (failure.empty()) {
      const auto [stem, seconds] = SplitAtSeconds(SessionName(run));
      JobPlan plan;
      plan.key = {NamespaceName(run), ValidName("retentionpolicy", repository,
                                                seconds.empty() ? SessionName(run) : seconds)};
      plan.owner = run.session;
      plan.component = "thinsnap-retention-policy";
      plan.cluster_role = "thinsnap-retention-policy-job";
      plan.image = context.options.image;
      plan.command = {"thinsnap-operator",
                      "retention",
                      "--namespace=" + NamespaceName(run),
                      "--repository=" + repository,
                      "--policy-name=" + policy_key.ToString(),
                      "--policy=" + ToJson(*policy_spec),
                      "--api-domain=" + context.kinds.domain};
      plan.labels =
          OffshootLabels(context.kinds, "BackupConfiguration", kube::NameOf(run.configuration),
                         NamespaceName(run), StringAt(run.session, "spec.session"));
      const auto job = TRY(EnsureJob(context, plan));
      Report(context, run.session, "RetentionPolicyExecutorEnsured", true,
             "SuccessfullyEnsuredRetentionPolicyExecutor", "the retention Jobs are there");
      const auto state = StateOfJob(job);
      if (state == JobState::kRunning) ended = false;
      if (state == JobState::kSucceeded) status["phase"] = "Applied";
      if (state == JobState::kFailed) failure = "Job " + plan.key.name + ": " + FailureOfJob(job);
    }
    if (!failure.empty()) {
      status["phase"] = "FailedToApply";
      status["error"] = failure;
      failures.push_back("retention of repository " + repository + ": " + failure);
    }
    statuses.push_back(std::move(status));
  }
  Set(run.session, "status.retentionPolicy", std::move(statuses));
  return ended;
}

Status CleanHistory(Context& context, SessionRun& run) {
  const auto sessions =
      TRY(SessionsOfInvoker(context, NamespaceName(run), kube::NameOf(run.configuration)));
  std::vector<HistoryEntry> entries;
  for (const auto& item : sessions) {
    if (StringAt(item, "spec.session") != StringAt(run.session, "spec.session")) continue;
    const bool own = kube::UidOf(item) == kube::UidOf(run.session);
    entries.push_back({kube::NameOf(item), StringAt(item, "metadata.creationTimestamp"),
                       own || IsFinalPhase(StringAt(item, "status.phase"))});
  }
  for (const auto& name :
       PlanHistory(std::move(entries), IntAt(run.spec, "sessionHistoryLimit", 1))) {
    if (name == SessionName(run)) continue;
    TRY(DeleteIfExists(context.client, context.kinds.backup_session, {NamespaceName(run), name}));
  }
  return {};
}

// Makes Snapshots and Job. An error of the codes below is final for this session, with its
// sentence.
Status Prepare(Context& context, SessionRun& run) {
  const auto repositories = TRY(RepositoriesOfSession(context, run));
  const auto target = TRY(ReadTarget(context.client, run.configuration));
  const auto components = TRY(ComponentsOf(target));
  TRY(EnsureSnapshots(context, run, repositories, components.size()));
  Report(context, run.session, "SnapshotsEnsured", true, "SuccessfullyEnsuredSnapshots",
         "every repository has its Snapshot");
  const auto snapshot_class = TRY(EnsureClass(context, run, components, repositories));
  const auto plan = TRY(BackupPlan(context, run, snapshot_class));
  TRY(EnsureJob(context, plan));
  Report(context, run.session, "BackupExecutorEnsured", true, "SuccessfullyEnsuredBackupExecutor",
         "the backup Job is there");
  return {};
}

Result<kube::Requeue> Advance(Context& context, SessionRun& run, const Json& before) {
  const auto save = [&] {
    return WriteStatus(context, context.kinds.backup_session, before, run.session);
  };
  const auto deadline = TimeAt(run.session, "status.backupDeadline");
  const kube::ObjectKey job_key{NamespaceName(run), ValidName(SessionName(run), "backup")};
  const bool refused = kube::ConditionIs(run.session, "BackupExecutorEnsured", "False") ||
                       kube::ConditionIs(run.session, "SnapshotsEnsured", "False");

  if (!refused && !kube::ConditionIs(run.session, "BackupExecutorEnsured")) {
    const auto prepared = Prepare(context, run);
    if (!prepared.ok()) {
      if (MayPass(prepared.error())) return prepared.error();
      const bool snapshots = kube::ConditionIs(run.session, "SnapshotsEnsured");
      Report(context, run.session, snapshots ? "BackupExecutorEnsured" : "SnapshotsEnsured", false,
             snapshots ? "FailedToEnsureBackupExecutor" : "FailedToEnsureSnapshots",
             prepared.error().message());
      TRY(MarkIncomplete(context, run, prepared.error().message()));
    }
    TRY(save());
    return kube::Requeue::After(std::chrono::milliseconds(100));
  }

  bool any_failed = false;
  if (!TRY(FollowSnapshots(context, run, any_failed))) {
    const auto job = TRY(GetIfExists(context.client, kube::types::kJob, job_key));
    if (deadline && context.Now() > *deadline) {
      TRY(DeleteIfExists(context.client, kube::types::kJob, job_key));
      const auto* stalled = kube::FindCondition(before, kBackupProgressing);
      TRY(MarkIncomplete(context, run,
                         "the backup did not end within backupTimeout: it had to by " +
                             StringAt(run.session, "status.backupDeadline") +
                             (stalled == nullptr ? "" : "; " + StringAt(*stalled, "message")),
                         /*overdue=*/true));
    } else if (!refused && (!job || StateOfJob(*job) != JobState::kRunning)) {
      TRY(MarkIncomplete(
          context, run,
          !job ? "the backup Job was deleted"
               : "the backup Job ended before the backup did: " + FailureOfJob(*job)));
    }
    TRY(save());
    return kube::Requeue::After(kPoll);
  }

  std::vector<std::string> failures;
  if (refused)
    failures.push_back("the backup could not be started: " + FalseConditions(run.session));
  if (any_failed) {
    if (!refused) TRY(NameFailures(context, run, failures));
    TRY(RemoveVolumeSnapshots(context, run));
  }
  if (!refused && !TRY(ApplyRetention(context, run, failures))) {
    TRY(save());
    return kube::Requeue::After(kPoll);
  }
  const auto cleaned = CleanHistory(context, run);
  if (!cleaned.ok() && MayPass(cleaned.error())) return cleaned.error();
  Report(context, run.session, "SessionHistoryCleaned", cleaned.ok(),
         cleaned.ok() ? "SuccessfullyCleanedSessionHistory" : "FailedToCleanSessionHistory",
         cleaned.ok() ? "older sessions beyond sessionHistoryLimit are gone"
                      : cleaned.error().message());
  if (!cleaned.ok()) failures.push_back("the history could not be cleaned");
  Finish(context, run.session, failures.empty() ? "Succeeded" : "Failed",
         failures.empty() ? "every Snapshot succeeded" : Joined(failures, "; "));
  TRY(save());
  return kube::Requeue::Done();
}

// A failed session with retries left is repeated as a new one.
Result<kube::Requeue> Retry(Context& context, const SessionRun& run, const Json& before) {
  const auto left = IntAt(run.session, "spec.retryLeft");
  if (StringAt(run.session, "status.phase") != "Failed" || left <= 0 ||
      BoolAt(run.session, "status.retried")) {
    return kube::Requeue::Done();
  }
  Json next = run.session;
  const auto delay = ParseDuration(StringAt(run.spec, "retryConfig.delay", "0s"));
  const auto when = TimeAt(next, "status.nextRetry");
  if (!when) {
    // Written first: the time names the new session, whoever comes to make it.
    const auto wait = delay.ok() ? *delay : Duration{0};
    Set(next, "status.nextRetry", Json(FormatRfc3339(context.Now() + wait)));
    TRY(WriteStatus(context, context.kinds.backup_session, before, next));
    return kube::Requeue::After(wait);
  }
  if (*when > context.Now()) return kube::Requeue::After(*when - context.Now());
  const auto again = NewBackupSession(context.kinds, run.configuration,
                                      StringAt(next, "spec.session"), *when, left - 1);
  TRY(EnsureExists(context.client, context.kinds.backup_session, again));
  Set(next, "status.retried", true);
  TRY(WriteStatus(context, context.kinds.backup_session, before, next));
  return kube::Requeue::Done();
}

}  // namespace

void ReportMetrics(Context& context, Json& session) {
  kube::SetCondition(session, "MetricsPushed", true, "NoMetricsReceiver",
                     "nothing receives metrics; duration and sizes are in the status",
                     context.Now());
}

Result<kube::Requeue> ReconcileBackupSession(Context& context, const kube::ObjectKey& key) {
  const auto found = TRY(GetIfExists(context.client, context.kinds.backup_session, key));
  if (!found || kube::IsDeleting(*found)) return kube::Requeue::Done();
  if (TRY(NamespaceIsGoing(context, key.ns))) return kube::Requeue::Done();
  SessionRun run{*found, Json(), Json()};
  const auto phase = StringAt(*found, "status.phase");
  const auto save = [&] {
    return WriteStatus(context, context.kinds.backup_session, *found, run.session);
  };

  const auto invoker_kind = StringAt(run.session, "spec.invoker.kind");
  const kube::ObjectKey invoker{key.ns, StringAt(run.session, "spec.invoker.name")};
  std::string problem;
  if (invoker_kind != "BackupConfiguration") {
    problem = "spec.invoker.kind: found \"" + invoker_kind + "\"; accepted is BackupConfiguration";
  } else if (auto configuration =
                 TRY(GetIfExists(context.client, context.kinds.backup_configuration, invoker));
             configuration) {
    run.configuration = std::move(*configuration);
    for (const auto& session : ArrayAt(run.configuration, "spec.sessions")) {
      if (StringAt(session, "name") == StringAt(run.session, "spec.session")) run.spec = session;
    }
    if (!run.spec.is_object()) {
      problem = "spec.session: found \"" + StringAt(run.session, "spec.session") +
                "\", which BackupConfiguration " + invoker.ToString() + " does not have";
    }
  } else {
    problem =
        "BackupConfiguration " + invoker.ToString() + ", named in spec.invoker, does not exist";
  }

  if (IsFinalPhase(phase))
    return problem.empty() ? Retry(context, run, *found)
                           : Result<kube::Requeue>(kube::Requeue::Done());
  if (!problem.empty()) {
    if (phase == "Running") {
      TRY(DeleteIfExists(context.client, kube::types::kJob,
                         {key.ns, ValidName(key.name, "backup")}));
      TRY(MarkIncomplete(context, run, problem));
      Finish(context, run.session, "Failed", problem);
    } else {
      Skip(context, run.session, problem);
    }
    TRY(save());
    return kube::Requeue::Done();
  }
  if (phase != "Running") {
    const auto why = TRY(ReasonToSkip(context, run));
    if (!why.empty()) {
      Skip(context, run.session, why);
      TRY(save());
      return kube::Requeue::Done();
    }
    Set(run.session, "status.phase", "Running");
    // A session made by hand has what the configuration says.
    const auto timeout =
        StringAt(run.session, "spec.backupTimeout", StringAt(run.spec, "backupTimeout"));
    if (const auto parsed = ParseDuration(timeout); !timeout.empty() && parsed.ok()) {
      Set(run.session, "status.backupDeadline", Json(FormatRfc3339(context.Now() + *parsed)));
    }
    TRY(save());
    return kube::Requeue::After(Duration{0});
  }
  return Advance(context, run, *found);
}

}  // namespace thinsnap::backup
