#include "simulator/kubelet/access_client.h"

#include <chrono>
#include <mutex>
#include <sys/socket.h>
#include <utility>

#include "base/core/bytes.h"
#include "base/data/json.h"
#include "simulator/kubelet/frames.h"
#include "simulator/kubelet/port_client.h"

namespace thinsnap::kubelet {
namespace {

constexpr std::uint64_t kStreamHighWater = kMiB;

JsonObject AddressJson(const streams::ContainerAddress& address) {
  return {{"namespace", address.ns},
          {"pod", address.pod},
          {"uid", address.pod_uid},
          {"container", address.container}};
}

// Sends the request and reads the kubelet's yes or no.
Result<std::shared_ptr<UniqueFd>> Open(const std::string& socket, const std::string& node,
                                       FrameType type, const Json& request) {
  Result<UniqueFd> connected = ConnectUnix(socket);
  if (!connected.ok()) return Error(Code::kUnavailable, "node " + node + " does not answer");
  auto fd = std::make_shared<UniqueFd>(std::move(*connected));
  TRY(WriteFrame(fd->get(), type, ToJson(request)));
  const Frame answer = TRY(ReadFrame(fd->get()).In("node " + node));
  if (answer.type == FrameType::kAccepted) return fd;
  const Json refusal = TRY(ParseJson(answer.payload));
  return Error(static_cast<Code>(IntAt(refusal, "code", static_cast<int>(Code::kInternal))),
               StringAt(refusal, "message"));
}

class RemoteExec final : public streams::ExecSession {
 public:
  // Callbacks are made under the lock, so that none comes after the session is gone. It may go in
  // its own callback.
  struct State {
    std::recursive_mutex mutex;
    bool gone = false;
    streams::ExecCallbacks callbacks;
    std::shared_ptr<UniqueFd> fd;
  };

  explicit RemoteExec(std::shared_ptr<State> state) : state_(std::move(state)) {}
  ~RemoteExec() override {
    shutdown(state_->fd->get(), SHUT_RDWR);
    std::lock_guard lock(state_->mutex);
    state_->gone = true;
  }

  void WriteStdin(std::string bytes) override {
    constexpr std::size_t kPiece = 64 * kKiB;
    for (std::size_t at = 0; at < bytes.size(); at += kPiece) {
      Send(FrameType::kStdin, std::string_view(bytes).substr(at, kPiece));
    }
  }
  void CloseStdin() override { Send(FrameType::kStdinEnd, ""); }
  void Resize(int columns, int rows) override {
    Send(FrameType::kResize, ToJson(JsonObject{{"columns", columns}, {"rows", rows}}));
  }

 private:
  // A program that is gone needs no input; its end is reported by the reader.
  void Send(FrameType type, std::string_view payload) {
    std::lock_guard lock(write_mutex_);
    WriteFrame(state_->fd->get(), type, payload).IgnoreError();
  }

  std::shared_ptr<State> state_;
  std::mutex write_mutex_;
};

void ReadExec(const std::shared_ptr<RemoteExec::State>& state) {
  for (;;) {
    const Result<Frame> frame = ReadFrame(state->fd->get());
    std::lock_guard lock(state->mutex);
    if (state->gone) return;
    if (!frame.ok()) {
      state->callbacks.on_exit(137, "the node went down");
      return;
    }
    switch (frame->type) {
      case FrameType::kStdout:
        state->callbacks.on_stdout(frame->payload);
        break;
      case FrameType::kStderr:
        state->callbacks.on_stderr(frame->payload);
        break;
      case FrameType::kExit: {
        const Result<Json> exit = ParseJson(frame->payload);
        state->callbacks.on_exit(exit.ok() ? static_cast<int>(IntAt(*exit, "code")) : 255, "");
        return;
      }
      default:
        break;
    }
  }
}

class AccessClient final : public streams::ContainerAccess {
 public:
  AccessClient(Runtime& runtime, TaskGroup& group,
               std::function<std::string(const std::string&)> socket_of)
      : runtime_(runtime), group_(group), socket_of_(std::move(socket_of)) {}

  Status Logs(const streams::LogRequest& request, std::shared_ptr<net::Stream> to) override {
    JsonObject message = AddressJson(request.container);
    message["follow"] = request.follow;
    message["previous"] = request.previous;
    message["timestamps"] = request.timestamps;
    if (request.tail_lines) message["tailLines"] = *request.tail_lines;
    if (request.limit_bytes) message["limitBytes"] = *request.limit_bytes;
    if (request.since) message["sinceNanos"] = request.since->time_since_epoch().count();
    const std::string& node = request.container.node;
    const std::shared_ptr<UniqueFd> fd =
        TRY(Open(socket_of_(node), node, FrameType::kLogs, std::move(message)));
    to->OnClose([fd] { shutdown(fd->get(), SHUT_RDWR); });
    group_.Spawn("logs", [this, fd, to] {
      const TaskGroup::StopToken token = group_.OnStop([fd] { shutdown(fd->get(), SHUT_RDWR); });
      for (;;) {
        Result<Frame> frame = ReadFrame(fd->get());
        if (!frame.ok() || frame->type != FrameType::kStdout) break;
        // A slow reader holds back the file, not the other way round.
        while (to->pending_bytes() > kStreamHighWater && !to->closed()) {
          if (!runtime_.SleepFor(std::chrono::milliseconds(10)).ok()) break;
        }
        if (!to->Push(std::make_shared<const std::string>(std::move(frame->payload)))) break;
      }
      to->Close();
    });
    return {};
  }

  Result<std::unique_ptr<streams::ExecSession>> Exec(const streams::ExecRequest& request,
                                                     streams::ExecCallbacks callbacks) override {
    JsonObject message = AddressJson(request.container);
    const bool attach = request.command.empty();
    if (!attach) message["command"] = JsonArray(request.command.begin(), request.command.end());
    message["stdin"] = request.stdin_open;
    message["tty"] = request.tty;
    const std::string& node = request.container.node;
    auto state = std::make_shared<RemoteExec::State>();
    state->fd = TRY(Open(socket_of_(node), node, attach ? FrameType::kAttach : FrameType::kExec,
                         std::move(message)));
    state->callbacks = std::move(callbacks);
    group_.Spawn("exec", [this, state] {
      const TaskGroup::StopToken token =
          group_.OnStop([state] { shutdown(state->fd->get(), SHUT_RDWR); });
      ReadExec(state);
    });
    return std::unique_ptr<streams::ExecSession>(std::make_unique<RemoteExec>(state));
  }

  Result<std::unique_ptr<streams::PortSession>> Connect(const streams::ContainerAddress&, int port,
                                                        streams::PortCallbacks callbacks) override {
    return ConnectPort(group_, port, std::move(callbacks));
  }

 private:
  Runtime& runtime_;
  TaskGroup& group_;
  const std::function<std::string(const std::string&)> socket_of_;
};

}  // namespace

std::unique_ptr<streams::ContainerAccess> MakeAccessClient(
    Runtime& runtime, TaskGroup& group,
    std::function<std::string(const std::string& node)> socket_of) {
  return std::make_unique<AccessClient>(runtime, group, std::move(socket_of));
}

}  // namespace thinsnap::kubelet
