#include "base/core/file.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace thinsnap {

void UniqueFd::Reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

Error ErrnoError(int error_number, std::string_view what, unsigned kinds) {
  static constexpr struct {
    int number;
    ErrnoKind kind;
    Code code;
  } kCodes[] = {
      {ENOENT, kMissing, Code::kNotFound},          {EACCES, kForbidden, Code::kPermissionDenied},
      {EPERM, kForbidden, Code::kPermissionDenied}, {EROFS, kForbidden, Code::kPermissionDenied},
      {ENOSPC, kNoRoom, Code::kResourceExhausted},  {EDQUOT, kNoRoom, Code::kResourceExhausted},
  };
  Code code = Code::kInternal;
  for (const auto& known : kCodes) {
    if (known.number == error_number && (known.kind & kinds) != 0) code = known.code;
  }
  char text[128];
  return Error(code, std::string(what) + ": " + strerror_r(error_number, text, sizeof text));
}

Result<std::string> ReadFile(const std::string& path, std::uint64_t max_bytes) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return ErrnoError(errno, "open " + path, kMissing);
  std::string content;
  char buffer[16384];
  for (;;) {
    const ssize_t got = read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoError(errno, "read " + path);
    if (got == 0) return content;
    content.append(buffer, static_cast<std::size_t>(got));
    if (content.size() > max_bytes) {
      return Error(Code::kOutOfRange, path + " is larger than " + FormatSize(max_bytes));
    }
  }
}

Status FsyncFolder(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return ErrnoError(errno, "open " + path, kMissing);
  if (fsync(fd.get()) != 0) return ErrnoError(errno, "fsync " + path);
  return {};
}

Status WriteFileAtomic(const std::string& path, std::string_view content, unsigned mode,
                       unsigned kinds) {
  static std::atomic<unsigned> counter{0};
  const std::string temporary =
      path + ".tmp" + std::to_string(getpid()) + "." + std::to_string(counter++);
  Status outcome = [&]() -> Status {
    const UniqueFd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (!fd) return ErrnoError(errno, "create " + temporary, kinds);
    std::string_view rest = content;
    while (!rest.empty()) {
      const ssize_t put = write(fd.get(), rest.data(), rest.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return ErrnoError(errno, "write " + temporary, kinds);
      rest.remove_prefix(static_cast<std::size_t>(put));
    }
    if (fsync(fd.get()) != 0) return ErrnoError(errno, "fsync " + temporary, kinds);
    if (rename(temporary.c_str(), path.c_str()) != 0)
      return ErrnoError(errno, "rename to " + path, kinds);
    return {};
  }();
  if (!outcome.ok()) {
    unlink(temporary.c_str());
    return outcome;
  }
  const auto slash = path.rfind('/');
  return FsyncFolder(slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash));
}

Status MakeFolders(const std::string& path, unsigned mode, unsigned kinds) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (!part.empty() && mkdir(part.c_str(), mode) != 0 && errno != EEXIST) {
      return ErrnoError(errno, "create folder " + part, kinds);
    }
    if (end == std::string::npos) break;
  }
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) return ErrnoError(errno, "stat " + path, kinds);
  if (!S_ISDIR(info.st_mode)) return Error(Code::kAlreadyExists, path + " is not a folder");
  return {};
}

}  // namespace thinsnap
