// What both roles say of themselves.
#pragma once

#include "csi/proto/csi.pb.h"

namespace thinsnap::driver {

csi::v1::GetPluginInfoResponse PluginInfo();
csi::v1::GetPluginCapabilitiesResponse PluginCapabilities();
csi::v1::ControllerGetCapabilitiesResponse ControllerCapabilities();
csi::v1::NodeGetCapabilitiesResponse NodeCapabilities();

}  // namespace thinsnap::driver
