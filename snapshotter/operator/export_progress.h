// How far the exports of a running Snapshot are: read from the sessions that their writers keep in
// the repository. One that stands still for half an hour is over.
#pragma once

#include "base/data/json.h"
#include "snapshotter/operator/context.h"

namespace thinsnap::backup {

// Fills in `progress` of each volume that was cut and is not done, and sets BackupIncomplete where
// one has not moved for 30 minutes. A repository that cannot be read right now counts as standing
// still.
Status FollowExports(Context& context, const Json& repository, Json& snapshot);

}  // namespace thinsnap::backup
