// What a bucket holds already, brought back: the Repositories of metadata.yaml, and the Snapshots
// that their views name.
#pragma once

#include "base/core/result.h"
#include "base/data/json.h"
#include "snapshotter/api/views.h"
#include "snapshotter/operator/context.h"

namespace thinsnap::backup {

// Sets status.repositories and totalSize; returns whether every entry is here.
Result<bool> SyncRepositories(Context& context, Json& storage, const Backends::Access& access,
                              const Metadata& metadata);

}  // namespace thinsnap::backup
