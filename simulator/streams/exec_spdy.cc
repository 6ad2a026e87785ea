#include "simulator/streams/exec_spdy.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "base/core/guarded.h"
#include "base/core/log.h"
#include "base/net/media_type.h"
#include "simulator/streams/spdy.h"

namespace thinsnap::streams {
namespace {

constexpr std::size_t kMaxData = 32 << 10;  // bytes of one data frame
constexpr std::array<std::string_view, 2> kProtocols = {"v5.channel.k8s.io", "v4.channel.k8s.io"};

// The client's streams by channel, and the frames that go to them.
class SpdyTransport final : public ExecTransport {
 public:
  explicit SpdyTransport(std::shared_ptr<net::Connection> connection)
      : connection_(std::move(connection)) {}

  void Open(std::uint32_t stream, ExecChannel channel) {
    std::lock_guard lock(mutex_);
    streams_[channel] = stream;
    connection_->Send(writer_.SynReply(stream, {}));
  }

  void Send(ExecChannel channel, std::string_view bytes) override {
    std::lock_guard lock(mutex_);
    const auto found = streams_.find(channel);
    if (found == streams_.end()) return;
    while (!bytes.empty()) {
      const auto piece = bytes.substr(0, kMaxData);
      connection_->Send(spdy::Writer::Data(found->second, piece, false));
      bytes.remove_prefix(piece.size());
    }
  }

  void Finish() override {
    std::lock_guard lock(mutex_);
    for (const auto& [channel, stream] : streams_) {
      if (channel != ExecChannel::kStdin) connection_->Send(spdy::Writer::Data(stream, "", true));
    }
    connection_->Close();
  }

  std::uint64_t pending_bytes() const override { return connection_->pending_bytes(); }

  void Answer(const spdy::Frame& ping) { connection_->Send(spdy::Writer::Ping(ping.stream)); }

 private:
  const std::shared_ptr<net::Connection> connection_;
  std::mutex mutex_;
  spdy::Writer writer_ GUARDED_BY(mutex_);
  std::map<ExecChannel, std::uint32_t> streams_ GUARDED_BY(mutex_);
};

// What the client's frames do. Called one at a time.
class SpdyExec {
 public:
  SpdyExec(const std::shared_ptr<net::Connection>& connection, ContainerAccess& access,
           ExecRequest exec, std::size_t expected_streams, SessionHost host)
      : connection_(connection),
        transport_(std::make_shared<SpdyTransport>(connection)),
        bridge_(std::make_shared<ExecBridge>(transport_, std::move(host))),
        access_(access),
        exec_(std::move(exec)),
        expected_streams_(expected_streams) {}

  void OnBytes(const std::string& bytes) {
    reader_.Append(bytes);
    for (;;) {
      auto frame = reader_.Next();
      if (!frame.ok()) {
        LogDebug("apiserver", "exec: " + frame.error().message());
        connection_->Close();
        return;
      }
      if (!*frame) return;
      OnFrame(std::move(**frame));
    }
  }

  void OnClose() { bridge_->Drop(); }

 private:
  void OnFrame(spdy::Frame frame) {
    switch (frame.type) {
      case spdy::Frame::Type::kSynStream:
        OnOpen(frame);
        break;
      case spdy::Frame::Type::kData: {
        const auto found = channels_.find(frame.stream);
        if (found == channels_.end()) break;
        if (!frame.data.empty()) bridge_->Receive(found->second, std::move(frame.data));
        if (frame.fin && found->second == ExecChannel::kStdin) bridge_->CloseStdin();
        break;
      }
      case spdy::Frame::Type::kReset: {
        const auto found = channels_.find(frame.stream);
        if (found != channels_.end() && found->second == ExecChannel::kStdin) bridge_->CloseStdin();
        break;
      }
      case spdy::Frame::Type::kPing:
        transport_->Answer(frame);
        break;
      case spdy::Frame::Type::kGoAway:
      case spdy::Frame::Type::kOther:
        break;
    }
  }

  void OnOpen(const spdy::Frame& frame) {
    static const std::map<std::string_view, ExecChannel> kChannels = {
        {"stdin", ExecChannel::kStdin},
        {"stdout", ExecChannel::kStdout},
        {"stderr", ExecChannel::kStderr},
        {"error", ExecChannel::kError},
        {"resize", ExecChannel::kResize}};
    for (const auto& [name, value] : frame.headers) {
      if (name != "streamtype") continue;
      const auto channel = kChannels.find(value);
      if (channel == kChannels.end()) break;
      channels_[frame.stream] = channel->second;
      transport_->Open(frame.stream, channel->second);
    }
    if (!started_ && channels_.size() == expected_streams_) {
      started_ = true;
      bridge_->Start(access_, exec_);
    }
  }

  const std::shared_ptr<net::Connection> connection_;
  const std::shared_ptr<SpdyTransport> transport_;
  const std::shared_ptr<ExecBridge> bridge_;
  ContainerAccess& access_;
  const ExecRequest exec_;
  const std::size_t expected_streams_;
  spdy::Reader reader_;
  std::map<std::uint32_t, ExecChannel> channels_;
  bool started_ = false;
};

}  // namespace

bool IsSpdyUpgrade(const net::ServerRequest& request) {
  const auto upgrade = net::ParseAccept(request.headers.Get("Upgrade"));
  return std::any_of(upgrade.begin(), upgrade.end(),
                     [](const net::MediaType& item) { return item.type == "spdy/3.1"; });
}

schema::ApiResult<net::ServerResponse> ExecBySpdy(const net::ServerRequest& request,
                                                  ContainerAccess& access, ExecRequest exec,
                                                  const ClientStreams& expected, SessionHost host) {
  std::string chosen;
  for (const auto& [name, value] : request.headers.items()) {
    if (name.size() != 25 || net::ParseMediaType(name).type != "x-stream-protocol-version")
      continue;
    for (const net::MediaType& offered : net::ParseAccept(value)) {
      const bool known =
          std::find(kProtocols.begin(), kProtocols.end(), offered.type) != kProtocols.end();
      if (known && (chosen.empty() || offered.type > chosen)) chosen = offered.type;
    }
  }
  if (chosen.empty()) {
    return schema::ApiError(
        403, "Forbidden", "exec over SPDY: X-Stream-Protocol-Version must offer v4.channel.k8s.io");
  }
  const std::size_t streams = 1 + (expected.in ? 1U : 0U) + (expected.out ? 1U : 0U) +
                              (expected.err && !exec.tty ? 1U : 0U) + (exec.tty ? 1U : 0U);
  net::ServerResponse response;
  response.status = 101;
  response.raw_upgrade = true;
  response.headers.Add("Connection", "Upgrade");
  response.headers.Add("Upgrade", "SPDY/3.1");
  response.headers.Add("X-Stream-Protocol-Version", chosen);
  response.on_upgrade = [&access, exec = std::move(exec), streams, host = std::move(host)](
                            const std::shared_ptr<net::Connection>& connection) {
    auto session = std::make_shared<SpdyExec>(connection, access, exec, streams, host);
    connection->OnMessage([session](const std::string& bytes) { session->OnBytes(bytes); });
    connection->OnClose([session] { session->OnClose(); });
  };
  return response;
}

}  // namespace thinsnap::streams
