// The streams of a forwarded connection come in pairs that share a request id: first "error", then
// "data", each with the port in its headers.
#include <charconv>
#include <map>
#include <utility>

#include "base/core/guarded.h"
#include "base/core/log.h"
#include "simulator/streams/portforward.h"
#include "simulator/streams/spdy.h"

namespace thinsnap::streams {
namespace {

constexpr std::size_t kMaxData = 32 << 10;  // bytes of one data frame
constexpr const char* kProtocol = "portforward.k8s.io";

// The client's end of the streams; all that is written goes through here. Thread-safe.
class StreamWriter {
 public:
  explicit StreamWriter(std::shared_ptr<net::Connection> connection)
      : connection_(std::move(connection)) {}

  void Reply(std::uint32_t stream) {
    std::lock_guard lock(mutex_);
    connection_->Send(writer_.SynReply(stream, {}));
  }
  void Data(std::uint32_t stream, std::string_view bytes) {
    std::lock_guard lock(mutex_);
    for (; !bytes.empty(); bytes.remove_prefix(std::min(bytes.size(), kMaxData)))
      connection_->Send(spdy::Writer::Data(stream, bytes.substr(0, kMaxData), false));
  }
  void End(std::uint32_t stream) {
    std::lock_guard lock(mutex_);
    connection_->Send(spdy::Writer::Data(stream, "", true));
  }
  void Ping(std::uint32_t id) { connection_->Send(spdy::Writer::Ping(id)); }
  std::uint64_t pending_bytes() const { return connection_->pending_bytes(); }

 private:
  const std::shared_ptr<net::Connection> connection_;
  std::mutex mutex_;
  spdy::Writer writer_ GUARDED_BY(mutex_);
};

class SpdyForward {
 public:
  SpdyForward(const std::shared_ptr<net::Connection>& connection, ContainerAccess& access,
              ContainerAddress pod, SessionHost host)
      : connection_(connection), streams_(std::make_shared<StreamWriter>(connection)) {
    PortTable::Client client;
    client.data = [streams = streams_](std::uint32_t id, const std::string& bytes) {
      streams->Data(id, bytes);
    };
    client.end = [streams = streams_](std::uint32_t id) { streams->End(id); };
    client.pending_bytes = [streams = streams_] { return streams->pending_bytes(); };
    table_ =
        std::make_shared<PortTable>(access, std::move(pod), std::move(host), std::move(client));
  }

  void OnBytes(const std::string& bytes) {
    reader_.Append(bytes);
    for (;;) {
      auto frame = reader_.Next();
      if (!frame.ok()) {
        LogDebug("apiserver", "port forward: " + frame.error().message());
        connection_->Close();
        return;
      }
      if (!*frame) return;
      OnFrame(**frame);
    }
  }

  void OnClose() { table_->Drop(); }

 private:
  void OnFrame(spdy::Frame& frame) {
    switch (frame.type) {
      case spdy::Frame::Type::kSynStream:
        OnOpen(frame);
        break;
      case spdy::Frame::Type::kData:
        if (!frame.data.empty()) table_->Write(frame.stream, std::move(frame.data));
        if (frame.fin) table_->CloseWrite(frame.stream);
        break;
      case spdy::Frame::Type::kReset:
        table_->Close(frame.stream);
        break;
      case spdy::Frame::Type::kPing:
        streams_->Ping(frame.stream);
        break;
      case spdy::Frame::Type::kGoAway:
      case spdy::Frame::Type::kOther:
        break;
    }
  }

  void OnOpen(const spdy::Frame& frame) {
    std::string type, request;
    int port = 0;
    for (const auto& [name, value] : frame.headers) {
      if (name == "streamtype") type = value;
      if (name == "requestid") request = value;
      if (name == "port") std::from_chars(value.data(), value.data() + value.size(), port);
    }
    streams_->Reply(frame.stream);
    if (type == "error") {
      errors_[request] = frame.stream;
      return;
    }
    const auto error_stream = errors_.extract(request);
    if (type != "data" || error_stream.empty()) {
      streams_->End(frame.stream);
      return;
    }
    const std::string error = port < 1 || port > 65535
                                  ? "header port: a number from 1 to 65535 is expected"
                                  : table_->Open(frame.stream, port);
    // Kubectl waits for the end of both streams; the error stream says no more than this.
    streams_->Data(error_stream.mapped(), error);
    streams_->End(error_stream.mapped());
    if (!error.empty()) streams_->End(frame.stream);
  }

  const std::shared_ptr<net::Connection> connection_;
  const std::shared_ptr<StreamWriter> streams_;
  std::shared_ptr<PortTable> table_;
  spdy::Reader reader_;
  std::map<std::string, std::uint32_t> errors_;  // error streams that wait for their data
};

}  // namespace

schema::ApiResult<net::ServerResponse> PortForwardBySpdy(const net::ServerRequest& request,
                                                         ContainerAccess& access,
                                                         ContainerAddress pod, SessionHost host) {
  net::ServerResponse response;
  response.status = 101;
  if (request.wants_websocket) {
    response.headers.Add("Sec-WebSocket-Protocol", std::string("SPDY/3.1+") + kProtocol);
  } else {
    response.raw_upgrade = true;
    response.headers.Add("Connection", "Upgrade");
    response.headers.Add("Upgrade", "SPDY/3.1");
    response.headers.Add("X-Stream-Protocol-Version", kProtocol);
  }
  response.on_upgrade = [&access, pod = std::move(pod), host = std::move(host)](
                            const std::shared_ptr<net::Connection>& connection) {
    auto forward = std::make_shared<SpdyForward>(connection, access, pod, host);
    connection->OnMessage([forward](const std::string& bytes) { forward->OnBytes(bytes); });
    connection->OnClose([forward] { forward->OnClose(); });
  };
  return response;
}

}  // namespace thinsnap::streams
