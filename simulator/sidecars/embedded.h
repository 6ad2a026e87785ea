// The YAML of deploy/crds/snapshot.storage.k8s.io_*.yaml, in one stream. Written by the build.
#pragma once

#include <string_view>

namespace thinsnap::sidecars {

extern const std::string_view kSnapshotCrdManifests;

}  // namespace thinsnap::sidecars
