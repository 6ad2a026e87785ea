#include "simulator/containers/child_process.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <linux/sched.h>
#include <memory>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/core/log.h"

extern char** environ;

namespace thinsnap::containers {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

int PidfdOpen(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

// execvp is not safe between fork and exec of a process with threads: the search happens before.
std::string Locate(const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  std::string path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (std::strncmp(*entry, "PATH=", 5) == 0) path = std::string(*entry + 5) + ":" + path;
  }
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find(':', at), path.size());
    std::string candidate = path.substr(at, end - at) + "/" + program;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    at = end + 1;
  }
  return "";
}

struct Prepared {
  std::string program;
  std::vector<std::string> env_texts;
  std::vector<char*> argv, envp;
};

Prepared Prepare(const ChildOptions& options) {
  Prepared prepared;
  prepared.program = Locate(options.argv.front());
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!options.env.contains(text.substr(0, text.find('=')))) prepared.env_texts.push_back(text);
  }
  for (const auto& [name, value] : options.env) prepared.env_texts.push_back(name + "=" + value);
  for (const std::string& argument : options.argv) {
    prepared.argv.push_back(const_cast<char*>(argument.c_str()));
  }
  for (std::string& text : prepared.env_texts) prepared.envp.push_back(text.data());
  prepared.argv.push_back(nullptr);
  prepared.envp.push_back(nullptr);
  return prepared;
}

// Runs in the new process; only system calls from here on. The error goes through `report`.
[[noreturn]] void RunChild(const ChildOptions& options, const Prepared& prepared, int null_fd,
                           int parent_pipe, int report) {
  const auto fail = [report] {
    const int error_number = errno;
    [[maybe_unused]] const ssize_t n = write(report, &error_number, sizeof error_number);
    _exit(127);
  };
  if (options.dies_with_parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) fail();
    // The parent may have died before the call above: then nobody holds the other end of this pipe.
    struct pollfd parent = {parent_pipe, 0, 0};
    if (poll(&parent, 1, 0) > 0 && (parent.revents & POLLHUP) != 0) _exit(127);
  }
  struct sigaction defaults = {};
  defaults.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) sigaction(signal, &defaults, nullptr);
  sigset_t none;
  sigemptyset(&none);
  pthread_sigmask(SIG_SETMASK, &none, nullptr);
  if (options.own_session && setsid() < 0) fail();
  const int in = options.stdin_fd >= 0 ? options.stdin_fd : null_fd;
  const int out = options.stdout_fd >= 0 ? options.stdout_fd : STDOUT_FILENO;
  const int err = options.stderr_fd >= 0 ? options.stderr_fd : STDERR_FILENO;
  // Through high numbers, so that no source is overwritten before it is used.
  const int high_in = fcntl(in, F_DUPFD_CLOEXEC, 10);
  const int high_out = fcntl(out, F_DUPFD_CLOEXEC, 10);
  const int high_err = fcntl(err, F_DUPFD_CLOEXEC, 10);
  if (dup2(high_in, 0) < 0 || dup2(high_out, 1) < 0 || dup2(high_err, 2) < 0) fail();
  if (options.own_session && isatty(0) != 0) ioctl(0, TIOCSCTTY, 0);
  syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
  if (!options.folder.empty() && chdir(options.folder.c_str()) != 0) fail();
  execve(prepared.program.c_str(), prepared.argv.data(), prepared.envp.data());
  fail();
  _exit(127);
}

int ExitCodeOf(const siginfo_t& info) {
  return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

}  // namespace

Result<Pipe> MakePipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return ErrnoError(errno, "make a pipe");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Result<ChildProcess> StartChild(const ChildOptions& options) {
  ASSERT(!options.argv.empty());
  const Prepared prepared = Prepare(options);
  if (prepared.program.empty()) {
    return Error(Code::kNotFound, "there is no program " + options.argv.front() + " on PATH");
  }
  UniqueFd null_fd(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null_fd) return ErrnoError(errno, "open /dev/null");
  Pipe report = TRY(MakePipe());
  Pipe life = TRY(MakePipe());

  struct clone_args args = {};
  args.exit_signal = SIGCHLD;
  if (options.own_node) args.flags = CLONE_NEWNS | CLONE_NEWPID;
  const long pid = syscall(SYS_clone3, &args, sizeof args);
  if (pid < 0) return ErrnoError(errno, "start " + options.argv.front());
  if (pid == 0) {
    close(life.write.get());
    RunChild(options, prepared, null_fd.get(), life.read.get(), report.write.get());
  }
  ChildProcess child;
  child.pid_ = static_cast<pid_t>(pid);
  child.pidfd_.Reset(PidfdOpen(child.pid_));
  report.write.Reset();
  int error_number = 0;
  // The pipe ends with the exec.
  ssize_t n = 0;
  do {
    n = read(report.read.get(), &error_number, sizeof error_number);
  } while (n < 0 && errno == EINTR);
  if (n == sizeof error_number) {
    return ErrnoError(error_number, "start " + prepared.program);
  }
  return child;
}

ChildProcess::~ChildProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  int status = 0;
  while (waitpid(pid_, &status, __WALL) < 0 && errno == EINTR) {
  }
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), pidfd_(std::move(other.pidfd_)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this != &other) {
    std::swap(pid_, other.pid_);
    std::swap(pidfd_, other.pidfd_);
  }
  return *this;
}

void ChildProcess::Signal(int signal) const {
  if (pid_ > 0) kill(pid_, signal);  // not reaped yet: the number is still its own
}

Result<int> ChildProcess::Wait(Duration timeout, int stop_fd) {
  ASSERT(pid_ > 0);
  struct pollfd fds[2] = {{pidfd_.get(), POLLIN, 0}, {stop_fd, POLLIN, 0}};
  const auto count = std::chrono::ceil<milliseconds>(timeout).count();
  const int limit = static_cast<int>(std::clamp<std::int64_t>(count, 0, 1'000'000'000));
  int ready = 0;
  do {
    ready = poll(fds, 2, limit);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) return Error(Code::kDeadlineExceeded, "the process still runs");
  if (fds[0].revents == 0) return Error(Code::kCancelled, "stopped while waiting for a process");
  siginfo_t info = {};
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | __WALL) != 0) {
    if (errno == EINTR) continue;
    pid_ = -1;
    return ErrnoError(errno, "wait for a process");
  }
  pid_ = -1;
  return ExitCodeOf(info);
}

StopFd::StopFd(TaskGroup& group)
    : fd_(std::make_shared<UniqueFd>(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))) {
  token_ = group.OnStop([fd = fd_] {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = write(fd->get(), &one, sizeof one);
  });
}

namespace {

std::string LastLine(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char tail[1024];
  if (!fd || lseek(fd.get(), -static_cast<off_t>(sizeof tail), SEEK_END) < 0) {
    if (!fd || lseek(fd.get(), 0, SEEK_SET) < 0) return "";
  }
  const ssize_t got = read(fd.get(), tail, sizeof tail);
  std::string text(tail, static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  while (text.ends_with('\n')) text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace

void Supervise(Runtime& runtime, TaskGroup& group, const SupervisedOptions& options) {
  const StopFd stop(group);
  constexpr Duration kFirstDelay = milliseconds(100);
  Duration delay = kFirstDelay;
  const auto trouble = [&](const std::string& what) {
    LogWarning(options.name, what);
    if (options.on_trouble && delay == kFirstDelay) options.on_trouble(options.name + ": " + what);
  };
  while (!group.stopped()) {
    const MonoTime started = runtime.clock().MonoNow();
    ChildOptions child_options = options.child;
    UniqueFd log;
    if (!options.log_file.empty()) {
      log.Reset(open(options.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
      child_options.stdout_fd = child_options.stderr_fd = log.get();
    }
    Result<ChildProcess> child = StartChild(child_options);
    if (!child.ok()) {
      trouble(child.error().message());
    } else {
      Result<int> exit_code = child->Wait(std::chrono::hours(24), stop.fd());
      while (exit_code.Is(Code::kDeadlineExceeded)) {
        exit_code = child->Wait(std::chrono::hours(24), stop.fd());
      }
      if (exit_code.Is(Code::kCancelled)) {
        if (options.no_mercy && *options.no_mercy) return;  // the destructor kills
        child->Signal(SIGTERM);
        if (!child->Wait(options.stop_grace).ok()) {
          LogWarning(options.name, "did not end after SIGTERM and is killed");
        }
        return;
      }
      if (exit_code.ok()) {
        if (runtime.clock().MonoNow() - started > seconds(20)) delay = kFirstDelay;
        std::string what = "ended with code " + std::to_string(*exit_code) + ", is started again";
        if (log) what += "; its log ends with: " + LastLine(options.log_file);
        trouble(what);
      }
    }
    if (!runtime.SleepFor(delay).ok()) return;
    delay = std::min<Duration>(delay * 2, seconds(10));
  }
}

}  // namespace thinsnap::containers
