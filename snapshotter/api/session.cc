#include "snapshotter/api/session.h"

#include <algorithm>
#include <tuple>

#include "base/kube/object.h"

namespace thinsnap::backup {

namespace {

const Json* FindSession(const Json& configuration, const std::string& name) {
  for (const auto& session : ArrayAt(configuration, "spec.sessions")) {
    if (StringAt(session, "name") == name) return &session;
  }
  return nullptr;
}

}  // namespace

std::int64_t RetriesOf(const Json& configuration, const std::string& session) {
  const auto* spec = FindSession(configuration, session);
  if (spec == nullptr || Find(*spec, "retryConfig") == nullptr) return 0;
  return IntAt(*spec, "retryConfig.maxRetry", 1);
}

Json NewBackupSession(const Kinds& kinds, const Json& configuration, const std::string& session,
                      WallTime now, std::int64_t retry_left) {
  const auto owner = kube::KeyOf(configuration);
  auto object = kube::NewObject(
      kinds.backup_session, {owner.ns, BackupSessionName(owner.name, session, UnixSeconds(now))});
  for (const auto& [key, value] :
       OffshootLabels(kinds, "BackupConfiguration", owner.name, owner.ns, session)) {
    kube::SetLabel(object, key, std::string_view(value.get_string()));
  }
  kube::AddOwnerReference(object, kube::OwnerReference(configuration));
  JsonObject spec{{"invoker", JsonObject{{"apiGroup", kinds.core_group},
                                         {"kind", "BackupConfiguration"},
                                         {"name", owner.name}}},
                  {"session", session},
                  {"retryLeft", retry_left}};
  if (const auto* found = FindSession(configuration, session)) {
    if (const auto timeout = StringAt(*found, "backupTimeout"); !timeout.empty())
      spec["backupTimeout"] = timeout;
  }
  object.as_object()["spec"] = std::move(spec);
  return object;
}

std::vector<std::string> PlanHistory(std::vector<HistoryEntry> entries, std::int64_t limit) {
  std::erase_if(entries, [](const HistoryEntry& entry) { return !entry.ended; });
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return std::tie(a.created, a.name) < std::tie(b.created, b.name);
  });
  const auto keep = static_cast<std::size_t>(std::max<std::int64_t>(limit, 0));
  std::vector<std::string> names;
  for (std::size_t i = 0; i + keep < entries.size(); ++i) names.push_back(entries[i].name);
  return names;
}

}  // namespace thinsnap::backup
