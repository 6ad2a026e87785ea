// Whether a RestoreSession may and can be done, and how: Repository, usagePolicy, Snapshot, sealed
// points, templates.
#pragma once

#include <string>
#include <vector>

#include "snapshotter/api/restore_plan.h"
#include "snapshotter/operator/context.h"

namespace thinsnap::backup {

// A refusal that ends the session (Invalid), as opposed to what may still come (pending).
struct RestoreCheck {
  std::string invalid, pending;
  Json repository, snapshot;
  std::vector<PlannedVolume> plan;
};

Result<RestoreCheck> CheckRestore(Context& context, const Json& restore);

}  // namespace thinsnap::backup
