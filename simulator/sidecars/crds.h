// The CustomResourceDefinitions of snapshot.storage.k8s.io, as deploy/crds has them.
#pragma once

#include <vector>

#include "base/core/clock.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/data/json.h"
#include "base/kube/client.h"

namespace thinsnap::sidecars {

// volumesnapshots, volumesnapshotcontents, volumesnapshotclasses.
std::vector<Json> SnapshotCrds();

// Creates the definitions, or brings the spec of existing ones up to date, and waits until each is
// established.
Status InstallCrds(Runtime& runtime, kube::KubeClient& client, const std::vector<Json>& crds);

}  // namespace thinsnap::sidecars
