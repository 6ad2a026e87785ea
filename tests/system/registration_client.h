// A kubelet's end of the socket by which it finds a driver.
#pragma once

#include <string>

#include "base/core/result.h"

namespace thinsnap {

struct PluginFound {
  std::string name, endpoint;
};
// `socket` is in the kubelet's folder plugins_registry.
Result<PluginFound> AskPlugin(const std::string& socket);
// What the kubelet made of the registration; "" where it went well.
Status TellPlugin(const std::string& socket, const std::string& error);

}  // namespace thinsnap
