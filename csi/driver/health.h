// What a kubelet, Prometheus and people ask a driver over HTTP: /healthz, whether it is to be
// started again, and /readyz, whether its volumes are served: 200, or 503 with the sentence that
// says why not. /metrics: its figures.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/core/counters.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/net/http_server.h"

namespace thinsnap::driver {

struct HealthOptions {
  std::string address;      // "host:port"; port 0: any free one
  std::string socket_path;  // the driver's own; asked over a new connection each time
  // What the driver's socket does not know: registered, certificates still those on the disk.
  // OK or the reason. May be empty. Thread-safe.
  std::function<Status()> is_live, is_ready;
  Duration deadline = std::chrono::seconds(3);
  Counters* counters = nullptr;  // null: there is no /metrics
};

// Live: the socket answers at all; a pool that is in trouble is no reason to start the driver
// again. Ready: Probe says so.
Result<std::unique_ptr<net::HttpServer>> ServeHealth(Runtime& runtime, HealthOptions options);

}  // namespace thinsnap::driver
