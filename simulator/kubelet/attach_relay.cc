#include "simulator/kubelet/attach_relay.h"

#include <cerrno>
#include <poll.h>

#include "base/data/json.h"
#include "simulator/kubelet/frames.h"

namespace thinsnap::kubelet {
namespace {

// So much may wait for the container to read before the client has to wait too.
constexpr std::size_t kInputHighWater = kMiB;

class AttachRelay {
 public:
  AttachRelay(int socket, const std::shared_ptr<containers::ContainerIo>& io, bool takes_input)
      : socket_(socket), io_(io), takes_input_(takes_input), client_(io->Attach(takes_input)) {}
  ~AttachRelay() { io_->Detach(client_); }
  AttachRelay(const AttachRelay&) = delete;
  AttachRelay& operator=(const AttachRelay&) = delete;

  void Run(int stop_fd) {
    for (;;) {
      enum { kSocket, kReady, kStop };
      const bool take = io_->unread_input() < kInputHighWater;
      struct pollfd fds[] = {{socket_, static_cast<short>(take ? POLLIN : 0), 0},
                             {client_->ready_fd(), POLLIN, 0},
                             {stop_fd, POLLIN, 0}};
      if (poll(fds, 3, -1) < 0 && errno != EINTR) return;
      if (fds[kStop].revents != 0) return;
      if (fds[kReady].revents != 0 && !PassOutput()) return;
      if ((fds[kSocket].revents & POLLIN) != 0 && !TakeFrame()) return;
      if ((fds[kSocket].revents & (POLLIN | POLLHUP)) == POLLHUP) return;
    }
  }

 private:
  // False when nothing follows.
  bool PassOutput() {
    const auto taken = io_->Take(*client_);
    for (const auto& piece : taken.pieces) {
      const FrameType type = piece.error_stream ? FrameType::kStderr : FrameType::kStdout;
      if (!WriteFrame(socket_, type, piece.bytes).ok()) return false;
    }
    if (taken.ended) TellEnd();
    return !taken.ended;
  }

  // False when the client has gone or ends its session.
  bool TakeFrame() {
    const Result<Frame> frame = ReadFrame(socket_);
    if (!frame.ok()) return false;
    if (frame->type == FrameType::kStdin) {
      if (takes_input_) io_->Write(frame->payload);
    } else if (frame->type == FrameType::kStdinEnd) {
      if (!io_->EndInput(*client_)) {
        if (PassOutput()) TellEnd();
        return false;
      }
    } else if (frame->type == FrameType::kResize) {
      if (const Result<Json> size = ParseJson(frame->payload); size.ok()) {
        io_->Resize(static_cast<int>(IntAt(*size, "columns", 80)),
                    static_cast<int>(IntAt(*size, "rows", 24)));
      }
    }
    return true;
  }

  // Of the session: how the program ended is in the pod's status.
  void TellEnd() const {
    WriteFrame(socket_, FrameType::kExit, ToJson(JsonObject{{"code", 0}})).IgnoreError();
  }

  const int socket_;
  const std::shared_ptr<containers::ContainerIo> io_;
  const bool takes_input_;
  const std::shared_ptr<containers::AttachedClient> client_;
};

}  // namespace

void RelayAttach(int socket, const std::shared_ptr<containers::ContainerIo>& io, bool takes_input,
                 int stop_fd) {
  AttachRelay(socket, io, takes_input && io->input().open).Run(stop_fd);
}

}  // namespace thinsnap::kubelet
