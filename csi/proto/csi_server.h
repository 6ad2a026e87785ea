// The server's end: services of CSI over gRPC. Each call runs as a task of the group, so that
// stopping the group ends every wait of every call. It is logged under the id that the caller sent
// as x-request-id, or one of ours. grpc.health.v1 is served beside them: SERVING while Probe says
// that the driver is ready.
#pragma once

#include <memory>
#include <string>

#include "base/core/counters.h"
#include "base/core/runtime.h"
#include "csi/proto/csi_client.h"
#include "csi/proto/csi_service.h"

namespace thinsnap::proto {

// What a server serves; what is null does not exist there. All of it outlives the server.
struct Services {
  IdentityService* identity = nullptr;
  ControllerService* controller = nullptr;
  GroupControllerService* groups = nullptr;
  SnapshotMetadataService* metadata = nullptr;
  NodeService* node = nullptr;
  // What its calls are counted in: thinsnap_rpc_started_total and thinsnap_rpc_seconds.
  Counters* counters = nullptr;
};

// The families of the above.
void DescribeCalls(Counters& counters);

class CsiServer {
 public:
  // On a unix socket that only this user may connect to. What lies there from an earlier run is
  // replaced. kInvalidArgument, kUnavailable when it cannot be bound.
  static Result<std::unique_ptr<CsiServer>> OnSocket(Runtime& runtime, TaskGroup& group,
                                                     const Services& services,
                                                     const std::string& path);
  // On "host:port", port 0 picks one. A client must show a certificate of the authority in `tls`
  // that is valid for the name `peer`; one of another name is answered PERMISSION_DENIED.
  static Result<std::unique_ptr<CsiServer>> OnNetwork(Runtime& runtime, TaskGroup& group,
                                                      const Services& services,
                                                      const std::string& address,
                                                      const TlsFiles& tls, const std::string& peer);
  virtual ~CsiServer() = default;  // stops serving; waits for calls that run

  // "host:port" with the port that was picked; "" on a socket.
  virtual const std::string& address() const = 0;
};

}  // namespace thinsnap::proto
