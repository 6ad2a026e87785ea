#include "base/core/command.h"

#include <array>
#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/core/file.h"
#include "base/core/runtime.h"

extern char** environ;

namespace thinsnap {
namespace {

constexpr std::size_t kMostOutput = kMiB;
// Of a program that was killed.
constexpr Duration kDeathTakes = std::chrono::milliseconds(200);

struct Pipe {
  UniqueFd read, write;
};

Result<Pipe> MakePipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return ErrnoError(errno, "pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::vector<std::string> Environment(const Command& command) {
  std::vector<std::string> all;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    if (!command.env.contains(std::string(text.substr(0, text.find('='))))) all.emplace_back(text);
  }
  for (const auto& [name, value] : command.env) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Feeds and drains the program until it has closed both outputs.
Status Converse(const Command& command, Pipe& in, Pipe& out, Pipe& err, MonoTime deadline,
                Clock& clock, CommandOutput& output) {
  std::string_view input = command.input;
  if (input.empty()) in.write.Reset();
  std::array<char, 65536> buffer;
  while (out.read || err.read) {
    TRY(Runtime::CheckCancelled());
    if (clock.MonoNow() >= deadline) {
      return Error(Code::kDeadlineExceeded,
                   command.argv[0] + " did not end within " + FormatDuration(command.timeout));
    }
    std::array<pollfd, 3> fds = {pollfd{out.read.get(), POLLIN, 0},
                                 pollfd{err.read.get(), POLLIN, 0},
                                 pollfd{in.write.get(), POLLOUT, 0}};
    // A short timeout bounds how late a cancellation or the deadline is noticed.
    if (poll(fds.data(), fds.size(), 100) < 0 && errno != EINTR) return ErrnoError(errno, "poll");
    const auto drain = [&](const pollfd& fd, UniqueFd& end, std::string& into) {
      if (!end || (fd.revents & (POLLIN | POLLHUP | POLLERR)) == 0) return;
      const ssize_t got = read(end.get(), buffer.data(), buffer.size());
      if (got <= 0) {
        if (got == 0 || errno != EINTR) end.Reset();
        return;
      }
      const std::size_t room = kMostOutput - std::min(kMostOutput, into.size());
      into.append(buffer.data(), std::min(room, static_cast<std::size_t>(got)));
    };
    drain(fds[0], out.read, output.out);
    drain(fds[1], err.read, output.err);
    if (in.write && (fds[2].revents & (POLLOUT | POLLERR)) != 0) {
      const ssize_t put =
          write(in.write.get(), input.data(), std::min<std::size_t>(input.size(), 4096));
      if (put > 0) input.remove_prefix(static_cast<std::size_t>(put));
      if (input.empty() || (put < 0 && errno != EINTR)) in.write.Reset();
    }
  }
  return {};
}

}  // namespace

PosixCommandRunner::PosixCommandRunner(Wait wait) : wait_(std::move(wait)) {}
PosixCommandRunner::PosixCommandRunner() : PosixCommandRunner(&waitpid) {}
PosixCommandRunner::~PosixCommandRunner() { CollectLeftBehind(); }

void PosixCommandRunner::KillGroup(pid_t pid) {
  kill(-pid, SIGKILL);
  SystemClock clock;
  const MonoTime deadline = clock.MonoNow() + kDeathTakes;
  int status = 0;
  for (;;) {
    const pid_t ended = wait_(pid, &status, WNOHANG);
    if (ended == pid || (ended < 0 && errno != EINTR)) return;
    if (clock.MonoNow() >= deadline) break;
    poll(nullptr, 0, 1);
  }
  const std::lock_guard lock(mutex_);
  left_behind_.push_back(pid);
}

void PosixCommandRunner::CollectLeftBehind() {
  const std::lock_guard lock(mutex_);
  int status = 0;
  std::erase_if(left_behind_, [&](pid_t pid) { return wait_(pid, &status, WNOHANG) != 0; });
}

Result<CommandOutput> PosixCommandRunner::Run(const Command& command) {
  ASSERT(!command.argv.empty());
  CollectLeftBehind();
  SystemClock clock;
  const MonoTime deadline = clock.MonoNow() + command.timeout;
  Pipe in = TRY(MakePipe());
  Pipe out = TRY(MakePipe());
  Pipe err = TRY(MakePipe());

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.read.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.write.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.write.get(), STDERR_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<std::string> argv = command.argv;
  std::vector<std::string> env = Environment(command);
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, argv[0].c_str(), &actions, &attributes,
                                  Pointers(argv).data(), Pointers(env).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) return ErrnoError(failed, "run " + argv[0], kMissing);
  in.read.Reset();
  out.write.Reset();
  err.write.Reset();

  CommandOutput output;
  const Status talked = Converse(command, in, out, err, deadline, clock, output);
  if (!talked.ok()) {
    KillGroup(pid);
    return talked.error();
  }
  int status = 0;
  // It closed its outputs; a program that lingers beyond that still has until the deadline.
  for (;;) {
    const pid_t ended = wait_(pid, &status, WNOHANG);
    if (ended == pid) break;
    if (ended < 0 && errno != EINTR) return ErrnoError(errno, "wait for " + argv[0]);
    if (clock.MonoNow() >= deadline || Runtime::Cancelled()) {
      KillGroup(pid);
      return Error(Runtime::Cancelled() ? Code::kCancelled : Code::kDeadlineExceeded,
                   argv[0] + " did not end within " + FormatDuration(command.timeout));
    }
    poll(nullptr, 0, 1);
  }
  output.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return output;
}

Result<CommandOutput> RunChecked(CommandRunner& runner, const Command& command) {
  CommandOutput output = TRY(runner.Run(command));
  if (output.exit_code == 0) return output;
  std::string_view text = output.err.empty() ? output.out : output.err;
  while (text.ends_with('\n')) text.remove_suffix(1);
  const auto line = text.rfind('\n');
  if (line != std::string_view::npos) text.remove_prefix(line + 1);
  return Error(Code::kInternal, command.argv[0] + " exited with " +
                                    std::to_string(output.exit_code) + ": " + std::string(text));
}

}  // namespace thinsnap
