// The kinds of the backup API under one API domain, and the names and labels that its objects
// carry. The domain is part of groups, labels, annotations, finalizers and of the YAML in the
// bucket.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/data/json.h"
#include "base/kube/client.h"

namespace thinsnap::backup {

// What the operator is told at its start.
struct OperatorOptions {
  std::string domain = "thinsnap.io";
  std::string ns = "thinsnap-system";      // the driver's and operator's namespace
  std::string image = "thinsnap";          // of its own Jobs
  std::string driver = "csi.thinsnap.io";  // whose snapshots reach repositories
};

struct Kinds {
  explicit Kinds(const std::string& api_domain);

  // "<domain>/<name>": labels, annotations and finalizers.
  std::string Key(std::string_view name) const { return domain + "/" + std::string(name); }

  std::string domain;
  std::string finalizer;  // <domain>/cleanup
  std::string storage_group, core_group, addons_group;
  kube::ResourceType backup_storage, repository, snapshot, retention_policy;
  kube::ResourceType backup_configuration, backup_session, restore_session, hook_template;
  kube::ResourceType addon, function;
};

// Parts joined by '-', empty ones left out. What is longer than `max` keeps its head and its tail,
// as KubeStash's names do, so that a number at the end survives.
std::string ValidName(std::string_view prefix, std::string_view name, std::string_view suffix = "",
                      std::size_t max = 63);
inline constexpr std::size_t kMaxCronJobName = 52;

// "name-1705402801" -> ("name", "1705402801"); the suffix is empty when there are no digits at the
// end.
struct SplitSessionName {
  std::string stem, seconds;
};
SplitSessionName SplitAtSeconds(std::string_view backup_session);

std::string TriggerName(std::string_view configuration, std::string_view session);
std::string BackupSessionName(std::string_view invoker, std::string_view session,
                              std::int64_t unix_seconds);
std::string SnapshotName(std::string_view repository, std::string_view backup_session);
std::string VolumeSnapshotName(std::string_view claim, std::string_view unix_seconds);
std::string DriverSecretName(std::string_view repository_id);

// Task names as the catalog has them and as older guides spell them: VolumeSnapshotRestore,
// volume-snapshot-restore.
std::string CanonicalTaskName(std::string_view name);

// The labels of everything that an invoker (a BackupConfiguration, a RestoreSession) brings about.
JsonObject OffshootLabels(const Kinds& kinds, const std::string& invoker_kind,
                          const std::string& invoker, const std::string& ns,
                          const std::string& session);

// "ts1.<pool>.<volume>.<snapshot>[@<repository>]"
struct SnapshotHandle {
  std::string pool, volume, snapshot;
  std::string repository;  // empty: never exported

  std::string series() const { return pool + "." + volume; }
  std::string ToString() const;
  // True if both name the same cut, wherever it was exported to.
  bool SameCut(const SnapshotHandle& other) const;
};
// Nothing for the handles of other drivers.
std::optional<SnapshotHandle> ParseSnapshotHandle(std::string_view text);

}  // namespace thinsnap::backup
