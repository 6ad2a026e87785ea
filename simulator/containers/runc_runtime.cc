#include "simulator/containers/runc_runtime.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <sstream>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "base/core/log.h"
#include "base/data/json.h"

namespace thinsnap::containers {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// What epoll hands back: the container's token times four, plus which of its descriptors.
constexpr std::uint64_t kStdout = 0, kStderr = 1, kPidfd = 2;
constexpr std::uint64_t kStopToken = 0;
constexpr milliseconds kReapEvery{1000};
constexpr int kReadsInTurn = 8;

// runc's log is JSON lines; the last error is what the user should read.
std::string LastError(const std::string& log_path) {
  std::ifstream log(log_path);
  std::string message;
  for (std::string line; std::getline(log, line);) {
    const Result<Json> entry = ParseJson(line);
    if (entry.ok() && StringAt(*entry, "level") == "error") message = StringAt(*entry, "msg");
  }
  return message;
}

// True for what the pod's author got wrong: nothing to run, a folder that is not there.
bool IsCannotRun(const std::string& message) {
  return message.find("exec:") != std::string::npos ||
         message.find("executable file not found") != std::string::npos ||
         message.find("chdir") != std::string::npos ||
         message.find("exec format error") != std::string::npos ||
         message.find("permission denied") != std::string::npos;
}

Status SetNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return ErrnoError(errno, "fcntl");
  return {};
}

}  // namespace

struct RuncRuntime::Watched {
  std::string id;
  std::uint64_t token = 0;
  pid_t pid = -1;
  UniqueFd pidfd, out, err;
  std::shared_ptr<LogFile> log;
  std::function<void(ContainerExit)> on_exit;
};

RuncRuntime::RuncRuntime(Runtime& runtime, CommandRunner& runner, std::string state_folder)
    : runtime_(runtime),
      runner_(runner),
      state_folder_(std::move(state_folder)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  // Containers become children of ours when runc has set them up.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
}

RuncRuntime::~RuncRuntime() = default;

Status RuncRuntime::StartWatching(TaskGroup& group) {
  TRY(MakeFolders(state_folder_, 0700));
  auto stop = std::make_shared<StopFd>(group);
  struct epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = kStopToken;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, stop->fd(), &event) != 0)
    return ErrnoError(errno, "epoll");
  group.Spawn("containers", [this, stop] { WatchLoop(stop->fd()); });
  return {};
}

void RuncRuntime::WatchLoop(int stop_fd) {
  std::array<struct epoll_event, 32> events;
  MonoTime next_reap;
  for (;;) {
    const int n = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                             static_cast<int>(kReapEvery.count()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      LogError("kubelet", "epoll_wait failed; containers are not watched any more");
      return;
    }
    if (const MonoTime now = runtime_.clock().MonoNow(); now >= next_reap) {
      next_reap = now + kReapEvery;
      orphans_.Reap();
    }
    for (int i = 0; i < n; ++i) {
      const std::uint64_t key = events[static_cast<std::size_t>(i)].data.u64;
      if (key == kStopToken) {
        epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, stop_fd, nullptr);
        return;
      }
      std::shared_ptr<Watched> container;
      {
        std::lock_guard lock(mutex_);
        if (const auto it = by_token_.find(key / 4); it != by_token_.end())
          container = it->second.lock();
      }
      if (!container) continue;
      switch (key % 4) {
        case kStdout:
          Drain(*container, false, false);
          break;
        case kStderr:
          Drain(*container, true, false);
          break;
        default:
          Finish(container);
      }
    }
  }
}

void RuncRuntime::Drain(Watched& container, bool error_stream, bool all) {
  UniqueFd& fd = error_stream ? container.err : container.out;
  std::array<char, 16384> buffer;
  // A container that never stops talking must not keep the end of others from being seen.
  for (int reads = 0; fd && (all || reads < kReadsInTurn); ++reads) {
    const ssize_t n = read(fd.get(), buffer.data(), buffer.size());
    if (n > 0) {
      container.log->Write(error_stream ? "stderr" : "stdout",
                           std::string_view(buffer.data(), static_cast<std::size_t>(n)));
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    fd.Reset();  // leaves epoll by itself
  }
}

void RuncRuntime::Finish(const std::shared_ptr<Watched>& container) {
  siginfo_t info = {};
  if (waitid(P_PID, static_cast<id_t>(container->pid), &info, WEXITED | WNOHANG | __WALL) != 0 ||
      info.si_pid == 0) {
    if (errno != ECHILD && info.si_pid == 0) return;
  }
  {
    std::lock_guard lock(mutex_);
    by_token_.erase(container->token);
    running_.erase(container->id);
  }
  // Everything in its PID namespace is dead now: what the pipes hold is all that comes.
  Drain(*container, false, true);
  Drain(*container, true, true);
  container->log->Close();
  container->pidfd.Reset();
  ContainerExit exit;
  exit.at = runtime_.clock().Now();
  exit.exit_code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
  container->on_exit(exit);
}

Status RuncRuntime::Start(const ContainerLaunch& launch,
                          std::function<void(ContainerExit)> on_exit) {
  Pipe out = TRY(MakePipe());
  Pipe err = TRY(MakePipe());
  TRY(SetNonBlocking(out.read.get()));
  TRY(SetNonBlocking(err.read.get()));
  const std::string pid_file = launch.bundle + "/pid";
  const std::string runc_log = launch.bundle + "/runc.log";
  ChildOptions create;
  create.argv = {"runc",         "--root", state_folder_,      "--log",    runc_log,
                 "--log-format", "json",   "create",           "--bundle", launch.bundle,
                 "--pid-file",   pid_file, "--no-new-keyring", launch.id};
  create.stdout_fd = out.write.get();
  create.stderr_fd = err.write.get();
  ChildProcess child = TRY(StartChild(create));
  out.write.Reset();
  err.write.Reset();
  const int code = TRY(child.Wait(seconds(60)));
  if (code != 0) {
    const std::string message = LastError(runc_log);
    Remove(launch.id);
    return Error(
        IsCannotRun(message) ? Code::kInvalidArgument : Code::kInternal,
        "runc create: " + (message.empty() ? "exit code " + std::to_string(code) : message));
  }
  const std::string pid_text = TRY(ReadFile(pid_file, 64));
  auto container = std::make_shared<Watched>();
  container->id = launch.id;
  container->pid = static_cast<pid_t>(std::strtol(pid_text.c_str(), nullptr, 10));
  container->pidfd.Reset(static_cast<int>(syscall(SYS_pidfd_open, container->pid, 0)));
  if (!container->pidfd) return ErrnoError(errno, "watch process " + pid_text);
  container->out = std::move(out.read);
  container->err = std::move(err.read);
  container->log = launch.log;
  container->on_exit = std::move(on_exit);

  const CommandOutput started =
      TRY(runner_.Run(Command{.argv = {"runc", "--root", state_folder_, "--log", runc_log,
                                       "--log-format", "json", "start", launch.id},
                              .env = {},
                              .input = ""}));
  if (started.exit_code != 0) {
    const std::string message = LastError(runc_log);
    Remove(launch.id);
    int status = 0;
    waitpid(container->pid, &status, __WALL);
    return Error(IsCannotRun(message) ? Code::kInvalidArgument : Code::kInternal,
                 "runc start: " + message);
  }
  {
    std::lock_guard lock(mutex_);
    container->token = next_token_++;
    by_token_[container->token] = container;
    running_[container->id] = container;
  }
  const std::pair<int, std::uint64_t> watched[] = {{container->out.get(), kStdout},
                                                   {container->err.get(), kStderr},
                                                   {container->pidfd.get(), kPidfd}};
  for (const auto& [fd, which] : watched) {
    struct epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = container->token * 4 + which;
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
      return ErrnoError(errno, "watch a container");
  }
  return {};
}

void RuncRuntime::Signal(const std::string& id, int signal) {
  std::lock_guard lock(mutex_);
  const auto it = running_.find(id);
  if (it == running_.end()) return;
  syscall(SYS_pidfd_send_signal, it->second->pidfd.get(), signal, nullptr, 0);
}

void RuncRuntime::Remove(const std::string& id) {
  const Result<CommandOutput> removed = runner_.Run(Command{
      .argv = {"runc", "--root", state_folder_, "delete", "--force", id}, .env = {}, .input = ""});
  if (!removed.ok()) LogWarning("kubelet", "runc delete " + id + ": " + removed.error().ToString());
}

Result<ChildProcess> RuncRuntime::Exec(const ExecStart& start) {
  ChildOptions options;
  options.argv = {"runc", "--root", state_folder_, "exec", "--pid-file", start.pid_file};
  if (start.tty) options.argv.push_back("--tty");
  options.argv.push_back(start.id);
  options.argv.insert(options.argv.end(), start.command.begin(), start.command.end());
  options.stdin_fd = start.stdin_fd;
  options.stdout_fd = start.stdout_fd;
  options.stderr_fd = start.stderr_fd;
  options.own_session = start.tty;
  return StartChild(options);
}

}  // namespace thinsnap::containers
