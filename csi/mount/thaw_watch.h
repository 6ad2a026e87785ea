// The watch over a filesystem that stands still: a process that thaws it at the deadline, or when
// the one that froze it is gone. A child will do for a plain process. But a driver in a container
// is the first process of its PID namespace: its children die with it. There the watch is kept by
// another container of the pod, which is handed the filesystem over a unix socket.
//
// Over pipe or socket: to the watch, 'f' for "it stands still" (the deadline runs from there) and
// 't' for "it was thawed"; an end without 't' is the death of who froze. The socket's first message
// has the deadline (32 bits, host order, ms) and the filesystem; the watch answers 'r' when it is
// ready.
#pragma once

#include <string>

#include "base/core/clock.h"
#include "base/core/file.h"
#include "base/core/result.h"

namespace thinsnap::mount {

class ThawWatch {
 public:
  // A child of this process.
  static Result<ThawWatch> Fork(const UniqueFd& filesystem, Duration deadline);
  // The server behind the socket. kUnavailable: nobody is there, or does not answer.
  static Result<ThawWatch> Ask(const std::string& socket_path, const UniqueFd& filesystem,
                               Duration deadline);

  // Without Dismiss it is as if this process had ended.
  ~ThawWatch();
  ThawWatch(ThawWatch&& other) noexcept
      : channel_(std::move(other.channel_)), child_(std::exchange(other.child_, -1)) {}
  ThawWatch& operator=(ThawWatch&&) = delete;

  void Frozen() const;
  // It was thawed. Returns when the watch has ended: a late thaw would meet the next freeze.
  void Dismiss();

 private:
  ThawWatch(UniqueFd channel, pid_t child) : channel_(std::move(channel)), child_(child) {}
  void Tell(char what) const;

  UniqueFd channel_;
  pid_t child_ = -1;
};

// Keeps watches for whoever may connect (this user) until `stop` is readable, then until the last
// of them has ended. From a process without other threads and children.
Status ServeThaw(const std::string& socket_path, int stop);

}  // namespace thinsnap::mount
