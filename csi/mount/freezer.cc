#include "csi/mount/freezer.h"

#include <csignal>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utility>

#include "base/core/file.h"
#include "csi/mount/thaw_watch.h"

namespace thinsnap::mount {
namespace {

class WatchedFreeze final : public FrozenMount {
 public:
  WatchedFreeze(std::string target, UniqueFd filesystem, ThawWatch watch)
      : target_(std::move(target)), filesystem_(std::move(filesystem)), watch_(std::move(watch)) {}

  ~WatchedFreeze() override {
    // Nobody is left to be told; the watch has the same aim.
    Thaw().IgnoreError();
  }

  Status Thaw() override {
    if (thawed_) return {};
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
    watch_.Frozen();
    return {};
  }

 private:
  void Dismiss() {
    watch_.Dismiss();
    thawed_ = true;
  }

  const std::string target_;
  const UniqueFd filesystem_;
  ThawWatch watch_;
  bool thawed_ = false;
};

Result<UniqueFd> OpenTarget(const std::string& target) {
  UniqueFd filesystem(open(target.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!filesystem) return ErrnoError(errno, "open " + target);
  return filesystem;
}

}  // namespace

Result<std::unique_ptr<FrozenMount>> FreezeFilesystem(const std::string& target, Duration deadline,
                                                      const std::string& thaw_socket) {
  UniqueFd filesystem = TRY(OpenTarget(target));
  if (syncfs(filesystem.get()) != 0) return ErrnoError(errno, "sync " + target);
  // The other end of a watch that is gone must not kill us.
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  ThawWatch watch = thaw_socket.empty() ? TRY(ThawWatch::Fork(filesystem, deadline))
                                        : TRY(ThawWatch::Ask(thaw_socket, filesystem, deadline));
                                        auto frozen = std::make_unique<WatchedFreeze>(
                                            target, std::move(filesystem), std::move(watch));
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
