// Ports of a pod, carried over one upgraded connection of a client: as pairs of SPDY streams
// (kubectl; newer ones put them into WebSocket messages), or as pairs of WebSocket channels (the
// clients of other languages). Each pair has data one way and what went wrong the other.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/core/guarded.h"
#include "base/net/http_server.h"
#include "simulator/schema/api_error.h"
#include "simulator/streams/container_access.h"
#include "simulator/streams/exec_bridge.h"

namespace thinsnap::streams {

schema::ApiResult<net::ServerResponse> PortForwardBySpdy(const net::ServerRequest& request,
                                                         ContainerAccess& access,
                                                         ContainerAddress pod, SessionHost host);
schema::ApiResult<net::ServerResponse> PortForwardByWebSocket(const net::ServerRequest& request,
                                                              ContainerAccess& access,
                                                              ContainerAddress pod,
                                                              SessionHost host);

// The open ports of one client, by a number that its framing chooses. Thread-safe.
class PortTable : public std::enable_shared_from_this<PortTable> {
 public:
  struct Client {
    std::function<void(std::uint32_t id, std::string bytes)> data;
    std::function<void(std::uint32_t id)> end;  // of a port; it is gone from the table
    std::function<std::uint64_t()> pending_bytes;
  };

  PortTable(ContainerAccess& access, ContainerAddress pod, SessionHost host, Client client)
      : access_(access), pod_(std::move(pod)), host_(std::move(host)), client_(std::move(client)) {}

  // Empty, or a sentence for the client.
  std::string Open(std::uint32_t id, int port);
  void Write(std::uint32_t id, std::string bytes);
  void CloseWrite(std::uint32_t id);
  void Close(std::uint32_t id);
  // The client is gone.
  void Drop();

 private:
  std::shared_ptr<PortSession> Find(std::uint32_t id);
  bool Gone();

  ContainerAccess& access_;
  const ContainerAddress pod_;
  const SessionHost host_;
  const Client client_;
  std::mutex mutex_;
  bool gone_ GUARDED_BY(mutex_) = false;
  std::map<std::uint32_t, std::shared_ptr<PortSession>> sessions_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::streams
