// EventLoop: one thread that waits for many sockets (epoll) and runs what others post to it. The
// only place of base/net with a thread of its own: sockets outside of Runtime tasks are what lets a
// thousand open watches hold no thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/core/clock.h"
#include "base/core/file.h"
#include "base/core/guarded.h"
#include "base/core/result.h"

namespace thinsnap::net {

// Called on the loop's thread.
class SocketHandler {
 public:
  virtual ~SocketHandler() = default;
  // `broken`: both directions are gone; it is reported until the descriptor is no longer watched.
  virtual void OnReady(bool readable, bool writable, bool broken) = 0;
  // Now and then: for deadlines.
  virtual void OnTick(MonoTime now) = 0;
};

class EventLoop {
 public:
  static Result<std::shared_ptr<EventLoop>> Start();
  ~EventLoop() { Stop(); }

  // Thread-safe, never blocks. Dropped once stopped.
  void Post(std::function<void()> job);
  // The rest: on the loop's thread only. An id stands for a watched descriptor.
  using WatchId = std::uint64_t;
  WatchId Watch(int fd, std::shared_ptr<SocketHandler> handler);
  void SetInterest(WatchId id, int fd, bool read, bool write);
  void Unwatch(WatchId id, int fd);

  // Ends the thread and lets go of all handlers. Not from the loop's thread.
  void Stop();

 private:
  EventLoop() = default;
  void Run();
  void RunPosted();

  UniqueFd epoll_;
  UniqueFd wake_;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;

  // Of the loop's thread.
  std::unordered_map<WatchId, std::shared_ptr<SocketHandler>> handlers_;
  WatchId next_id_ = 1;
};

}  // namespace thinsnap::net
