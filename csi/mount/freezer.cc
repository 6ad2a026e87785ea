#include "csi/mount/freezer.h"

#include <csignal>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "base/core/file.h"

namespace thinsnap::mount {
namespace {

// What the parent tells the watchdog.
constexpr char kFrozen = 'f';  // the deadline runs from here
constexpr char kThawed = 't';  // nothing is left to do

// The death of the parent may find its FIFREEZE still on the way into the kernel.
constexpr int kThawAttempts = 200;
constexpr int kThawPauseMs = 50;

// Runs between fork and _exit in a process that had many threads: async-signal-safe calls only.
[[noreturn]] void Watch(int filesystem, int pipe_end, int deadline_ms) {
  prctl(PR_SET_NAME, "thinsnap-thaw");
  signal(SIGTERM, SIG_IGN);
  signal(SIGINT, SIG_IGN);
  // The parent's sockets and locks must not live on here.
  const int low = filesystem < pipe_end ? filesystem : pipe_end;
  const int high = filesystem < pipe_end ? pipe_end : filesystem;
  if (low > 0) syscall(SYS_close_range, 0, low - 1, 0);
  if (high > low + 1) syscall(SYS_close_range, low + 1, high - 1, 0);
  syscall(SYS_close_range, high + 1, ~0U, 0);

  bool frozen = false;
  for (;;) {
    pollfd event = {.fd = pipe_end, .events = POLLIN, .revents = 0};
    const int ready = poll(&event, 1, frozen ? deadline_ms : -1);
    if (ready == 0) break;  // the deadline
    if (ready < 0) continue;
    char told = 0;
    const ssize_t n = read(pipe_end, &told, 1);
    if (n == 1 && told == kThawed) _exit(0);
    if (n == 1 && told == kFrozen) {
      frozen = true;
      continue;
    }
    if (n == 0) break;  // the parent is gone
  }
  for (int i = 0; i < kThawAttempts; ++i) {
    if (ioctl(filesystem, FITHAW, 0) == 0 || frozen) break;
    poll(nullptr, 0, kThawPauseMs);
  }
  _exit(1);
}

class WatchedFreeze final : public FrozenMount {
 public:
  WatchedFreeze(std::string target, UniqueFd filesystem, UniqueFd pipe_end, pid_t watchdog)
      : target_(std::move(target)),
        filesystem_(std::move(filesystem)),
        pipe_(std::move(pipe_end)),
        watchdog_(watchdog) {}

  ~WatchedFreeze() override {
    // Nobody is left to be told; the watchdog has the same aim.
    Thaw().IgnoreError();
  }

  Status Thaw() override {
    if (watchdog_ < 0) return {};
    int error = 0;
    if (ioctl(filesystem_.get(), FITHAW, 0) != 0) error = errno;
    Dismiss();
    if (error == 0) return {};
    if (error == EINVAL) {
      return Error(Code::kAborted, target_ +
                                       " did not stand still long enough: it was thawed at "
                                       "the deadline");
    }
    return ErrnoError(error, "thaw " + target_);
  }

  Status Freeze() {
    if (ioctl(filesystem_.get(), FIFREEZE, 0) != 0) {
      const int error = errno;
      Dismiss();
      if (error == EBUSY) return Error(Code::kAborted, target_ + " is frozen by somebody else");
      return ErrnoError(error, "freeze " + target_);
    }
    Tell(kFrozen);
    return {};
  }

 private:
  void Tell(char what) const {
    // A watchdog that is gone has thawed: the thaw that follows finds out.
    [[maybe_unused]] const ssize_t n = write(pipe_.get(), &what, 1);
  }
  void Dismiss() {
    Tell(kThawed);
    pipe_.Reset();
    while (waitpid(watchdog_, nullptr, 0) < 0 && errno == EINTR) {
    }
    watchdog_ = -1;
  }

  const std::string target_;
  const UniqueFd filesystem_;
  UniqueFd pipe_;
  pid_t watchdog_;
};

Result<UniqueFd> OpenTarget(const std::string& target) {
  UniqueFd filesystem(open(target.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!filesystem) return ErrnoError(errno, "open " + target);
  return filesystem;
}

}  // namespace

Result<std::unique_ptr<FrozenMount>> FreezeFilesystem(const std::string& target,
                                                      Duration deadline) {
  UniqueFd filesystem = TRY(OpenTarget(target));
  if (syncfs(filesystem.get()) != 0) return ErrnoError(errno, "sync " + target);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return ErrnoError(errno, "pipe");
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  const int deadline_ms =
      static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(deadline).count());
  // The write end of a dead watchdog must not kill us.
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  const pid_t watchdog = fork();
  if (watchdog < 0) return ErrnoError(errno, "fork");
  if (watchdog == 0) {
    close(write_end.get());
    Watch(filesystem.get(), read_end.get(), deadline_ms);
  }
  auto frozen = std::make_unique<WatchedFreeze>(target, std::move(filesystem), std::move(write_end),
                                                watchdog);
  TRY(frozen->Freeze());
  return std::unique_ptr<FrozenMount>(std::move(frozen));
}

Status SyncFilesystem(const std::string& target) {
  const UniqueFd filesystem = TRY(OpenTarget(target));
  if (syncfs(filesystem.get()) != 0) return ErrnoError(errno, "sync " + target);
  return {};
}

Status ThawFilesystem(const std::string& target) {
  const UniqueFd filesystem = TRY(OpenTarget(target));
  if (ioctl(filesystem.get(), FITHAW, 0) != 0 && errno != EINVAL) {
    return ErrnoError(errno, "thaw " + target);
  }
  return {};
}

}  // namespace thinsnap::mount
