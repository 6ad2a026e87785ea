// ExecBridge: one running exec between a client's channels (however they are framed) and the
// kubelet's session.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/core/guarded.h"
#include "base/core/runtime.h"
#include "simulator/streams/container_access.h"

namespace thinsnap::streams {

enum class ExecChannel : std::uint8_t {
  kStdin = 0,
  kStdout = 1,
  kStderr = 2,
  kError = 3,
  kResize = 4
};

// The client's end. Thread-safe; no call blocks.
class ExecTransport {
 public:
  virtual ~ExecTransport() = default;
  virtual void Send(ExecChannel channel, std::string_view bytes) = 0;
  // What was sent and is not taken yet.
  virtual std::uint64_t pending_bytes() const = 0;
  // After the last bytes.
  virtual void Finish() = 0;
};

// What a session needs of its surroundings.
struct SessionHost {
  // Destroys what it is given, on a thread where that may block.
  std::function<void(std::shared_ptr<void>)> dispose;
  // Waits a moment for a client that reads slowly. False when the server stops.
  std::function<bool()> pause;
};

// Beyond this a session waits for its client, so that nothing is lost on one that reads slowly.
inline constexpr std::uint64_t kClientHighWater = std::uint64_t{1} << 20;

// Thread-safe. Shared by the transport's callbacks; Drop() breaks the circle.
class ExecBridge : public std::enable_shared_from_this<ExecBridge> {
 public:
  ExecBridge(std::shared_ptr<ExecTransport> transport, SessionHost host)
      : transport_(std::move(transport)), host_(std::move(host)) {}

  // Starts the program; a failure is told to the client as the outcome.
  void Start(ContainerAccess& access, const ExecRequest& request);
  // Bytes from the client.
  void Receive(ExecChannel channel, std::string bytes);
  void CloseStdin();
  // The client is gone: the program, if it still runs, is killed.
  void Drop();

 private:
  std::shared_ptr<ExecSession> Session();
  std::shared_ptr<ExecTransport> Transport();
  void Send(ExecChannel channel, const std::string& bytes);
  void Conclude(const std::string& status);

  std::mutex mutex_;
  std::shared_ptr<ExecTransport> transport_ GUARDED_BY(mutex_);
  const SessionHost host_;
  std::shared_ptr<ExecSession> session_ GUARDED_BY(mutex_);
  std::string early_stdin_ GUARDED_BY(mutex_);  // until the session is there
  std::string early_size_ GUARDED_BY(mutex_);   // the last one
  bool early_close_ GUARDED_BY(mutex_) = false;
  bool dropped_ GUARDED_BY(mutex_) = false;
};

// The Status object that ends an exec: of an exit code, or why it could not be run.
std::string ExecStatus(int exit_code, const std::string& error);

}  // namespace thinsnap::streams
