// The restore points of a repository against the Snapshots that stand for them.
#pragma once

#include <vector>

#include "base/core/result.h"
#include "base/data/json.h"
#include "snapshotter/operator/context.h"

namespace thinsnap::backup {

// The sealed points against the Snapshots: what a view claimed is confirmed or refuted, points
// without a Snapshot get one. Not while a backup runs: its points come before its statistics. The
// answer is whether all of them are sound.
Result<bool> CompareWithPoints(Context& context, const Json& repository, repo::Repository& engine,
                               const std::vector<Json>& snapshots);

// Views of the repository and of its Snapshots that are gone or damaged: those of Snapshots are
// written again, with an event; the answer is whether the repository's own is to be.
Result<bool> RestoreViews(Context& context, const Json& repository, store::ObjectStore& folder,
                          const std::vector<Json>& snapshots);

}  // namespace thinsnap::backup
