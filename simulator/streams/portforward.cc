#include "simulator/streams/portforward.h"

#include <charconv>
#include <utility>
#include <vector>

#include "base/core/guarded.h"
#include "base/net/media_type.h"

namespace thinsnap::streams {

using schema::ApiError;
using schema::ApiResult;

std::shared_ptr<PortSession> PortTable::Find(std::uint32_t id) {
  std::lock_guard lock(mutex_);
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second;
}

bool PortTable::Gone() {
  std::lock_guard lock(mutex_);
  return gone_;
}

std::string PortTable::Open(std::uint32_t id, int port) {
  auto self = shared_from_this();
  PortCallbacks callbacks;
  callbacks.on_data = [self, id](std::string bytes) {
    self->client_.data(id, std::move(bytes));
    while (self->client_.pending_bytes() > kClientHighWater && !self->Gone() &&
           self->host_.pause()) {
    }
  };
  callbacks.on_end = [self, id] {
    self->client_.end(id);
    self->Close(id);
  };
  auto opened = access_.Connect(pod_, port, std::move(callbacks));
  if (!opened.ok()) {
    return "error forwarding port " + std::to_string(port) + " to pod " + pod_.pod + ": " +
           opened.error().message();
  }
  std::shared_ptr<PortSession> session = std::move(*opened);
  {
    std::lock_guard lock(mutex_);
    if (!gone_) {
      sessions_[id] = std::move(session);
      return "";
    }
  }
  host_.dispose(std::move(session));
  return "";
}

void PortTable::Write(std::uint32_t id, std::string bytes) {
  if (auto session = Find(id)) session->Write(std::move(bytes));
}

void PortTable::CloseWrite(std::uint32_t id) {
  if (auto session = Find(id)) session->CloseWrite();
}

void PortTable::Close(std::uint32_t id) {
  std::shared_ptr<PortSession> session;
  {
    std::lock_guard lock(mutex_);
    const auto found = sessions_.find(id);
    if (found == sessions_.end()) return;
    session = std::move(found->second);
    sessions_.erase(found);
  }
  host_.dispose(std::move(session));
}

void PortTable::Drop() {
  std::map<std::uint32_t, std::shared_ptr<PortSession>> sessions;
  {
    std::lock_guard lock(mutex_);
    gone_ = true;
    sessions.swap(sessions_);
  }
  for (auto& [id, session] : sessions) host_.dispose(std::move(session));
}

namespace {

// Channels of the ports that the query names, in its order: 2 i is the data of the i-th one, 2 i +
// 1 its errors. Each channel starts with its port, little-endian.
class ChannelForward {
 public:
  ChannelForward(std::shared_ptr<net::Connection> connection, std::vector<int> ports)
      : connection_(std::move(connection)), ports_(std::move(ports)), open_(ports_.size()) {}

  PortTable::Client Client(const std::shared_ptr<ChannelForward>& self) {
    return {
        .data = [self](std::uint32_t id, const std::string& bytes) { self->Send(2 * id, bytes); },
        .end = [self](std::uint32_t) { self->End(); },
        .pending_bytes = [self] { return self->connection_->pending_bytes(); }};
  }

  void Start(PortTable& table) {
    for (std::uint32_t id = 0; id < ports_.size(); ++id) {
      const auto port = static_cast<unsigned>(ports_[id]);
      const std::string prefix = {static_cast<char>(port & 0xff), static_cast<char>(port >> 8)};
      Send(2 * id, prefix);
      Send(2 * id + 1, prefix);
      if (const std::string error = table.Open(id, ports_[id]); !error.empty()) {
        Send(2 * id + 1, error);
        End();
      }
    }
  }

  static void Receive(PortTable& table, const std::string& message) {
    if (message.size() < 2) return;
    const auto channel = static_cast<unsigned char>(message[0]);
    if (channel % 2 == 0) table.Write(channel / 2, message.substr(1));
  }

 private:
  void Send(std::uint32_t channel, std::string_view bytes) {
    std::string message(1, static_cast<char>(channel));
    message += bytes;
    connection_->Send(std::move(message));
  }

  // Channels cannot be closed one by one.
  void End() {
    std::lock_guard lock(mutex_);
    if (--open_ == 0) connection_->Close();
  }

  const std::shared_ptr<net::Connection> connection_;
  const std::vector<int> ports_;
  std::mutex mutex_;
  std::size_t open_ GUARDED_BY(mutex_);
};

ApiResult<std::vector<int>> PortsOf(const net::ServerRequest& request) {
  constexpr std::size_t kMaxPorts = 127;  // two channels each
  std::vector<int> ports;
  for (const auto& [name, value] : request.query) {
    if (name != "ports") continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const auto comma = rest.find(',');
      const std::string_view text = rest.substr(0, comma);
      rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
      int port = 0;
      const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), port);
      if (status != std::errc() || end != text.data() + text.size() || port < 1 || port > 65535) {
        return ApiError::BadRequest("query parameter ports: \"" + std::string(text) +
                                    "\" is not a port from 1 to 65535");
      }
      ports.push_back(port);
    }
  }
  if (ports.empty() || ports.size() > kMaxPorts)
    return ApiError::BadRequest("query parameter ports: from 1 to 127 ports are expected");
  return ports;
}

}  // namespace

ApiResult<net::ServerResponse> PortForwardByWebSocket(const net::ServerRequest& request,
                                                      ContainerAccess& access, ContainerAddress pod,
                                                      SessionHost host) {
  for (const net::MediaType& offered :
       net::ParseAccept(request.headers.Get("Sec-WebSocket-Protocol"))) {
    if (offered.type == "spdy/3.1+portforward.k8s.io")
      return PortForwardBySpdy(request, access, std::move(pod), std::move(host));
  }
  bool known = false;
  for (const net::MediaType& offered :
       net::ParseAccept(request.headers.Get("Sec-WebSocket-Protocol")))
    known = known || offered.type == "v4.channel.k8s.io";
  if (!known) {
    return ApiError::BadRequest(
        "port forward over WebSocket: one of the subprotocols SPDY/3.1+portforward.k8s.io and "
        "v4.channel.k8s.io must be offered");
  }
  std::vector<int> ports = TRY(PortsOf(request));
  net::ServerResponse response;
  response.status = 101;
  response.headers.Add("Sec-WebSocket-Protocol", "v4.channel.k8s.io");
  response.on_upgrade = [&access, pod = std::move(pod), host = std::move(host),
                         ports =
                             std::move(ports)](const std::shared_ptr<net::Connection>& connection) {
    auto forward = std::make_shared<ChannelForward>(connection, ports);
    auto table = std::make_shared<PortTable>(access, pod, host, forward->Client(forward));
    connection->OnMessage(
        [table](const std::string& message) { ChannelForward::Receive(*table, message); });
    connection->OnClose([table] { table->Drop(); });
    forward->Start(*table);
  };
  return response;
}

}  // namespace thinsnap::streams
