#include "simulator/kubelet/port_client.h"

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <mutex>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "base/core/file.h"

namespace thinsnap::kubelet {
namespace {

// Callbacks are made under the lock, so that none comes after the session is gone. It may go in its
// own callback.
struct PortState {
  std::recursive_mutex mutex;
  bool gone = false;
  streams::PortCallbacks callbacks;
  UniqueFd fd;
};

class TcpPort final : public streams::PortSession {
 public:
  explicit TcpPort(std::shared_ptr<PortState> state) : state_(std::move(state)) {}
  ~TcpPort() override {
    shutdown(state_->fd.get(), SHUT_RDWR);
    std::lock_guard lock(state_->mutex);
    state_->gone = true;
  }

  // A program that reads no more is met by the reader as the end.
  void Write(std::string bytes) override {
    std::string_view rest = bytes;
    while (!rest.empty()) {
      const ssize_t sent = send(state_->fd.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR) continue;
      if (sent <= 0) return;
      rest.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  void CloseWrite() override { shutdown(state_->fd.get(), SHUT_WR); }

 private:
  const std::shared_ptr<PortState> state_;
};

void ReadPort(PortState& state) {
  std::array<char, 32768> buffer;
  for (;;) {
    const ssize_t got = recv(state.fd.get(), buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    std::lock_guard lock(state.mutex);
    if (state.gone) return;
    if (got <= 0) {
      state.callbacks.on_end();
      return;
    }
    state.callbacks.on_data(std::string(buffer.data(), static_cast<std::size_t>(got)));
  }
}

}  // namespace

Result<std::unique_ptr<streams::PortSession>> ConnectPort(TaskGroup& group, int port,
                                                          streams::PortCallbacks callbacks) {
  auto state = std::make_shared<PortState>();
  state->callbacks = std::move(callbacks);
  state->fd.Reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!state->fd) return ErrnoError(errno, "socket");
  struct sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(state->fd.get(), reinterpret_cast<const struct sockaddr*>(&address),
              sizeof address) != 0) {
    return Error(Code::kUnavailable, "nobody listens on port " + std::to_string(port));
  }
  group.Spawn("port", [&group, state] {
    const TaskGroup::StopToken token =
        group.OnStop([state] { shutdown(state->fd.get(), SHUT_RDWR); });
    ReadPort(*state);
  });
  return std::unique_ptr<streams::PortSession>(std::make_unique<TcpPort>(state));
}

}  // namespace thinsnap::kubelet
