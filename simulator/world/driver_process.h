// The driver of a simulated node: the code that users run, on a pool of reflinked files.
#pragma once

#include <string>

#include "base/core/result.h"

namespace thinsnap::world {

struct DriverProcessOptions {
  std::string node;
  std::string socket;  // its CSI socket; absolute
  std::string pool;    // the mounted pool's folder
  std::string kubeconfig;
  std::string tls_ca, tls_cert, tls_key;  // files
};

// Returns after SIGTERM or SIGINT. To be called before any thread exists.
Status RunDriverProcess(const DriverProcessOptions& options);

}  // namespace thinsnap::world
