#include "simulator/kubelet/access_server.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <memory>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>
#include <utility>

#include "base/core/log.h"
#include "base/data/json.h"
#include "simulator/containers/log_file.h"
#include "simulator/kubelet/attach_relay.h"

namespace thinsnap::kubelet {
namespace {

Status Refuse(int fd, const Error& error) {
  return WriteFrame(
      fd, FrameType::kRefused,
      ToJson(JsonObject{{"code", static_cast<int>(error.code())}, {"message", error.message()}}));
}

// The three descriptors of a program and our ends of them.
struct Plumbing {
  UniqueFd child_in, child_out, child_err;  // tty: child_in is all three
  UniqueFd in, out, err;                    // tty: `out` is the terminal's master, `in` a copy
  bool tty = false;
};

Result<Plumbing> MakePlumbing(bool tty, bool stdin_open) {
  Plumbing plumbing;
  plumbing.tty = tty;
  if (tty) {
    UniqueFd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!master || grantpt(master.get()) != 0 || unlockpt(master.get()) != 0)
      return ErrnoError(errno, "open a terminal");
    std::array<char, 64> name;
    if (ptsname_r(master.get(), name.data(), name.size()) != 0)
      return ErrnoError(errno, "name the terminal");
    plumbing.child_in.Reset(open(name.data(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!plumbing.child_in) return ErrnoError(errno, "open the terminal");
    plumbing.in.Reset(fcntl(master.get(), F_DUPFD_CLOEXEC, 3));
    plumbing.out = std::move(master);
    return plumbing;
  }
  if (stdin_open) {
    containers::Pipe in = TRY(containers::MakePipe());
    plumbing.child_in = std::move(in.read);
    plumbing.in = std::move(in.write);
  }
  containers::Pipe out = TRY(containers::MakePipe());
  containers::Pipe err = TRY(containers::MakePipe());
  plumbing.child_out = std::move(out.write);
  plumbing.child_err = std::move(err.write);
  plumbing.out = std::move(out.read);
  plumbing.err = std::move(err.read);
  return plumbing;
}

// Moves what can be read now into a frame. False when that end is closed.
bool Forward(int from, int to, FrameType type) {
  std::array<char, 32768> buffer;
  const ssize_t n = read(from, buffer.data(), buffer.size());
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return true;
  if (n <= 0) return false;
  return WriteFrame(to, type, std::string_view(buffer.data(), static_cast<std::size_t>(n))).ok();
}

// One running exec: a poll loop between the socket and the program.
class ExecRelay {
 public:
  ExecRelay(int socket, Plumbing plumbing, containers::ChildProcess child, std::string pid_file)
      : socket_(socket),
        plumbing_(std::move(plumbing)),
        child_(std::move(child)),
        pid_file_(std::move(pid_file)) {
    if (plumbing_.in) {
      fcntl(plumbing_.in.get(), F_SETFL, fcntl(plumbing_.in.get(), F_GETFL) | O_NONBLOCK);
    }
  }

  void Run(int stop_fd) {
    while (child_.running()) {
      enum { kSocket, kOut, kErr, kIn, kExit, kStop };
      // What the program has not taken yet holds back the client.
      const bool take_input = input_.size() < kMiB;
      struct pollfd fds[] = {
          {take_input ? socket_ : -1, POLLIN, 0},
          {plumbing_.out ? plumbing_.out.get() : -1, POLLIN, 0},
          {plumbing_.err ? plumbing_.err.get() : -1, POLLIN, 0},
          {!input_.empty() && plumbing_.in ? plumbing_.in.get() : -1, POLLOUT, 0},
          {child_.pidfd(), POLLIN, 0},
          {stop_fd, POLLIN, 0}};
      if (poll(fds, 6, -1) < 0 && errno != EINTR) break;
      if (fds[kStop].revents != 0) return Kill();
      if (fds[kSocket].revents != 0 && !TakeFrame()) return Kill();
      if (fds[kIn].revents != 0) FeedInput();
      if (fds[kOut].revents != 0 && !Forward(plumbing_.out.get(), socket_, FrameType::kStdout))
        plumbing_.out.Reset();
      if (fds[kErr].revents != 0 && !Forward(plumbing_.err.get(), socket_, FrameType::kStderr))
        plumbing_.err.Reset();
      if (fds[kExit].revents != 0) return Finish();
    }
  }

 private:
  bool TakeFrame() {
    const Result<Frame> frame = ReadFrame(socket_);
    if (!frame.ok()) return false;
    switch (frame->type) {
      case FrameType::kStdin:
        input_ += frame->payload;
        FeedInput();
        return true;
      case FrameType::kStdinEnd:
        input_ended_ = true;
        FeedInput();
        return true;
      case FrameType::kResize: {
        const Result<Json> size = ParseJson(frame->payload);
        if (!size.ok() || !plumbing_.tty) return true;
        struct winsize window = {};
        window.ws_col = static_cast<unsigned short>(IntAt(*size, "columns", 80));
        window.ws_row = static_cast<unsigned short>(IntAt(*size, "rows", 24));
        ioctl(plumbing_.out.get(), TIOCSWINSZ, &window);
        return true;
      }
      default:
        return false;
    }
  }

  void FeedInput() {
    while (!input_.empty() && plumbing_.in) {
      const ssize_t n = write(plumbing_.in.get(), input_.data(), input_.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) {
        plumbing_.in.Reset();
        break;
      }
      input_.erase(0, static_cast<std::size_t>(n));
    }
    if (!plumbing_.in) input_.clear();
    if (input_ended_ && input_.empty() && !plumbing_.tty) plumbing_.in.Reset();
  }

  // What the program wrote before it ended is still in the pipes; others that inherited them are
  // not waited for.
  void Finish() {
    for (const bool error_stream : {false, true}) {
      UniqueFd& fd = error_stream ? plumbing_.err : plumbing_.out;
      if (!fd) continue;
      struct pollfd ready = {fd.get(), POLLIN, 0};
      while (poll(&ready, 1, 0) > 0 && (ready.revents & POLLIN) != 0) {
        if (!Forward(fd.get(), socket_, error_stream ? FrameType::kStderr : FrameType::kStdout))
          break;
      }
    }
    const Result<int> code = child_.Wait(std::chrono::seconds(1));
    unlink(pid_file_.c_str());
    WriteFrame(socket_, FrameType::kExit, ToJson(JsonObject{{"code", code.ok() ? *code : 255}}))
        .IgnoreError();
  }

  // The client has left: the program inside the container goes too; killing runc alone would leave
  // it.
  void Kill() {
    const Result<std::string> pid = ReadFile(pid_file_, 64);
    if (pid.ok() && std::atoi(pid->c_str()) > 1) kill(std::atoi(pid->c_str()), SIGKILL);
    unlink(pid_file_.c_str());
  }

  const int socket_;
  Plumbing plumbing_;
  containers::ChildProcess child_;
  const std::string pid_file_;
  std::string input_;
  bool input_ended_ = false;
};

}  // namespace

AccessServer::AccessServer(Runtime& runtime, containers::ContainerRuntime& containers,
                           Locator locate, std::string scratch_folder)
    : runtime_(runtime),
      containers_(containers),
      locate_(std::move(locate)),
      scratch_folder_(std::move(scratch_folder)) {}

Status AccessServer::Start(TaskGroup& group, const std::string& socket_path) {
  listener_ = TRY(ListenUnix(socket_path));
  group.Spawn("access", [this, &group] {
    const containers::StopFd stop(group);
    for (;;) {
      struct pollfd fds[2] = {{listener_.get(), POLLIN, 0}, {stop.fd(), POLLIN, 0}};
      if (poll(fds, 2, -1) < 0 && errno != EINTR) return;
      if (fds[1].revents != 0) return;
      const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      auto owned = std::make_shared<UniqueFd>(fd);
      group.Spawn("access-call", [this, &group, owned] { Serve(group, owned->get()); });
    }
  });
  return {};
}

void AccessServer::Serve(TaskGroup& group, int fd) {
  const TaskGroup::StopToken token = group.OnStop([fd] { shutdown(fd, SHUT_RDWR); });
  const Result<Frame> request = ReadFrame(fd);
  if (!request.ok()) return;
  if (request->type == FrameType::kLogs) ServeLogs(group, fd, request->payload);
  if (request->type == FrameType::kExec) ServeExec(group, fd, request->payload);
  if (request->type == FrameType::kAttach) ServeAttach(group, fd, request->payload);
}

void AccessServer::ServeLogs(TaskGroup& group, int fd, const std::string& payload) {
  const Result<Json> request = ParseJson(payload);
  if (!request.ok()) return Refuse(fd, request.error()).IgnoreError();
  const Result<ContainerPlace> place =
      locate_(StringAt(*request, "namespace"), StringAt(*request, "pod"), StringAt(*request, "uid"),
              StringAt(*request, "container"));
  if (!place.ok()) return Refuse(fd, place.error()).IgnoreError();
  const bool previous = BoolAt(*request, "previous");
  const std::string& path = previous ? place->previous_log_path : place->log_path;
  if (path.empty()) {
    const std::string what = "container \"" + StringAt(*request, "container") + "\" in pod \"" +
                             StringAt(*request, "pod") + "\"";
    return Refuse(fd, previous ? Error(Code::kInvalidArgument,
                                       "previous terminated " + what + " not found")
                               : Error(Code::kInvalidArgument,
                                       what + " is waiting to start: ContainerCreating"))
        .IgnoreError();
  }
  containers::LogReadOptions options;
  options.follow = BoolAt(*request, "follow") && !previous;
  options.timestamps = BoolAt(*request, "timestamps");
  if (Find(*request, "tailLines") != nullptr) options.tail_lines = IntAt(*request, "tailLines");
  if (Find(*request, "limitBytes") != nullptr) options.limit_bytes = IntAt(*request, "limitBytes");
  if (Find(*request, "sinceNanos") != nullptr) {
    options.since = WallTime(std::chrono::nanoseconds(IntAt(*request, "sinceNanos")));
  }
  if (!WriteFrame(fd, FrameType::kAccepted, "").ok()) return;
  const std::shared_ptr<containers::LogFile> live =
      previous || !place->io ? nullptr : place->io->log();
  // Who follows a quiet log and leaves is noticed by the closed socket.
  std::atomic<bool> left{false};
  options.abandoned = [&left] { return left.load(); };
  TaskGroup watch(runtime_, &group);
  if (live && options.follow) {
    watch.Spawn("log-client", [fd, &left, live] {
      while (ReadFrame(fd).ok()) {
      }
      left = true;
      live->changed().Notify();
    });
  }
  const Status done = containers::ReadLog(
      path, options, live.get(),
      [&](std::string_view text) -> Status { return WriteFrame(fd, FrameType::kStdout, text); });
  if (!done.ok() && !done.Is(Code::kUnavailable) && !done.Is(Code::kCancelled)) {
    LogWarning("kubelet", "read " + path + ": " + done.error().ToString());
  }
  shutdown(fd, SHUT_RDWR);
}

Result<ContainerPlace> AccessServer::LocateRunning(const Json& request) const {
  ContainerPlace place = TRY(locate_(StringAt(request, "namespace"), StringAt(request, "pod"),
                                     StringAt(request, "uid"), StringAt(request, "container")));
  if (place.running) return place;
  return Error(Code::kFailedPrecondition, "container \"" + StringAt(request, "container") +
                                              "\" of pod \"" + StringAt(request, "pod") +
                                              "\" is not running");
}

void AccessServer::ServeAttach(TaskGroup& group, int fd, const std::string& payload) {
  const Result<Json> request = ParseJson(payload);
  if (!request.ok()) return Refuse(fd, request.error()).IgnoreError();
  const Result<ContainerPlace> place = LocateRunning(*request);
  if (!place.ok()) return Refuse(fd, place.error()).IgnoreError();
  if (!WriteFrame(fd, FrameType::kAccepted, "").ok()) return;
  const containers::StopFd stop(group);
  RelayAttach(fd, place->io, BoolAt(*request, "stdin"), stop.fd());
}

void AccessServer::ServeExec(TaskGroup& group, int fd, const std::string& payload) {
  static std::atomic<std::uint64_t> counter{0};
  const Result<Json> request = ParseJson(payload);
  if (!request.ok()) return Refuse(fd, request.error()).IgnoreError();
  const Result<ContainerPlace> place = LocateRunning(*request);
  if (!place.ok()) return Refuse(fd, place.error()).IgnoreError();
  const bool tty = BoolAt(*request, "tty");
  Result<Plumbing> plumbing = MakePlumbing(tty, BoolAt(*request, "stdin"));
  if (!plumbing.ok()) return Refuse(fd, plumbing.error()).IgnoreError();
  containers::ExecStart start;
  start.id = place->id;
  start.tty = tty;
  for (const Json& item : ArrayAt(*request, "command")) {
    if (item.is_string()) start.command.emplace_back(item.get_string());
  }
  start.stdin_fd = plumbing->child_in ? plumbing->child_in.get() : -1;
  start.stdout_fd = tty ? start.stdin_fd : plumbing->child_out.get();
  start.stderr_fd = tty ? start.stdin_fd : plumbing->child_err.get();
  start.pid_file = scratch_folder_ + "/exec-" + std::to_string(++counter);
  Result<containers::ChildProcess> child = containers_.Exec(start);
  if (!child.ok()) return Refuse(fd, child.error()).IgnoreError();
  plumbing->child_in.Reset();
  plumbing->child_out.Reset();
  plumbing->child_err.Reset();
  if (!WriteFrame(fd, FrameType::kAccepted, "").ok()) return;
  const containers::StopFd stop(group);
  ExecRelay(fd, std::move(*plumbing), std::move(*child), start.pid_file).Run(stop.fd());
}

}  // namespace thinsnap::kubelet
