// The socket by which a kubelet finds the driver, so that no registrar is needed beside it.
// It exists only while the driver serves: a kubelet calls the driver as soon as it sees the file.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/core/result.h"

namespace thinsnap::proto {

struct RegistrationOptions {
  std::string folder;       // the kubelet's plugins_registry
  std::string driver_name;  // the socket is FOLDER/NAME-reg.sock
  std::string endpoint;     // path of the driver's socket as the kubelet sees it
  // What the kubelet says after it called the driver; it tries again by itself. From any thread.
  std::function<void(const Status&)> on_status;
};

class RegistrationServer {
 public:
  // What lies at the socket's path from an earlier run is replaced. kNotFound without the folder,
  // kInvalidArgument, kUnavailable when the socket cannot be bound.
  static Result<std::unique_ptr<RegistrationServer>> Start(RegistrationOptions options);
  virtual ~RegistrationServer() = default;  // stops serving and removes the socket
};

}  // namespace thinsnap::proto
