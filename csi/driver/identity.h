// What both roles say of themselves.
#pragma once

#include "csi/proto/csi.pb.h"

namespace thinsnap::driver {

// In the manifest of the node role: the pool that answers, since addresses are used again.
inline constexpr char kPoolManifestKey[] = "thinsnap.io/pool";

csi::v1::GetPluginInfoResponse PluginInfo();
csi::v1::GetPluginCapabilitiesResponse PluginCapabilities();
csi::v1::ControllerGetCapabilitiesResponse ControllerCapabilities();
csi::v1::GroupControllerGetCapabilitiesResponse GroupCapabilities();
csi::v1::NodeGetCapabilitiesResponse NodeCapabilities();

}  // namespace thinsnap::driver
