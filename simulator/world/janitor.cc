#include "simulator/world/janitor.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

#include "simulator/containers/cgroups.h"
#include "simulator/containers/child_process.h"
#include "simulator/kubelet/frames.h"

namespace thinsnap::world {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Where the janitor has what it keeps.
constexpr int kLife = 3, kListener = 4, kLock = 5;
constexpr int kPauseMs = 50;
// The last processes of a node die a moment after `up`; those that wait for a disk take longer.
constexpr int kTries = 60'000 / kPauseMs;

struct Frozen {
  UniqueFd asked, filesystem;
};

// One byte with a descriptor; nullopt-like (empty) when the other side has nothing to say.
UniqueFd ReceiveDescriptor(int socket) {
  char byte = 0;
  struct iovec part = {&byte, 1};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n = 0;
  do {
    n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  const struct cmsghdr* header = n == 1 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return {};
  int fd = -1;
  __builtin_memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return UniqueFd(fd);
}

Status SendDescriptor(int socket, int fd) {
  char byte = 'f';
  struct iovec part = {&byte, 1};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  struct cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  __builtin_memcpy(CMSG_DATA(header), &fd, sizeof fd);
  if (sendmsg(socket, &message, MSG_NOSIGNAL) != 1) return ErrnoError(errno, "pass a descriptor");
  return {};
}

// Blocks until the other side has sent a byte or closed.
bool ReadByte(int socket) {
  char byte = 0;
  ssize_t n = 0;
  do {
    n = read(socket, &byte, 1);
  } while (n < 0 && errno == EINTR);
  return n == 1;
}

void Accept(std::vector<Frozen>& frozen) {
  Frozen fresh;
  fresh.asked.Reset(accept4(kListener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!fresh.asked) return;
  fresh.filesystem = ReceiveDescriptor(fresh.asked.get());
  if (!fresh.filesystem) return;
  if (send(fresh.asked.get(), "k", 1, MSG_NOSIGNAL) == 1) frozen.push_back(std::move(fresh));
}

// Serves drivers until they and `up` are gone and nothing is left to remove.
[[noreturn]] void Run(const std::string& cgroup) {
  std::vector<Frozen> frozen;
  bool up_lives = true;
  for (int tries = 0; tries < kTries;) {
    std::vector<struct pollfd> events = {{kListener, POLLIN, 0},
                                         {up_lives ? kLife : -1, POLLIN, 0}};
    for (const Frozen& one : frozen) events.push_back({one.asked.get(), POLLIN, 0});
    if (poll(events.data(), events.size(), up_lives ? -1 : kPauseMs) < 0) continue;
    for (std::size_t i = frozen.size(); i-- > 0;) {
      if (events[i + 2].revents == 0) continue;
      // Most were thawed by their drivers: then this does nothing.
      ioctl(frozen[i].filesystem.get(), FITHAW, 0);
      frozen.erase(frozen.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (events[0].revents != 0) Accept(frozen);
    if (events[1].revents != 0) up_lives = false;
    if (up_lives) continue;
    ++tries;
    if (containers::RemoveCgroups(cgroup) && frozen.empty()) break;
  }
  _exit(0);
}

[[noreturn]] void Begin(int life, int listener, int lock, const std::string& cgroup) {
  // Not ended by what ends the others; nothing of theirs is held.
  setsid();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_IGN);
  const int null_fd = open("/dev/null", O_RDWR);
  for (const int fd : {0, 1, 2}) dup2(null_fd, fd);
  // Through high numbers, so that no source is overwritten before it is used.
  const int high[] = {fcntl(life, F_DUPFD, 10), fcntl(listener, F_DUPFD, 10),
                      fcntl(lock, F_DUPFD, 10)};
  dup2(high[0], kLife);
  dup2(high[1], kListener);
  dup2(high[2], kLock);
  syscall(SYS_close_range, static_cast<unsigned>(kLock) + 1, ~0U, 0U);
  // Whoever looks for processes in the data folder must not find this one.
  [[maybe_unused]] const int changed = chdir("/");
  prctl(PR_SET_NAME, "sim-janitor");
  Run(cgroup);
}

}  // namespace

Result<Janitor> Janitor::Start(const JanitorOptions& options) {
  containers::Pipe pipe = TRY(containers::MakePipe());
  const UniqueFd listener = TRY(kubelet::ListenUnix(options.data_folder + "/" + kJanitorSocket));
  UniqueFd lock(
      open((options.data_folder + "/janitor.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) return ErrnoError(errno, "open " + options.data_folder + "/janitor.lock");
  const pid_t pid = fork();
  if (pid < 0) return ErrnoError(errno, "start the janitor");
  if (pid == 0) {
    pipe.write.Reset();
    Begin(pipe.read.get(), listener.get(), lock.get(), options.cgroup);
  }
  return Janitor(options, std::move(pipe.write), std::move(lock));
}

Status Janitor::WaitForFormer(Runtime& runtime) const {
  const MonoTime deadline = runtime.clock().MonoNow() + seconds(60);
  for (;;) {
    const bool ended = flock(lock_.get(), LOCK_EX | LOCK_NB) == 0;
    if (ended && containers::RemoveCgroups(options_.cgroup)) return {};
    if (runtime.clock().MonoNow() >= deadline) {
      return Error(Code::kDeadlineExceeded,
                   "pods of the former `thinsnap-sim up` on the folder " + options_.data_folder +
                       " still run (control group " + options_.cgroup + ")");
    }
    TRY(runtime.SleepFor(milliseconds(10)));
  }
}

Result<UniqueFd> AskToThaw(const std::string& socket_path, const std::string& folder) {
  const UniqueFd filesystem(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!filesystem) return ErrnoError(errno, "open " + folder);
  UniqueFd asked = TRY(kubelet::ConnectUnix(socket_path));
  TRY(SendDescriptor(asked.get(), filesystem.get()));
  if (!ReadByte(asked.get())) return Error(Code::kUnavailable, "the janitor does not answer");
  return asked;
}

void StopAsking(UniqueFd asked) {
  shutdown(asked.get(), SHUT_WR);
  ReadByte(asked.get());
}

}  // namespace thinsnap::world
