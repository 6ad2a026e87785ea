#include "csi/reflink/image_file.h"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <system_error>
#include <unistd.h>

#include "base/core/file.h"

namespace thinsnap::reflink {

Status RenameDurably(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) != 0) return ErrnoError(errno, "rename " + from, kNoRoom);
  TRY(FsyncFolder(std::filesystem::path(to).parent_path()));
  return FsyncFolder(std::filesystem::path(from).parent_path());
}

Status RemoveTree(const std::string& path) {
  std::error_code failure;
  std::filesystem::remove_all(path, failure);
  if (failure) return ErrnoError(failure.value(), "remove " + path);
  return {};
}

Status MakeSparse(const std::string& path, std::uint64_t size_bytes) {
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return ErrnoError(errno, "create " + path, kNoRoom);
  if (ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0)
    return ErrnoError(errno, "size " + path, kNoRoom);
  if (fsync(fd.get()) != 0) return ErrnoError(errno, "fsync " + path, kNoRoom);
  return {};
}

Status MakeClone(const std::string& source, const std::string& path, std::uint64_t size_bytes) {
  const UniqueFd from(open(source.c_str(), O_RDONLY | O_CLOEXEC));
  if (!from) return ErrnoError(errno, "open " + source);
  const UniqueFd to(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!to) return ErrnoError(errno, "create " + path, kNoRoom);
  if (ioctl(to.get(), FICLONE, from.get()) != 0)
    return ErrnoError(errno, "clone " + source, kNoRoom);
  struct stat info{};
  if (fstat(to.get(), &info) != 0) return ErrnoError(errno, "stat " + path);
  if (static_cast<std::uint64_t>(info.st_size) < size_bytes &&
      ftruncate(to.get(), static_cast<off_t>(size_bytes)) != 0) {
    return ErrnoError(errno, "size " + path, kNoRoom);
  }
  if (fsync(to.get()) != 0) return ErrnoError(errno, "fsync " + path, kNoRoom);
  return {};
}

Status RemoveFile(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return errno == ENOENT ? Status() : ErrnoError(errno, "open " + path);
  if (unlink(path.c_str()) != 0 && errno != ENOENT)
    return ErrnoError(errno, "remove " + path, kNoRoom);
  // The kernel grants a write lease only to the one who alone has the file open (fcntl(2)), in
  // whatever process; without a name nobody else comes.
  if (fcntl(fd.get(), F_SETLEASE, F_WRLCK) != 0) return {};
  if (ftruncate(fd.get(), 0) != 0) return ErrnoError(errno, "free " + path, kNoRoom);
  return {};
}

std::uint64_t AllocatedBytes(const std::string& path) {
  struct stat info{};
  return stat(path.c_str(), &info) == 0 ? static_cast<std::uint64_t>(info.st_blocks) * 512 : 0;
}

Result<std::uint64_t> RoomOfImage(const std::string& path, std::uint64_t used_bytes) {
  struct statvfs disk{};
  if (statvfs(path.c_str(), &disk) != 0) return ErrnoError(errno, "statvfs " + path);
  const std::uint64_t allocated = AllocatedBytes(path);
  const std::uint64_t reusable = allocated > used_bytes ? allocated - used_bytes : 0;
  return disk.f_bavail * disk.f_frsize + reusable;
}

}  // namespace thinsnap::reflink
