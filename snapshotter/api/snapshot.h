// Snapshot: what its phase and its failures follow from, and what a Repository's status says of
// many. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/data/json.h"

namespace thinsnap::backup {

// The phase of a Snapshot from its conditions and components.
std::string SnapshotPhase(const Json& snapshot);
bool IsFinalPhase(std::string_view phase);
// Why a Snapshot failed: of its components, and of its conditions.
std::string FailureOfSnapshot(const Json& snapshot);
// True if every component has ended, well or not, and there are as many as there should be.
bool ComponentsEnded(const Json& snapshot);
// What the components say went wrong.
std::vector<std::string> FailureOfComponents(const Json& snapshot);
// Sets snapshotCount, recentSnapshots, lastBackupTime and componentPaths from them.
void SummarizeSnapshots(Json& repository, const std::vector<Json>& snapshots);

}  // namespace thinsnap::backup
