#include "simulator/world/janitor.h"

#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "simulator/kubelet/cgroups.h"
#include "simulator/kubelet/child_process.h"

namespace thinsnap::world {
namespace {

[[noreturn]] void Run(int life, const std::string& cgroup) {
  // Not ended by what ends the others; nothing of theirs is held.
  setsid();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_IGN);
  dup2(life, STDIN_FILENO);
  const int null_fd = open("/dev/null", O_RDWR);
  dup2(null_fd, STDOUT_FILENO);
  dup2(null_fd, STDERR_FILENO);
  syscall(SYS_close_range, 3U, ~0U, 0U);
  // Whoever looks for processes in the data folder must not find this one.
  [[maybe_unused]] const int changed = chdir("/");
  prctl(PR_SET_NAME, "sim-janitor");
  char byte = 0;
  while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR) {
  }
  // The last processes of a node die a moment after `up`.
  constexpr int kTries = 200;
  for (int attempt = 0; attempt < kTries && !kubelet::RemoveCgroups(cgroup); ++attempt)
    poll(nullptr, 0, 50);
  _exit(0);
}

}  // namespace

Result<Janitor> Janitor::Start(const std::string& cgroup) {
  kubelet::Pipe pipe = TRY(kubelet::MakePipe());
  const pid_t pid = fork();
  if (pid < 0) return ErrnoError(errno, "start the janitor");
  if (pid == 0) {
    pipe.write.Reset();
    Run(pipe.read.get(), cgroup);
  }
  return Janitor(std::move(pipe.write));
}

}  // namespace thinsnap::world
