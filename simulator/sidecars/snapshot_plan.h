// Pure parts of the snapshot-controller: what a VolumeSnapshot's content is to look like, and what
// its status becomes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/core/result.h"
#include "base/data/json.h"
#include "base/kube/informer.h"

namespace thinsnap::sidecars {

// The one default class of the driver; an Error says that there is none, or more than one.
Result<std::string> DefaultSnapshotClass(const std::vector<kube::ObjectPtr>& classes,
                                         const std::string& driver);

// Checks that the claim is bound to a CSI volume of the class's driver, both ways, and makes the
// content. `snapshot_class` and `volume` are what the snapshot and the claim name.
Result<Json> NewContent(const Json& snapshot, const Json& claim, const Json& volume,
                        const Json& snapshot_class);

// kFailedPrecondition if the content cannot be this snapshot's: the message is for its status.
Status CheckContent(const Json& content, const Json& snapshot);

// The status of a snapshot whose content is this one.
Json SnapshotStatus(const Json& snapshot, const Json& content);
// The status with an error in it.
Json FailedSnapshotStatus(const Json& snapshot, const std::string& message, WallTime now);

// A claim of the same namespace that is being made from the snapshot.
bool IsBeingRestored(const Json& claim, const Json& snapshot);

}  // namespace thinsnap::sidecars
