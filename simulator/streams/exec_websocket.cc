#include "simulator/streams/exec_websocket.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/net/media_type.h"

namespace thinsnap::streams {
namespace {

constexpr unsigned char kCloseChannel = 255;

class WebSocketTransport final : public ExecTransport {
 public:
  explicit WebSocketTransport(std::shared_ptr<net::Connection> connection)
      : connection_(std::move(connection)) {}

  void Send(ExecChannel channel, std::string_view bytes) override {
    std::string message;
    message.reserve(bytes.size() + 1);
    message += static_cast<char>(channel);
    message += bytes;
    connection_->Send(std::move(message));
  }
  void Finish() override { connection_->Close(); }
  std::uint64_t pending_bytes() const override { return connection_->pending_bytes(); }

 private:
  const std::shared_ptr<net::Connection> connection_;
};

void Receive(ExecBridge& bridge, const std::string& message) {
  if (message.empty()) return;
  const auto channel = static_cast<unsigned char>(message[0]);
  if (channel == kCloseChannel) {
    if (message.size() > 1 && message[1] == 0) bridge.CloseStdin();
    return;
  }
  bridge.Receive(static_cast<ExecChannel>(channel), message.substr(1));
}

}  // namespace

schema::ApiResult<net::ServerResponse> ExecByWebSocket(const net::ServerRequest& request,
                                                       ContainerAccess& access, ExecRequest exec,
                                                       SessionHost host) {
  std::string chosen;
  for (const net::MediaType& offered :
       net::ParseAccept(request.headers.Get("Sec-WebSocket-Protocol"))) {
    if (offered.type == "v5.channel.k8s.io" || offered.type == "v4.channel.k8s.io") {
      chosen = offered.type;
      break;
    }
  }
  if (chosen.empty()) {
    return schema::ApiError::BadRequest(
        "exec over WebSocket: one of the subprotocols v5.channel.k8s.io and v4.channel.k8s.io must "
        "be offered");
  }
  net::ServerResponse response;
  response.status = 101;
  response.headers.Add("Sec-WebSocket-Protocol", chosen);
  response.on_upgrade = [&access, exec = std::move(exec), host = std::move(host)](
                            const std::shared_ptr<net::Connection>& connection) {
    auto bridge =
        std::make_shared<ExecBridge>(std::make_shared<WebSocketTransport>(connection), host);
    connection->OnMessage([bridge](const std::string& message) { Receive(*bridge, message); });
    connection->OnClose([bridge] { bridge->Drop(); });
    bridge->Start(access, exec);
  };
  return response;
}

}  // namespace thinsnap::streams
