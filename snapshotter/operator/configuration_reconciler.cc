// BackupConfiguration: defaults are filled in, mistakes are said, Repositories and CronJobs are
// made.
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/data/cron_schedule.h"
#include "snapshotter/api/policy.h"
#include "snapshotter/api/target.h"
#include "snapshotter/api/validation.h"
#include "snapshotter/operator/configuration_check.h"
#include "snapshotter/operator/jobs.h"
#include "snapshotter/operator/reconcilers.h"

namespace thinsnap::backup {

namespace {

constexpr Duration kSoon = std::chrono::seconds(2);

// Writes the defaults into the spec, as KubeStash's webhook does. Returns whether anything was
// filled in.
Result<bool> FillDefaults(Context& context, Json& configuration) {
  const auto ns = kube::NamespaceOf(configuration);
  auto* spec = FindMutable(configuration, "spec");
  if (spec == nullptr || !spec->is_object()) return false;
  bool no_backend = ArrayAt(*spec, "backends").empty();
  bool lacking = no_backend;
  for (const auto& backend : ArrayAt(*spec, "backends")) {
    lacking = lacking || StringAt(backend, "storageRef.name").empty() ||
              StringAt(backend, "retentionPolicy.name").empty();
  }
  if (!lacking) return false;
  const auto storages = TRY(context.client.List(context.kinds.backup_storage, ""));
  const auto policies = TRY(context.client.List(context.kinds.retention_policy, ""));
  const auto ns_object = TRY(GetIfExists(context.client, kube::types::kNamespace, {"", ns}));
  const Json* labels = ns_object ? &*ns_object : nullptr;
  const auto* storage = FindDefault(storages.items, ns, labels);
  const auto* policy = FindDefault(policies.items, ns, labels);
  bool changed = false;
  if (no_backend && storage != nullptr) {
    Set(*spec, "backends", JsonArray{JsonObject{{"name", "default"}}});
    changed = true;
  }
  if (FindArray(*spec, "backends") == nullptr) return changed;
  for (auto& backend : EnsureArray(*spec, "backends")) {
    if (StringAt(backend, "storageRef.name").empty() && storage != nullptr) {
      Set(backend, "storageRef", ReferenceTo(kube::KeyOf(*storage)));
      changed = true;
    }
    if (StringAt(backend, "retentionPolicy.name").empty() && policy != nullptr) {
      Set(backend, "retentionPolicy", ReferenceTo(kube::KeyOf(*policy)));
      changed = true;
    }
  }
  return changed;
}

kube::ObjectKey StorageKeyOf(const Json& configuration, const std::string& backend) {
  for (const auto& candidate : ArrayAt(configuration, "spec.backends")) {
    if (StringAt(candidate, "name") != backend) continue;
    if (const auto* reference = Find(candidate, "storageRef")) {
      return ReferenceKey(*reference, kube::NamespaceOf(configuration));
    }
  }
  return {};
}

Json RepositoryFor(const Context& context, const Json& configuration, const Json& item) {
  const auto ns = kube::NamespaceOf(configuration);
  auto repository = kube::NewObject(context.kinds.repository, {ns, StringAt(item, "name")});
  kube::AddFinalizer(repository, context.kinds.finalizer);
  JsonObject app;
  if (const auto* target = FindObject(configuration, "spec.target")) app = *target;
  app["namespace"] = ns;
  const auto policy = StringAt(item, "deletionPolicy", "Delete");
  JsonObject spec{
      {"appRef", std::move(app)},
      {"storageRef", ReferenceTo(StorageKeyOf(configuration, StringAt(item, "backend")))},
      {"path", StringAt(item, "directory")},
      // Retain says what becomes of the Repository when its configuration goes: nothing, as with
      // the others.
      {"deletionPolicy", policy == "WipeOut" ? "WipeOut" : "Delete"}};
  if (const auto* secret = Find(item, "encryptionSecret"))
    spec["encryptionSecret"] = ReferenceTo(ReferenceKey(*secret, ns));
  repository.as_object()["spec"] = std::move(spec);
  return repository;
}

std::string Slashless(const std::string& path) {
  const auto first = path.find_first_not_of('/');
  if (first == std::string::npos) return "";
  return path.substr(first, path.find_last_not_of('/') - first + 1);
}

// True if some Repository of another name has this place.
Result<std::string> OccupantOf(Context& context, const Json& wanted) {
  const auto all = TRY(context.client.List(context.kinds.repository, ""));
  for (const auto& other : all.items) {
    if (kube::KeyOf(other) == kube::KeyOf(wanted) || Find(other, "spec.storageRef") == nullptr)
      continue;
    const bool same_storage =
        ReferenceKey(ValueAt(other, "spec.storageRef"), kube::NamespaceOf(other)) ==
        ReferenceKey(ValueAt(wanted, "spec.storageRef"), kube::NamespaceOf(wanted));
    if (same_storage &&
        Slashless(StringAt(other, "spec.path")) == Slashless(StringAt(wanted, "spec.path"))) {
      return kube::KeyOf(other).ToString();
    }
  }
  return std::string();
}

// What a configuration may still change about a Repository that exists. Only after an edit of the
// configuration: else a Repository keeps what was set on itself.
Status TakeOver(Context& context, const Json& wanted, Json& existing) {
  Json next = existing;
  for (const char* field : {"spec.deletionPolicy", "spec.encryptionSecret"}) {
    if (const auto* value = Find(wanted, field)) Set(next, field, *value);
  }
  if (next == existing) return {};
  existing = TRY(context.client.Update(context.kinds.repository, next));
  return {};
}

// Makes the Repositories of all sessions; status.repositories; sentences where one stands for
// something else.
Status EnsureRepositories(Context& context, Json& configuration, bool make,
                          ConfigurationFindings& findings) {
  auto& wrong = findings.wrong;
  const bool edited = IntAt(configuration, "status.observedGeneration") !=
                      IntAt(configuration, "metadata.generation");
  JsonArray statuses;
  std::set<std::string> seen;
  for (const auto& session : ArrayAt(configuration, "spec.sessions")) {
    for (const auto& item : ArrayAt(session, "repositories")) {
      const auto name = StringAt(item, "name");
      if (name.empty() || !seen.insert(name).second) continue;
      const auto wanted = RepositoryFor(context, configuration, item);
      auto existing =
          TRY(GetIfExists(context.client, context.kinds.repository, kube::KeyOf(wanted)));
      const std::string field = "repository " + name;
      if (!existing) {
        if (const auto occupant = TRY(OccupantOf(context, wanted)); !occupant.empty()) {
          wrong.push_back(field + ": directory " + StringAt(item, "directory") +
                          " of this backend belongs to Repository " + occupant +
                          "; accepted is a directory that no other Repository has.");
          continue;
        }
        if (make) existing = TRY(EnsureExists(context.client, context.kinds.repository, wanted));
      } else {
        const auto differs = [&](const char* path) {
          return StringAt(*existing, path) != StringAt(wanted, path);
        };
        if (differs("spec.storageRef.name") || Slashless(StringAt(*existing, "spec.path")) !=
                                                   Slashless(StringAt(wanted, "spec.path"))) {
          wrong.push_back(field + ": found BackupStorage " +
                          StringAt(wanted, "spec.storageRef.name") + " and directory " +
                          StringAt(wanted, "spec.path") +
                          ", but a Repository of this name exists with BackupStorage " +
                          StringAt(*existing, "spec.storageRef.name") + " and path " +
                          StringAt(*existing, "spec.path") +
                          "; accepted are the same backend and directory, or another name.");
          continue;
        }
        const bool named = !StringAt(*existing, "spec.appRef.name").empty();
        if (named && (differs("spec.appRef.kind") || differs("spec.appRef.name"))) {
          wrong.push_back(field + ": a Repository of this name holds the backups of " +
                          StringAt(*existing, "spec.appRef.kind") + " " +
                          StringAt(*existing, "spec.appRef.name") +
                          "; accepted is that target, or another name.");
          continue;
        }
        if (make && edited && !kube::IsDeleting(*existing))
          TRY(TakeOver(context, wanted, *existing));
      }
      const auto phase = existing ? StringAt(*existing, "status.phase", "NotReady") : "NotReady";
      JsonObject status{{"name", name}, {"phase", phase}};
      if (phase != "Ready") {
        const auto* condition =
            existing ? kube::FindCondition(*existing, "RepositoryInitialized") : nullptr;
        const auto reason = condition == nullptr || StringAt(*condition, "status") == "True"
                                ? std::string("it is being made")
                                : StringAt(*condition, "message");
        status["reason"] = reason;
        if (make)
          findings.repositories.push_back("Repository " + name + " is not Ready: " + reason + ".");
      }
      const auto* elsewhere = existing ? kube::FindCondition(*existing, "OwnedElsewhere") : nullptr;
      if (elsewhere != nullptr && make) {
        status["reason"] = StringAt(*elsewhere, "message");
        findings.repositories.push_back("Repository " + name + " belongs to another cluster: " +
                                        StringAt(*elsewhere, "message") + ".");
      }
      statuses.push_back(std::move(status));
    }
  }
  Set(configuration, "status.repositories", std::move(statuses));
  return {};
}

JobPlan TriggerPlan(const Context& context, const Json& configuration, const Json& session) {
  const auto key = kube::KeyOf(configuration);
  const auto name = StringAt(session, "name");
  JobPlan plan;
  plan.key = {key.ns, TriggerName(key.name, name)};
  plan.owner = configuration;
  plan.component = "thinsnap-trigger";
  plan.cluster_role = "thinsnap-cron-job";
  plan.image = context.options.image;
  plan.command = {"thinsnap-operator",     "trigger",
                  "--namespace=" + key.ns, "--backup-configuration=" + key.name,
                  "--session=" + name,     "--api-domain=" + context.kinds.domain};
  plan.labels = OffshootLabels(context.kinds, "BackupConfiguration", key.name, key.ns, name);
  if (const auto* settings = Find(session, "scheduler.jobTemplate")) plan.settings = *settings;
  return plan;
}

// True where every member of `wanted` is in `have` with the same value: the server adds its
// defaults.
bool Covers(const Json& have, const Json& wanted) {
  if (wanted.is_object()) {
    if (!have.is_object()) return false;
    for (const auto& [key, value] : wanted.get_object()) {
      const auto* mine = have.get_object().if_contains(key);
      if (mine == nullptr || !Covers(*mine, value)) return false;
    }
    return true;
  }
  if (wanted.is_array()) {
    if (!have.is_array() || have.get_array().size() != wanted.get_array().size()) return false;
    for (std::size_t i = 0; i < wanted.get_array().size(); ++i) {
      if (!Covers(have.get_array()[i], wanted.get_array()[i])) return false;
    }
    return true;
  }
  return have == wanted;
}

// When a CronJob makes its next Job; nothing while it is suspended or its schedule is refused.
std::optional<WallTime> NextScheduleOf(const Json& cron_job, WallTime now) {
  if (BoolAt(cron_job, "spec.suspend")) return std::nullopt;
  const auto utc = TimeZone::Find("");
  if (!utc.ok()) return std::nullopt;
  const auto schedule = CronSchedule::Parse(StringAt(cron_job, "spec.schedule"), *utc);
  return schedule.ok() ? schedule->Next(now) : std::nullopt;
}

// status.sessions[].nextSchedule is of use until then.
Duration UntilNextSchedule(const Json& configuration, WallTime now, Duration at_most) {
  for (const auto& session : ArrayAt(configuration, "status.sessions")) {
    const auto next = TimeAt(session, "nextSchedule");
    if (next) at_most = std::clamp<Duration>(*next - now, kSoon, at_most);
  }
  return at_most;
}

// One CronJob for each session; those of sessions that are gone go too. A refused schedule is a
// condition of its session.
Result<bool> EnsureSchedules(Context& context, Json& configuration) {
  const auto key = kube::KeyOf(configuration);
  const bool paused = BoolAt(configuration, "spec.paused");
  JsonArray statuses;
  std::set<std::string> wanted_names;
  bool all = true;
  std::size_t index = 0;
  for (const auto& session : ArrayAt(configuration, "spec.sessions")) {
    const auto name = StringAt(session, "name");
    const auto field = "spec.sessions[" + std::to_string(index++) + "].scheduler";
    const auto plan = TriggerPlan(context, configuration, session);
    wanted_names.insert(plan.key.name);
    TRY(EnsureExists(context.client, kube::types::kServiceAccount, ServiceAccountFor(plan)));
    TRY(EnsureExists(context.client, kube::types::kRoleBinding, RoleBindingFor(plan)));
    const auto cron = CronJobFor(plan, ValueAt(session, "scheduler"), paused);
    auto current = TRY(GetIfExists(context.client, kube::types::kCronJob, plan.key));
    Result<Json> written =
        current ? Result<Json>(*current) : context.client.Create(kube::types::kCronJob, cron);
    if (current && !Covers(ValueAt(*current, "spec"), ValueAt(cron, "spec"))) {
      auto next = *current;
      Set(next, "spec", ValueAt(cron, "spec"));
      written = context.client.Update(kube::types::kCronJob, next);
    }
    if (!written.ok() && !written.Is(Code::kInvalidArgument)) return std::move(written).error();
    Json status = JsonObject{{"name", name}};
    for (const auto& known : ArrayAt(configuration, "status.sessions")) {
      if (StringAt(known, "name") == name) status = known;
    }
    // SetCondition works on an object with a status.
    Json holder = JsonObject{{"status", status}};
    const auto message = written.ok()
                             ? "CronJob " + plan.key.name + (paused ? " is suspended" : " is there")
                             : field + ": " + written.error().message();
    const bool changed = kube::SetCondition(
        holder, "SchedulerEnsured", written.ok(),
        written.ok() ? "SchedulerEnsured" : "SchedulerNotEnsured", message, context.Now());
    status = ValueAt(holder, "status");
    if (const auto at = NextScheduleOf(cron, context.Now()); at && written.ok()) {
      Set(status, "nextSchedule", Json(FormatRfc3339(*at)));
    } else {
      Remove(status, "nextSchedule");
    }
    statuses.push_back(std::move(status));
    if (!written.ok() && changed)
      context.events.Emit(configuration, "Warning", "SchedulerNotEnsured", message);
    all = all && written.ok();
  }
  Set(configuration, "status.sessions", std::move(statuses));

  kube::ListOptions options;
  options.label_selector = context.kinds.Key("invoker-kind") + "=BackupConfiguration," +
                           context.kinds.Key("invoker-name") + "=" + ValidName(key.name, "");
  const auto existing = TRY(context.client.List(kube::types::kCronJob, key.ns, options));
  for (const auto& item : existing.items) {
    if (wanted_names.contains(kube::NameOf(item)) ||
        !kube::IsOwnedBy(item, kube::UidOf(configuration)))
      continue;
    for (const auto* type :
         {&kube::types::kCronJob, &kube::types::kRoleBinding, &kube::types::kServiceAccount}) {
      TRY(DeleteIfExists(context.client, *type, kube::KeyOf(item)));
    }
  }
  return all;
}

}  // namespace

Result<kube::Requeue> ReconcileBackupConfiguration(Context& context, const kube::ObjectKey& key) {
  auto found = TRY(GetIfExists(context.client, context.kinds.backup_configuration, key));
  if (!found || kube::IsDeleting(*found)) return kube::Requeue::Done();
  // Nothing can be made there any more.
  if (TRY(NamespaceIsGoing(context, key.ns))) return kube::Requeue::Done();
  if (TRY(FillDefaults(context, *found))) {
    found = TRY(context.client.Update(context.kinds.backup_configuration, *found));
  }
  Json next = *found;

  ConfigurationFindings findings;
  findings.wrong = ValidateBackupConfiguration(next);
  const bool sound = findings.wrong.empty();
  const auto target = ReadTarget(context.client, next);
  if (!target.ok() && !target.Is(Code::kNotFound) && !target.Is(Code::kInvalidArgument))
    return target.error();
  Set(next, "status.targetFound", target.ok());
  TRY(CheckBackends(context, next, findings));
  TRY(CheckAddons(context, next, findings));
  const bool usable = findings.wrong.empty() && findings.backends.empty();
  if (sound) TRY(EnsureRepositories(context, next, usable, findings));
  Set(next, "status.observedGeneration", IntAt(next, "metadata.generation"));

  const bool valid = findings.wrong.empty();
  Report(context, next, "ValidationPassed", valid,
         valid ? "ResourceValidationPassed" : "ResourceValidationFailed",
         valid ? "the configuration is sound" : Joined(findings.wrong, " "));
  std::vector<std::string> target_trouble;
  if (!target.ok() && valid)
    target_trouble.push_back("spec.target: " + target.error().message() + ".");
  ReportTrouble(context, next, "TargetFound", "TargetNotFound", target_trouble);
  ReportTrouble(context, next, "BackendsReady", "BackendsNotReady", findings.backends);
  ReportTrouble(context, next, "AddonFound", "AddonNotFound", findings.addons);
  ReportTrouble(context, next, "RepositoriesReady", "RepositoriesNotReady", findings.repositories);
  bool scheduled = false;
  if (valid) scheduled = TRY(EnsureSchedules(context, next));
  const bool ready = usable && valid && target.ok() && findings.addons.empty() &&
                     findings.repositories.empty() && scheduled;
  Set(next, "status.phase", Json(!valid ? "Invalid" : ready ? "Ready" : "NotReady"));
  TRY(WriteStatus(context, context.kinds.backup_configuration, *found, next));
  if (!ready) return kube::Requeue::After(kSoon);
  return kube::Requeue::After(UntilNextSchedule(next, context.Now(), kRetryInterval * 6));
}

}  // namespace thinsnap::backup
