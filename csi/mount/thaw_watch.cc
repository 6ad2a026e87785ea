#include "csi/mount/thaw_watch.h"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "base/core/log.h"

namespace thinsnap::mount {
namespace {

constexpr char kFrozen = 'f', kThawed = 't', kReady = 'r';

// What a server, and who asks it, may take for a message.
constexpr int kAnswerMs = 2000;
constexpr int kMostWatches = 256;

// The death of the parent may find its FIFREEZE still on the way into the kernel.
constexpr int kThawAttempts = 200;
constexpr int kThawPauseMs = 50;

int Milliseconds(Duration time) {
  return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(time).count());
}

// May run between fork and _exit in a process that had many threads: async-signal-safe calls only.
[[noreturn]] void Watch(int filesystem, int channel, int deadline_ms) {
  bool frozen = false;
  for (;;) {
    pollfd event = {.fd = channel, .events = POLLIN, .revents = 0};
    const int ready = poll(&event, 1, frozen ? deadline_ms : -1);
    if (ready == 0) break;  // the deadline
    if (ready < 0) continue;
    char told = 0;
    const ssize_t n = read(channel, &told, 1);
    if (n == 1 && told == kThawed) _exit(0);
    if (n == 1 && told == kFrozen) {
      frozen = true;
      continue;
    }
    if (n <= 0) break;  // the other end is gone
  }
  for (int i = 0; i < kThawAttempts; ++i) {
    if (ioctl(filesystem, FITHAW, 0) == 0 || frozen) break;
    poll(nullptr, 0, kThawPauseMs);
  }
  _exit(1);
}

// Of a child: keeps two descriptors and nothing else of its parent's.
void KeepOnly(int one, int other) {
  prctl(PR_SET_NAME, "thinsnap-thaw");
  signal(SIGTERM, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  const int low = std::min(one, other), high = std::max(one, other);
  if (low > 0) syscall(SYS_close_range, 0, low - 1, 0);
  if (high > low + 1) syscall(SYS_close_range, low + 1, high - 1, 0);
  syscall(SYS_close_range, high + 1, ~0U, 0);
}

bool IsReadable(int fd) {
  pollfd event = {.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&event, 1, kAnswerMs) == 1;
}

Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Error(Code::kInvalidArgument, "socket path " + path + " is longer than " +
                                             std::to_string(sizeof address.sun_path - 1) +
                                             " bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

union DescriptorSpace {
  char bytes[CMSG_SPACE(sizeof(int))];
  cmsghdr aligned;
};

// The first message of a client; -1: it is none.
int TakeFilesystem(int channel, int& deadline_ms) {
  iovec part = {.iov_base = &deadline_ms, .iov_len = sizeof deadline_ms};
  DescriptorSpace space = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = space.bytes;
  message.msg_controllen = sizeof space.bytes;
  if (!IsReadable(channel)) return -1;
  if (recvmsg(channel, &message, MSG_CMSG_CLOEXEC) != sizeof deadline_ms) return -1;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int))) {
    return -1;
  }
  int filesystem = -1;
  std::memcpy(&filesystem, CMSG_DATA(header), sizeof filesystem);
  return filesystem;
}

[[noreturn]] void ServeWatch(int channel) {
  KeepOnly(channel, STDERR_FILENO);
  int deadline_ms = 0;
  const int filesystem = TakeFilesystem(channel, deadline_ms);
  if (filesystem < 0 || deadline_ms < 0) _exit(1);
  if (write(channel, &kReady, 1) != 1) _exit(1);
  Watch(filesystem, channel, deadline_ms);
}

}  // namespace

Result<ThawWatch> ThawWatch::Fork(const UniqueFd& filesystem, Duration deadline) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoError(errno, "pipe");
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  const pid_t child = fork();
  if (child < 0) return ErrnoError(errno, "fork");
  if (child == 0) {
    // The other end must not live on here.
    KeepOnly(filesystem.get(), read_end.get());
    Watch(filesystem.get(), read_end.get(), Milliseconds(deadline));
  }
  return ThawWatch(std::move(write_end), child);
}

Result<ThawWatch> ThawWatch::Ask(const std::string& socket_path, const UniqueFd& filesystem,
                                 Duration deadline) {
  const auto refused = [&](const std::string& why) {
    return Error(Code::kUnavailable,
                 "nobody watches over frozen filesystems at " + socket_path + ": " + why);
  };
  const sockaddr_un address = TRY(AddressOf(socket_path));
  UniqueFd channel(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!channel) return ErrnoError(errno, "socket");
  if (connect(channel.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return refused(std::strerror(errno));
  }
  int deadline_ms = Milliseconds(deadline);
  const int passed = filesystem.get();
  iovec part = {.iov_base = &deadline_ms, .iov_len = sizeof deadline_ms};
  DescriptorSpace space = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = space.bytes;
  message.msg_controllen = sizeof space.bytes;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &passed, sizeof passed);
  if (sendmsg(channel.get(), &message, MSG_NOSIGNAL) != sizeof deadline_ms) {
    return refused(std::strerror(errno));
  }
  char ready = 0;
  if (!IsReadable(channel.get()) || read(channel.get(), &ready, 1) != 1 || ready != kReady) {
    return refused("it does not answer");
  }
  return ThawWatch(std::move(channel), -1);
}

ThawWatch::~ThawWatch() {
  channel_.Reset();
  if (child_ < 0) return;
  while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void ThawWatch::Frozen() const { Tell(kFrozen); }

void ThawWatch::Dismiss() {
  if (!channel_) return;
  Tell(kThawed);
  // A child is waited for below; a server's watch closes its end when it ends.
  char end = 0;
  if (child_ < 0 && IsReadable(channel_.get())) {
    [[maybe_unused]] const ssize_t n = read(channel_.get(), &end, 1);
  }
  channel_.Reset();
  if (child_ < 0) return;
  while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
  child_ = -1;
}

void ThawWatch::Tell(char what) const {
  // A watch that is gone has thawed: the thaw that follows finds out.
  [[maybe_unused]] const ssize_t n = write(channel_.get(), &what, 1);
}

Status ServeThaw(const std::string& socket_path, int stop) {
  const sockaddr_un address = TRY(AddressOf(socket_path));
  unlink(socket_path.c_str());
  UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener) return ErrnoError(errno, "socket");
  const mode_t mask = umask(0177);
  const int bound =
      bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  umask(mask);
  if (bound != 0) return ErrnoError(errno, "bind " + socket_path);
  if (listen(listener.get(), 64) != 0) return ErrnoError(errno, "listen on " + socket_path);
  LogInfo("thaw", "watches over what is frozen, at " + socket_path);
  int watches = 0;
  for (;;) {
    pollfd events[] = {{.fd = listener.get(), .events = POLLIN, .revents = 0},
                       {.fd = stop, .events = POLLIN, .revents = 0}};
    if (poll(events, 2, -1) < 0 && errno != EINTR) return ErrnoError(errno, "poll");
    while (watches > 0 && waitpid(-1, nullptr, WNOHANG) > 0) --watches;
    if (events[1].revents != 0) break;
    if ((events[0].revents & POLLIN) == 0) continue;
    const UniqueFd client(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    // Who is not let in is told by the end of the connection.
    if (!client || watches >= kMostWatches) continue;
    const pid_t child = fork();
    if (child == 0) ServeWatch(client.get());
    if (child > 0) ++watches;
  }
  listener.Reset();
  unlink(socket_path.c_str());
  while (waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
  }
  return {};
}

}  // namespace thinsnap::mount
