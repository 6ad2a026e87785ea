#include "simulator/containers/jail.h"

#include <cerrno>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace thinsnap::containers {
namespace {

// "a/b/c" -> {"a/b", "c"}.
std::pair<std::string_view, std::string> SplitName(std::string_view path) {
  const auto slash = path.rfind('/');
  if (slash == path.npos) return {"", std::string(path)};
  return {path.substr(0, slash), std::string(path.substr(slash + 1))};
}

// Of errno.
Error Refusal(const std::string& path) {
  if (errno == EXDEV) return {Code::kPermissionDenied, path + " leads out of its folder"};
  return ErrnoError(errno, "open " + path, kMissing);
}

Status ChangeMode(const UniqueFd& fd, mode_t mode) {
  // fchmod(2) refuses descriptors of O_PATH.
  const std::string link = "/proc/self/fd/" + std::to_string(fd.get());
  return chmod(link.c_str(), mode) == 0 ? Status() : ErrnoError(errno, "change its mode");
}

}  // namespace

Result<Jail> Jail::Open(const std::string& folder, Links links) {
  UniqueFd fd(open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return ErrnoError(errno, "open " + folder);
  return Jail(std::move(fd), links);
}

UniqueFd Jail::Resolve(const std::string& path) const {
  open_how how = {};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = links_ == Links::kInside ? RESOLVE_IN_ROOT : RESOLVE_BENEATH;
  how.resolve |= RESOLVE_NO_MAGICLINKS;
  const std::size_t start = path.find_first_not_of('/');
  const char* relative = start == path.npos ? "." : path.c_str() + start;
  // EAGAIN: something was renamed while a ".." was followed.
  for (int attempt = 0;; ++attempt) {
    const long fd = syscall(SYS_openat2, folder_.get(), relative, &how, sizeof how);
    if (fd >= 0 || errno != EAGAIN || attempt == 100) return UniqueFd(static_cast<int>(fd));
  }
}

Result<UniqueFd> Jail::Find(const std::string& path) const {
  UniqueFd fd = Resolve(path);
  if (!fd) return Refusal(path);
  return fd;
}

Result<UniqueFd> Jail::FindOrMakeFolder(std::string_view path, mode_t mode) const {
  std::string reached;
  UniqueFd at = Resolve(reached);
  if (!at) return Refusal(reached);
  while (!path.empty()) {
    const auto slash = path.find('/');
    const std::string part(path.substr(0, slash));
    path.remove_prefix(slash == path.npos ? path.size() : slash + 1);
    if (part.empty()) continue;
    reached += (reached.empty() ? "" : "/") + part;
    UniqueFd next = Resolve(reached);
    if (!next && errno == ENOENT) {
      const bool made = mkdirat(at.get(), part.c_str(), 0700) == 0;
      if (!made && errno != EEXIST) return ErrnoError(errno, "make " + reached);
      next = Resolve(reached);
      if (next && made) TRY(ChangeMode(next, mode).In(reached));
    }
    if (!next) return Refusal(reached);
    at = std::move(next);
  }
  return at;
}

Status Jail::WriteText(const std::string& path, std::string_view text) const {
  const auto [folder, name] = SplitName(path);
  const UniqueFd parent = TRY(FindOrMakeFolder(folder, 0755));
  unlinkat(parent.get(), name.c_str(), 0);
  const UniqueFd fd(openat(parent.get(), name.c_str(),
                           O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
    return ErrnoError(errno, "write " + path);
  return {};
}

Status Jail::MakeLink(const std::string& path, const std::string& target) const {
  const auto [folder, name] = SplitName(path);
  const UniqueFd parent = TRY(FindOrMakeFolder(folder, 0755));
  if (symlinkat(target.c_str(), parent.get(), name.c_str()) == 0 || errno == EEXIST) return {};
  return ErrnoError(errno, "link " + path);
}

Status Jail::SetMode(const std::string& path, mode_t mode) const {
  const UniqueFd fd = Resolve(path);
  if (!fd) return Refusal(path);
  return ChangeMode(fd, mode).In(path);
}

}  // namespace thinsnap::containers
