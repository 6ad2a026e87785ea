// What a BackupConfiguration refers to: storages, retention policies, addons. Missing ones may
// still come; those that may not be used are mistakes.
#pragma once

#include <string>
#include <vector>

#include "snapshotter/operator/context.h"

namespace thinsnap::backup {

// Sentences about a configuration.
struct ConfigurationFindings {
  std::vector<std::string> wrong;         // Invalid until it is edited
  std::vector<std::string> backends;      // storages and policies that are missing or not ready
  std::vector<std::string> addons;        // missing, or without the task
  std::vector<std::string> repositories;  // not ready yet
};

// Fills in status.backends.
Status CheckBackends(Context& context, Json& configuration, ConfigurationFindings& findings);
// Fills in status.dependencies. The params of a task are those that its Addon declares.
Status CheckAddons(Context& context, Json& configuration, ConfigurationFindings& findings);

}  // namespace thinsnap::backup
