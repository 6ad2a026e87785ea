// The client's end of a CSI connection: CsiService over gRPC, to a unix socket or, with mutual TLS,
// to a node.
#pragma once

#include <memory>
#include <string>

#include "base/core/runtime.h"
#include "base/core/secret.h"
#include "csi/proto/csi_service.h"

namespace thinsnap::proto {

// Both ends show a certificate of one authority.
struct TlsFiles {
  std::string ca_pem;
  std::string cert_pem;
  Secret key_pem;
};

struct ClientOptions {
  const TlsFiles* tls =
      nullptr;  // read while connecting; null: in the clear, for unix sockets only
  // The name in the server's certificate, where it is not the host of the target.
  std::string server_name;
  // Of calls that bring none of their own.
  Duration default_timeout = std::chrono::seconds(60);
};

// target: "unix:///folder/csi.sock" or "host:port". Connects with the first call and again whenever
// the connection was lost. A call ends with kCancelled when its task's group is stopped,
// kDeadlineExceeded at its deadline, kUnavailable when the server is not reached (also kUnavailable
// when the connection broke midway: repeat it). The server's own message is the error's.
std::unique_ptr<CsiService> ConnectCsi(Runtime& runtime, const std::string& target,
                                       const ClientOptions& options = {});

}  // namespace thinsnap::proto
