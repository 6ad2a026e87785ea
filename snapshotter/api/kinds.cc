#include "snapshotter/api/kinds.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <vector>

namespace thinsnap::backup {

Kinds::Kinds(const std::string& api_domain)
    : domain(api_domain),
      finalizer(api_domain + "/cleanup"),
      storage_group("storage." + api_domain),
      core_group("core." + api_domain),
      addons_group("addons." + api_domain),
      backup_storage{storage_group, "v1alpha1", "backupstorages", "BackupStorage", true},
      repository{storage_group, "v1alpha1", "repositories", "Repository", true},
      snapshot{storage_group, "v1alpha1", "snapshots", "Snapshot", true},
      retention_policy{storage_group, "v1alpha1", "retentionpolicies", "RetentionPolicy", true},
      backup_configuration{core_group, "v1alpha1", "backupconfigurations", "BackupConfiguration",
                           true},
      backup_session{core_group, "v1alpha1", "backupsessions", "BackupSession", true},
      restore_session{core_group, "v1alpha1", "restoresessions", "RestoreSession", true},
      hook_template{core_group, "v1alpha1", "hooktemplates", "HookTemplate", true},
      addon{addons_group, "v1alpha1", "addons", "Addon", false},
      function{addons_group, "v1alpha1", "functions", "Function", false} {}

std::string ValidName(std::string_view prefix, std::string_view name, std::string_view suffix,
                      std::size_t max) {
  std::string joined;
  for (const auto part : {prefix, name, suffix}) {
    if (part.empty()) continue;
    if (!joined.empty()) joined += '-';
    joined += part;
  }
  if (joined.size() > max)
    joined = joined.substr(0, (max + 1) / 2) + joined.substr(joined.size() - max / 2);
  const auto first = joined.find_first_not_of('-');
  if (first == std::string::npos) return "";
  return joined.substr(first, joined.find_last_not_of('-') - first + 1);
}

SplitSessionName SplitAtSeconds(std::string_view backup_session) {
  SplitSessionName whole{std::string(backup_session), ""};
  const auto dash = backup_session.rfind('-');
  if (dash == std::string_view::npos || dash + 1 == backup_session.size()) return whole;
  const auto digits = backup_session.substr(dash + 1);
  const bool number = std::all_of(digits.begin(), digits.end(),
                                  [](unsigned char c) { return std::isdigit(c) != 0; });
  if (!number) return whole;
  return {std::string(backup_session.substr(0, dash)), std::string(digits)};
}

std::string TriggerName(std::string_view configuration, std::string_view session) {
  return ValidName("trigger", configuration, session, kMaxCronJobName);
}

std::string BackupSessionName(std::string_view invoker, std::string_view session,
                              std::int64_t unix_seconds) {
  return ValidName(invoker, session, std::to_string(unix_seconds));
}

std::string SnapshotName(std::string_view repository, std::string_view backup_session) {
  const auto [stem, seconds] = SplitAtSeconds(backup_session);
  return ValidName(repository, stem, seconds);
}

std::string VolumeSnapshotName(std::string_view claim, std::string_view unix_seconds) {
  return ValidName(claim, unix_seconds, "", 253);
}

std::string DriverSecretName(std::string_view repository_id) {
  return "thinsnap-repository-" + std::string(repository_id);
}

std::string CanonicalTaskName(std::string_view name) {
  std::string result;
  for (const char c : name) {
    if (std::isupper(static_cast<unsigned char>(c)) != 0) {
      if (!result.empty()) result += '-';
      result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else {
      result += c;
    }
  }
  return result;
}

std::string SnapshotHandle::ToString() const {
  std::string text = "ts1." + pool + "." + volume + "." + snapshot;
  if (!repository.empty()) text += "@" + repository;
  return text;
}

bool SnapshotHandle::SameCut(const SnapshotHandle& other) const {
  return pool == other.pool && volume == other.volume && snapshot == other.snapshot;
}

std::optional<SnapshotHandle> ParseSnapshotHandle(std::string_view text) {
  if (text.size() > 110) return std::nullopt;
  SnapshotHandle handle;
  const auto at = text.find('@');
  if (at != std::string_view::npos) {
    handle.repository = text.substr(at + 1);
    if (handle.repository.empty() || handle.repository.find_first_of(".@") != std::string::npos)
      return std::nullopt;
    text = text.substr(0, at);
  }
  std::vector<std::string_view> parts;
  for (;;) {
    const auto dot = text.find('.');
    parts.push_back(text.substr(0, dot));
    if (dot == std::string_view::npos) break;
    text.remove_prefix(dot + 1);
  }
  if (parts.size() != 4 || parts[0] != "ts1") return std::nullopt;
  if (parts[1].empty() || parts[2].empty() || parts[3].empty()) return std::nullopt;
  handle.pool = parts[1];
  handle.volume = parts[2];
  handle.snapshot = parts[3];
  return handle;
}

JsonObject OffshootLabels(const Kinds& kinds, const std::string& invoker_kind,
                          const std::string& invoker, const std::string& ns,
                          const std::string& session) {
  JsonObject labels{{"app.kubernetes.io/managed-by", kinds.domain},
                    {kinds.Key("invoker-kind"), invoker_kind},
                    {kinds.Key("invoker-name"), ValidName(invoker, "")},
                    {kinds.Key("invoker-namespace"), ns}};
  if (!session.empty()) labels[kinds.Key("session-name")] = ValidName(session, "");
  return labels;
}

}  // namespace thinsnap::backup
