// ContainerIo: what goes in and out of one running container. Its output goes into the log and to
// whoever is attached; what attached clients type goes to its input. It lives exactly as long as
// the container: both end with the kubelet, which is process 1 of its node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/core/file.h"
#include "base/core/guarded.h"
#include "base/core/result.h"
#include "simulator/containers/log_file.h"

namespace thinsnap::containers {

// What the container's spec says of its input.
struct ContainerInput {
  bool open = false;  // stdin
  bool once = false;  // stdinOnce: the input ends with the first client that had it
  bool tty = false;   // input and output are a terminal
};

// One attached client. Thread-safe.
class AttachedClient {
 public:
  AttachedClient();
  // Becomes readable when there is something to Take, when the container has ended, or when it took
  // some of its input.
  int ready_fd() const { return ready_.get(); }

  struct Piece {
    bool error_stream = false;
    std::string bytes;
  };
  struct Taken {
    std::vector<Piece> pieces;
    bool ended = false;  // nothing follows
  };

 private:
  friend class ContainerIo;
  void Wake() const;

  UniqueFd ready_;
  // Under the mutex of the ContainerIo.
  std::vector<Piece> waiting_;
  std::size_t waiting_bytes_ = 0;
  bool takes_input_ = false;
};

// Thread-safe.
class ContainerIo {
 public:
  ContainerIo(std::shared_ptr<LogFile> log, ContainerInput input)
      : log_(std::move(log)), input_(input) {}

  const ContainerInput& input() const { return input_; }
  const std::shared_ptr<LogFile>& log() const { return log_; }

  // The runtime's side. `fd`, the container's input, does not block; nobody has it if there is
  // none. `attend` is called, from any thread, when the runtime should look at the container again:
  // there is input that it did not take at once, or the clients have caught up with its output.
  void Connect(UniqueFd fd, std::function<void()> attend);
  void Output(bool error_stream, std::string_view bytes);
  // A client reads so slowly that the container has to wait.
  bool Congested() const;
  // Has epoll say once, under `key`, when the container takes input that waits.
  void WatchInput(int epoll, std::uint64_t key);
  void FeedInput();
  // The container has ended and all of its output was given.
  void Close();

  // The clients' side. A client that does not take input only listens. What an interactive
  // container said before the first client came is for that client.
  std::shared_ptr<AttachedClient> Attach(bool takes_input);
  AttachedClient::Taken Take(AttachedClient& client);
  void Write(std::string_view bytes);
  // So much waits for the container to read.
  std::size_t unread_input() const;
  // The client's input has ended. False: so has its session, since the container's input stays open
  // for others.
  bool EndInput(AttachedClient& client);
  void Detach(const std::shared_ptr<AttachedClient>& client);
  void Resize(int columns, int rows);

 private:
  bool CongestedLocked() const REQUIRES(mutex_);
  void FeedLocked() REQUIRES(mutex_);
  bool EndInputLocked(AttachedClient& client) REQUIRES(mutex_);
  void WakeAll() const REQUIRES(mutex_);

  const std::shared_ptr<LogFile> log_;
  const ContainerInput input_;
  mutable std::mutex mutex_;
  UniqueFd fd_ GUARDED_BY(mutex_);  // the container's input; of a terminal its master
  std::function<void()> attend_ GUARDED_BY(mutex_);
  std::string unread_ GUARDED_BY(mutex_);
  bool input_ended_ GUARDED_BY(mutex_) = false;
  bool closed_ GUARDED_BY(mutex_) = false;
  bool had_client_ GUARDED_BY(mutex_) = false;
  std::vector<AttachedClient::Piece> early_ GUARDED_BY(mutex_);
  std::size_t early_bytes_ GUARDED_BY(mutex_) = 0;
  std::vector<std::shared_ptr<AttachedClient>> clients_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::containers
