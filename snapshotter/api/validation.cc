#include "snapshotter/api/validation.h"

#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "base/core/clock.h"
#include "base/kube/object.h"
#include "snapshotter/api/kinds.h"
#include "snapshotter/api/policy.h"

namespace thinsnap::backup {

namespace {

// "spec.sessions[0]"
std::string At(const std::string& list, std::size_t index) {
  return list + "[" + std::to_string(index) + "]";
}

class Findings {
 public:
  void Add(const std::string& field, const std::string& found, const std::string& accepted) {
    sentences_.push_back(field + ": " + found + "; " + accepted + ".");
  }
  std::vector<std::string> Take() { return std::move(sentences_); }

 private:
  std::vector<std::string> sentences_;
};

std::string Quoted(const std::string& text) { return "\"" + text + "\""; }

// A DNS-1123 subdomain: what the API server takes as a name.
bool IsName(const std::string& text) {
  const auto alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  char before = '.';
  for (const char c : text) {
    const bool inner = c == '-' || c == '.';
    if (!alphanumeric(c) && !inner) return false;
    if (c == '.' && !alphanumeric(before)) return false;
    if (c == '-' && before == '.') return false;
    before = c;
  }
  return !text.empty() && text.size() <= 253 && alphanumeric(before);
}

void CheckName(Findings& findings, const std::string& name, const std::string& field) {
  if (name.empty()) {
    findings.Add(field, "found nothing", "a name is required");
  } else if (!IsName(name)) {
    findings.Add(field, "found " + Quoted(name),
                 "accepted are lower case letters, digits, - and ., with a letter or digit at "
                 "both ends");
  }
}

void CheckDuration(Findings& findings, const Json& object, const std::string& member,
                   const std::string& field) {
  const auto text = StringAt(object, member);
  if (text.empty() || ParseDuration(text).ok()) return;
  findings.Add(field + "." + member, "found " + Quoted(text),
               "accepted are durations like 30s, 10m or 1h30m");
}

// The schedule itself is the API server's to judge, when the CronJob is made.
void CheckScheduler(Findings& findings, const Json& session, const std::string& field) {
  if (StringAt(session, "scheduler.schedule").empty()) {
    findings.Add(field + ".scheduler.schedule", "found nothing",
                 "accepted is a cron schedule like */5 * * * *");
  }
  static const std::set<std::string> kPolicies{"", "Allow", "Forbid", "Replace"};
  if (const auto policy = StringAt(session, "scheduler.concurrencyPolicy");
      !kPolicies.contains(policy)) {
    findings.Add(field + ".scheduler.concurrencyPolicy", "found " + Quoted(policy),
                 "accepted are Allow, Forbid and Replace");
  }
  for (const char* member : {"sessionHistoryLimit", "scheduler.successfulJobsHistoryLimit",
                             "scheduler.failedJobsHistoryLimit"}) {
    if (const auto limit = IntAt(session, member); limit < 0) {
      findings.Add(field + "." + member, "found " + std::to_string(limit),
                   "accepted are numbers from 0 on");
    }
  }
}

// A volumeClaimTemplate, apart from its size, which the plan compares with the volume's.
void CheckClaimTemplate(Findings& findings, const Json& claim_template, const std::string& field) {
  const auto name = StringAt(claim_template, "metadata.name");
  const auto expanded = Substitute(name, [](const std::string& variable) {
    const bool known = variable == "POD_ORDINAL" || variable == "COMPONENT_NAME";
    return known ? std::optional<std::string>("0") : std::nullopt;
  });
  if (name.empty() || IsName(expanded)) {
    CheckName(findings, expanded, field + ".metadata.name");
  } else {
    findings.Add(field + ".metadata.name", "found " + Quoted(name),
                 "accepted are lower case letters, digits, - and ., and ${POD_ORDINAL}");
  }
  if (StringAt(claim_template, "spec.resources.requests.storage").empty()) {
    findings.Add(field + ".spec.resources.requests.storage", "found nothing",
                 "a size like 1Gi is required");
  }
  static const std::set<std::string> kModes{"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany",
                                            "ReadWriteOncePod"};
  const auto& modes = ArrayAt(claim_template, "spec.accessModes");
  if (modes.empty()) {
    findings.Add(field + ".spec.accessModes", "found none", "one is required: ReadWriteOnce");
  }
  for (const auto& mode : modes) {
    const std::string text(mode.is_string() ? std::string_view(mode.get_string()) : "");
    if (kModes.contains(text)) continue;
    findings.Add(field + ".spec.accessModes", "found " + Quoted(text),
                 "accepted are ReadWriteOnce, ReadWriteOncePod, ReadOnlyMany and ReadWriteMany");
  }
  for (const char* member : {"dataSource", "dataSourceRef", "volumeName"}) {
    if (Find(claim_template, std::string("spec.") + member) == nullptr) continue;
    findings.Add(field + ".spec." + member, "found a value",
                 "it must be left out: the restore says what the claim is made from");
  }
}

void CheckHooks(Findings& findings, const Json& object, const std::string& field) {
  for (const char* when : {"preBackup", "postBackup", "preRestore", "postRestore"}) {
    const auto path = std::string("hooks.") + when;
    if (ArrayAt(object, path).empty()) continue;
    findings.Add(field.empty() ? path : field + "." + path, "found hooks",
                 "hooks are not run by this version and must be left out");
  }
}

void CheckAddon(Findings& findings, const Json& addon, const std::string& field,
                const std::string& task_accepted) {
  if (StringAt(addon, "name").empty()) {
    findings.Add(field + ".name", "found nothing",
                 "accepted is the name of an Addon such as pvc-addon");
  }
  const auto& tasks = ArrayAt(addon, "tasks");
  if (tasks.empty())
    findings.Add(field + ".tasks", "found none", "one task is required: " + task_accepted);
  if (tasks.size() > 1) {
    findings.Add(field + ".tasks", "found " + std::to_string(tasks.size()),
                 "accepted is one task: " + task_accepted);
  }
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    const auto name = StringAt(tasks[i], "name");
    if (CanonicalTaskName(name) == task_accepted) continue;
    findings.Add(
        At(field + ".tasks", i) + ".name",
        name.empty() ? "found nothing" : "found " + Quoted(name) + ", which this version cannot do",
        "accepted is " + task_accepted);
  }
}

void CheckBackends(Findings& findings, const Json& configuration, std::set<std::string>& names) {
  const auto& backends = ArrayAt(configuration, "spec.backends");
  if (backends.empty()) {
    findings.Add("spec.backends", "found none, and no default BackupStorage may be used from here",
                 "accepted is a list of backends with name, storageRef and retentionPolicy");
  }
  for (std::size_t i = 0; i < backends.size(); ++i) {
    const auto field = At("spec.backends", i);
    const auto name = StringAt(backends[i], "name");
    if (name.empty()) findings.Add(field + ".name", "found nothing", "a name is required");
    if (!name.empty() && !names.insert(name).second) {
      findings.Add(field + ".name", "found " + Quoted(name) + " a second time",
                   "each backend needs its own name");
    }
    for (const char* reference : {"storageRef", "retentionPolicy"}) {
      if (!StringAt(backends[i], std::string(reference) + ".name").empty()) continue;
      findings.Add(field + "." + reference,
                   "found nothing, and there is no default that may be used from here",
                   "accepted is {name, namespace}");
    }
  }
}

void CheckRepositories(Findings& findings, const Json& session, const std::string& session_field,
                       const std::set<std::string>& backends,
                       std::map<std::string, std::string>& directories,
                       std::map<std::string, std::string>& places) {
  const auto& repositories = ArrayAt(session, "repositories");
  if (repositories.empty())
    findings.Add(session_field + ".repositories", "found none", "at least one is required");
  for (std::size_t i = 0; i < repositories.size(); ++i) {
    const auto field = At(session_field + ".repositories", i);
    const auto name = StringAt(repositories[i], "name");
    const auto backend = StringAt(repositories[i], "backend");
    const auto directory = StringAt(repositories[i], "directory");
    CheckName(findings, name, field + ".name");
    if (!backends.contains(backend)) {
      std::string known;
      for (const auto& each : backends) known += (known.empty() ? "" : ", ") + each;
      findings.Add(field + ".backend",
                   backend.empty() ? "found nothing" : "found " + Quoted(backend),
                   "accepted are the names in spec.backends: " + (known.empty() ? "none" : known));
    }
    const bool inside =
        directory.find("..") == std::string::npos && directory.find("//") == std::string::npos;
    if (directory.find_first_not_of('/') == std::string::npos || !inside) {
      findings.Add(field + ".directory",
                   directory.empty() ? "found nothing" : "found " + Quoted(directory),
                   "accepted is a folder below the storage's prefix, such as /" +
                       (name.empty() ? "backups" : name));
      continue;
    }
    const auto place = backend + ":" + directory.substr(directory.find_first_not_of('/'));
    const auto [known, is_new] = places.emplace(place, name);
    if (!is_new && known->second != name) {
      findings.Add(
          field + ".directory",
          "found " + Quoted(directory) + ", which repository " + known->second + " has too",
          "each repository needs a directory of its own");
    }
    const auto [other, first] = directories.emplace(name, place);
    if (!first && other->second != place) {
      findings.Add(field + ".name",
                   "found " + Quoted(name) + " a second time with another backend or directory",
                   "a repository has one place");
    }
    if (!StringAt(repositories[i], "backupVerifier.name").empty()) {
      findings.Add(field + ".backupVerifier", "found a reference",
                   "verifiers are not run by this version and must be left out");
    }
  }
}

}  // namespace

std::vector<std::string> ValidateBackupConfiguration(const Json& configuration) {
  Findings findings;
  static const std::set<std::string> kTargets{"PersistentVolumeClaim", "Deployment", "StatefulSet",
                                              "DaemonSet"};
  const auto kind = StringAt(configuration, "spec.target.kind");
  if (!kTargets.contains(kind)) {
    findings.Add("spec.target.kind", kind.empty() ? "found nothing" : "found " + Quoted(kind),
                 "accepted are PersistentVolumeClaim, Deployment, StatefulSet and DaemonSet");
  }
  const auto group = StringAt(configuration, "spec.target.apiGroup");
  const std::string expected_group = kind == "PersistentVolumeClaim" ? "" : "apps";
  if (kTargets.contains(kind) && group != expected_group) {
    findings.Add("spec.target.apiGroup", "found " + Quoted(group),
                 "accepted for a " + kind + " is " + Quoted(expected_group));
  }
  if (StringAt(configuration, "spec.target.name").empty()) {
    findings.Add("spec.target.name", "found nothing", "a name is required");
  }
  const auto target_namespace = StringAt(configuration, "spec.target.namespace");
  if (!target_namespace.empty() && target_namespace != kube::NamespaceOf(configuration)) {
    findings.Add(
        "spec.target.namespace", "found " + Quoted(target_namespace),
        "accepted is the BackupConfiguration's own namespace, " + kube::NamespaceOf(configuration));
  }

  std::set<std::string> backends;
  CheckBackends(findings, configuration, backends);
  const auto& sessions = ArrayAt(configuration, "spec.sessions");
  if (sessions.empty())
    findings.Add("spec.sessions", "found none", "at least one session is required");
  std::set<std::string> names;
  std::map<std::string, std::string> directories, places;
  for (std::size_t i = 0; i < sessions.size(); ++i) {
    const auto field = At("spec.sessions", i);
    const auto name = StringAt(sessions[i], "name");
    CheckName(findings, name, field + ".name");
    if (!name.empty() && !names.insert(name).second) {
      findings.Add(field + ".name", "found " + Quoted(name) + " a second time",
                   "each session needs its own name");
    }
    CheckScheduler(findings, sessions[i], field);
    if (const auto* addon = Find(sessions[i], "addon")) {
      CheckAddon(findings, *addon, field + ".addon", "volume-snapshot");
    } else {
      findings.Add(field + ".addon", "found nothing", "accepted is {name, tasks}");
    }
    CheckRepositories(findings, sessions[i], field, backends, directories, places);
    CheckDuration(findings, sessions[i], "backupTimeout", field);
    if (const auto* retry = Find(sessions[i], "retryConfig")) {
      CheckDuration(findings, *retry, "delay", field + ".retryConfig");
    }
    CheckHooks(findings, sessions[i], field);
  }
  return findings.Take();
}

std::vector<std::string> ValidateRestoreSession(const Json& restore) {
  Findings findings;
  const auto snapshot = StringAt(restore, "spec.dataSource.snapshot");
  if (Find(restore, "spec.dataSource.pitr") != nullptr) {
    findings.Add("spec.dataSource.pitr", "found a time",
                 "volume snapshots are restored by name or latest");
  }
  if (snapshot.empty()) {
    findings.Add("spec.dataSource.snapshot", "found nothing",
                 "accepted is latest or the name of a Snapshot");
  }
  if (snapshot == "latest" && StringAt(restore, "spec.dataSource.repository").empty()) {
    findings.Add("spec.dataSource.repository", "found nothing",
                 "latest needs the name of the Repository whose latest Snapshot is meant");
  }
  if (const auto* addon = Find(restore, "spec.addon")) {
    CheckAddon(findings, *addon, "spec.addon", "volume-snapshot-restore");
  } else {
    findings.Add("spec.addon", "found nothing", "accepted is {name, tasks}");
  }
  if (Find(restore, "spec.target") != nullptr) {
    findings.Add(
        "spec.target", "found a target",
        "volume-snapshot-restore makes new claims from volumeClaimTemplates and takes no target");
  }
  const auto& tasks = ArrayAt(restore, "spec.addon.tasks");
  if (tasks.size() == 1) {
    const std::string field = "spec.addon.tasks[0].targetVolumes.volumeClaimTemplates";
    const auto& templates = ArrayAt(tasks[0], "targetVolumes.volumeClaimTemplates");
    if (templates.empty())
      findings.Add(field, "found none", "one template for each volume is required");
    for (std::size_t i = 0; i < templates.size(); ++i)
      CheckClaimTemplate(findings, templates[i], At(field, i));
  }
  if (const auto* spec = Find(restore, "spec")) {
    CheckDuration(findings, *spec, "restoreTimeout", "spec");
    CheckHooks(findings, *spec, "spec");
  }
  return findings.Take();
}

}  // namespace thinsnap::backup
