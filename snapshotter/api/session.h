// What a BackupSession looks like when it is made, and which old ones go. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/core/result.h"
#include "base/data/json.h"
#include "snapshotter/api/kinds.h"

namespace thinsnap::backup {

// A new run of a session of the BackupConfiguration, owned by it.
Json NewBackupSession(const Kinds& kinds, const Json& configuration, const std::string& session,
                      WallTime now, std::int64_t retry_left);
// How often a failed run of the session may be repeated.
std::int64_t RetriesOf(const Json& configuration, const std::string& session);

struct HistoryEntry {
  std::string name;
  std::string created;  // RFC 3339
  bool ended = false;
};
// The names beyond the newest `limit` ended ones, oldest first; those still running are neither
// counted nor named.
std::vector<std::string> PlanHistory(std::vector<HistoryEntry> entries, std::int64_t limit);

}  // namespace thinsnap::backup
