#include "simulator/containers/runc_runtime.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <tuple>
#include <unistd.h>
#include <utility>
#include <vector>

#include "base/core/log.h"
#include "base/data/json.h"
#include "simulator/containers/console_socket.h"

namespace thinsnap::containers {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// What epoll hands back: the container's token times four, plus which of its descriptors.
constexpr std::uint64_t kStdout = 0, kStderr = 1, kPidfd = 2, kStdin = 3;
constexpr std::uint64_t kStopKey = 0, kWakeKey = 1;
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

Status Watch(int epoll, int fd, std::uint64_t key) {
  struct epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = key;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) return ErrnoError(errno, "epoll");
  return {};
}

}  // namespace

struct RuncRuntime::Watched {
  std::string id;
  std::uint64_t token = 0;
  pid_t pid = -1;
  UniqueFd pidfd, out, err;  // of a terminal: out alone
  std::shared_ptr<ContainerIo> io;
  bool paused = false;  // its output is not read, because a client has not taken the last
  std::function<void(ContainerExit)> on_exit;
};

RuncRuntime::RuncRuntime(Runtime& runtime, CommandRunner& runner, std::string state_folder)
    : runtime_(runtime),
      runner_(runner),
      state_folder_(std::move(state_folder)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  // Containers become children of ours when runc has set them up.
  prctl(PR_SET_CHILD_SUBREAPER, 1);
}

RuncRuntime::~RuncRuntime() = default;

Status RuncRuntime::StartWatching(TaskGroup& group) {
  TRY(MakeFolders(state_folder_, 0700));
  auto stop = std::make_shared<StopFd>(group);
  TRY(Watch(epoll_.get(), stop->fd(), kStopKey));
  TRY(Watch(epoll_.get(), wake_.get(), kWakeKey));
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
      std::set<pid_t> owned;
      {
        std::lock_guard lock(mutex_);
        for (const auto& [id, container] : running_) owned.insert(container->pid);
      }
      orphans_.Reap(owned);
    }
    for (int i = 0; i < n; ++i) {
      const std::uint64_t key = events[static_cast<std::size_t>(i)].data.u64;
      if (key == kStopKey) {
        epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, stop_fd, nullptr);
        return;
      }
      OnEvent(key);
    }
  }
}

void RuncRuntime::OnEvent(std::uint64_t key) {
  if (key == kWakeKey) return Attend();
  std::shared_ptr<Watched> container;
  {
    std::lock_guard lock(mutex_);
    if (const auto it = by_token_.find(key / 4); it != by_token_.end())
      container = it->second.lock();
  }
  if (!container) return;
  switch (key % 4) {
    case kStdout:
      return Drain(*container, false, false);
    case kStderr:
      return Drain(*container, true, false);
    case kStdin:
      container->io->FeedInput();
      return container->io->WatchInput(epoll_.get(), key);
    default:
      return Finish(container);
  }
}

void RuncRuntime::Attend() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t n = read(wake_.get(), &count, sizeof count);
  std::vector<std::shared_ptr<Watched>> containers;
  {
    std::lock_guard lock(mutex_);
    for (const std::uint64_t token : std::exchange(attention_, {})) {
      const auto it = by_token_.find(token);
      if (it == by_token_.end()) continue;
      if (auto container = it->second.lock()) containers.push_back(std::move(container));
    }
  }
  for (const auto& container : containers) {
    container->io->WatchInput(epoll_.get(), container->token * 4 + kStdin);
    if (!container->paused || container->io->Congested()) continue;
    container->paused = false;
    if (const Status watched = WatchOutput(*container); !watched.ok())
      LogError("kubelet", container->id + ": " + watched.error().ToString());
  }
}

Status RuncRuntime::WatchOutput(Watched& container) {
  const std::uint64_t key = container.token * 4;
  if (container.out) TRY(Watch(epoll_.get(), container.out.get(), key + kStdout));
  if (container.err) TRY(Watch(epoll_.get(), container.err.get(), key + kStderr));
  return {};
}

void RuncRuntime::Drain(Watched& container, bool error_stream, bool all) {
  UniqueFd& fd = error_stream ? container.err : container.out;
  std::array<char, 16384> buffer;
  // A container that never stops talking must not keep the end of others from being seen.
  for (int reads = 0; fd && (all || reads < kReadsInTurn); ++reads) {
    if (!all && container.io->Congested()) {
      for (const UniqueFd* output : {&container.out, &container.err}) {
        if (*output) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, output->get(), nullptr);
      }
      container.paused = true;
      return;
    }
    const ssize_t n = read(fd.get(), buffer.data(), buffer.size());
    if (n > 0) {
      container.io->Output(error_stream,
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
  container->io->Close();
  container->pidfd.Reset();
  ContainerExit exit;
  exit.at = runtime_.clock().Now();
  exit.exit_code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
  container->on_exit(exit);
}

struct RuncRuntime::Ends {
  UniqueFd in, out, err;                    // ours
  UniqueFd child_in, child_out, child_err;  // runc's
  std::optional<ConsoleSocket> console;     // the terminal comes through it
};

Result<RuncRuntime::Ends> RuncRuntime::MakeEnds(const ContainerLaunch& launch) {
  Ends ends;
  const ContainerInput& input = launch.io->input();
  if (input.tty) {
    ends.console = TRY(ConsoleSocket::Listen(launch.bundle));
    return ends;
  }
  const std::tuple<UniqueFd*, UniqueFd*, bool> outputs[] = {
      {&ends.out, &ends.child_out, true},
      {&ends.err, &ends.child_err, true},
      {&ends.in, &ends.child_in, false},
  };
  for (const auto& [own, childs, is_output] : outputs) {
    if (!is_output && !input.open) continue;
    Pipe pipe = TRY(MakePipe());
    *own = std::move(is_output ? pipe.read : pipe.write);
    *childs = std::move(is_output ? pipe.write : pipe.read);
    TRY(SetNonBlocking(own->get()));
  }
  return ends;
}

// `runc create`: everything is set up, and the program waits for `runc start`.
Result<std::shared_ptr<RuncRuntime::Watched>> RuncRuntime::Create(const ContainerLaunch& launch) {
  Ends ends = TRY(MakeEnds(launch));
  const std::string pid_file = launch.bundle + "/pid";
  const std::string runc_log = launch.bundle + "/runc.log";
  ChildOptions create;
  create.argv = {"runc",         "--root", state_folder_,      "--log",    runc_log,
                 "--log-format", "json",   "create",           "--bundle", launch.bundle,
                 "--pid-file",   pid_file, "--no-new-keyring", launch.id};
  if (ends.console) {
    // Seen from the bundle, where runc goes first.
    create.argv.insert(create.argv.end() - 1, {"--console-socket", ConsoleSocket::kName});
  }
  create.stdin_fd = ends.child_in ? ends.child_in.get() : -1;
  create.stdout_fd = ends.child_out ? ends.child_out.get() : -1;
  create.stderr_fd = ends.child_err ? ends.child_err.get() : -1;
  ChildProcess child = TRY(StartChild(create));
  ends.child_in.Reset();
  ends.child_out.Reset();
  ends.child_err.Reset();
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
  if (ends.console) {
    ends.out = TRY(ends.console->Receive());
    TRY(SetNonBlocking(ends.out.get()));
    ends.in.Reset(fcntl(ends.out.get(), F_DUPFD_CLOEXEC, 3));
  }
  container->out = std::move(ends.out);
  container->err = std::move(ends.err);
  container->io = launch.io;
  {
    std::lock_guard lock(mutex_);
    container->token = next_token_++;
  }
  launch.io->Connect(std::move(ends.in),
                     [this, token = container->token] { RequestAttention(token); });
  return container;
}

Status RuncRuntime::Start(const ContainerLaunch& launch,
                          std::function<void(ContainerExit)> on_exit) {
  const std::shared_ptr<Watched> container = TRY(Create(launch));
  container->on_exit = std::move(on_exit);
  const std::string runc_log = launch.bundle + "/runc.log";
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
    by_token_[container->token] = container;
    running_[container->id] = container;
  }
  TRY(WatchOutput(*container));
  return Watch(epoll_.get(), container->pidfd.get(), container->token * 4 + kPidfd);
}

void RuncRuntime::RequestAttention(std::uint64_t token) {
  {
    std::lock_guard lock(mutex_);
    attention_.push_back(token);
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(wake_.get(), &one, sizeof one);
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
