// The server's end: a CsiService over gRPC. Each call runs as a task of the group, so that stopping
// the group ends every wait of every call.
#pragma once

#include <memory>
#include <string>

#include "base/core/runtime.h"
#include "csi/proto/csi_client.h"
#include "csi/proto/csi_service.h"

namespace thinsnap::proto {

class CsiServer {
 public:
  struct Options {
    std::string
        unix_socket;  // a path; "" for none. What lies there from an earlier run is replaced.
    std::string listen_address;  // "host:port", port 0 picks one; "" for none
    const TlsFiles* tls =
        nullptr;  // required with listen_address; clients must show a certificate of that authority
    bool node_verbs = true;  // whether the Node service is registered
  };

  // The service outlives the server. kInvalidArgument, kUnavailable when an address cannot be
  // bound.
  static Result<std::unique_ptr<CsiServer>> Start(Runtime& runtime, TaskGroup& group,
                                                  CsiService& service, const Options& options);
  virtual ~CsiServer() = default;  // stops serving; waits for calls that run

  // "host:port" with the port that was picked.
  virtual const std::string& address() const = 0;
};

}  // namespace thinsnap::proto
