#include "snapshotter/cli/host_path.h"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <linux/fs.h>
#include <sstream>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <system_error>
#include <unistd.h>

#include "base/core/file.h"

namespace thinsnap::cli {
namespace {

// A line of mountinfo: id parent major:minor root mountpoint ...
std::string MountedAt(unsigned long device) {
  const auto text = ReadFile("/proc/self/mountinfo");
  if (!text.ok()) return "";
  const std::string wanted = std::to_string(major(device)) + ":" + std::to_string(minor(device));
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string id;
    std::string parent;
    std::string numbers;
    std::string root;
    std::string point;
    words >> id >> parent >> numbers >> root >> point;
    if (numbers == wanted) return "mounted at " + point;
  }
  return "";
}

std::string LoopOn(const std::string& canonical) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/block", error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("loop")) continue;
    auto backing = ReadFile(entry.path() / "loop/backing_file");
    if (!backing.ok()) continue;
    while (backing->ends_with('\n')) backing->pop_back();
    if (*backing == canonical) return "the file behind /dev/" + name;
  }
  return "";
}

bool IsSwap(const std::string& canonical) {
  const auto text = ReadFile("/proc/swaps");
  return text.ok() && text->find("\n" + canonical + " ") != std::string::npos;
}

// What rename(2) would refuse when the work is done. Best effort: what is not found out here is
// told then.
std::string WhyFixed(const std::string& canonical, const struct stat& info) {
  struct statx more = {};
  if (::statx(AT_FDCWD, canonical.c_str(), AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &more) == 0) {
    const auto has = [&more](std::uint64_t attribute) {
      return (more.stx_attributes_mask & more.stx_attributes & attribute) != 0;
    };
    if (has(STATX_ATTR_MOUNT_ROOT)) return "a mount point of its own";
    if (has(STATX_ATTR_IMMUTABLE)) return "immutable (chattr -i would end that)";
    if (has(STATX_ATTR_APPEND)) return "for appending only (chattr -a would end that)";
  }
  if (IsSwap(canonical)) return "in use as swap";
  struct stat folder = {};
  const auto parent = std::filesystem::path(canonical).parent_path();
  const uid_t self = ::geteuid();
  if (self != 0 && ::stat(parent.c_str(), &folder) == 0 && (folder.st_mode & S_ISVTX) != 0 &&
      info.st_uid != self && folder.st_uid != self) {
    return "another user's in a folder where only its owner may replace it";
  }
  return "";
}

bool HasContent(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  char first = 0;
  return file && ::read(file.get(), &first, 1) > 0;
}

}  // namespace

Result<HostPath> LookAt(const std::string& path) {
  if (path.empty()) {
    return Error(Code::kInvalidArgument,
                 "the path is empty; that of a block device or an image file is accepted");
  }
  HostPath found;
  std::error_code error;
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) {
    if (errno != ENOENT) return ErrnoError(errno, path, kMissing | kForbidden);
    if (const auto to = std::filesystem::read_symlink(path, error); !error) {
      return Error(Code::kNotFound, path + " is a link to " + to.string() +
                                        ", which is not there; remove the link, or name a file");
    }
    const std::filesystem::path absolute = std::filesystem::absolute(path, error);
    found.canonical = absolute.lexically_normal();
    if (!std::filesystem::is_directory(absolute.parent_path(), error)) {
      return Error(Code::kNotFound,
                   path + ": there is no folder " + absolute.parent_path().string());
    }
    return found;
  }
  found.canonical = std::filesystem::canonical(path, error);
  if (S_ISREG(info.st_mode)) {
    found.kind = PathKind::kFile;
    found.size_bytes = static_cast<std::uint64_t>(info.st_size);
    found.written_ns = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
    if (found.size_bytes == 0 && HasContent(path)) {
      return Error(Code::kInvalidArgument,
                   path +
                       " says that it is empty and is not, as files of /proc do; block devices "
                       "and image files are accepted");
    }
    found.user = LoopOn(found.canonical);
    found.fixed = WhyFixed(found.canonical, info);
    return found;
  }
  if (S_ISBLK(info.st_mode)) {
    found.kind = PathKind::kBlockDevice;
    const UniqueFd device(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!device) return ErrnoError(errno, "open " + path, kMissing | kForbidden);
    if (::ioctl(device.get(), BLKGETSIZE64, &found.size_bytes) != 0) {
      return ErrnoError(errno, "size of " + path, kMissing | kForbidden);
    }
    found.user = MountedAt(info.st_rdev);
    if (found.user.empty()) {
      // The kernel lets nobody have it alone while a mount, a mapping or swap holds it.
      const UniqueFd alone(::open(path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK));
      if (!alone && errno == EBUSY)
        found.user = "in use by the kernel (mounted elsewhere, mapped or swap)";
    }
    return found;
  }
  if (S_ISDIR(info.st_mode)) {
    return Error(Code::kInvalidArgument,
                 path + " is a folder; block devices and image files are accepted");
  }
  return Error(Code::kInvalidArgument,
               path + " is neither a block device nor a file; those are accepted");
}

}  // namespace thinsnap::cli
