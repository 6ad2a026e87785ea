#include "csi/reflink/pool_folder.h"

#include <charconv>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <utility>

#include "base/core/file.h"
#include "csi/reflink/image_file.h"
#include "csi/reflink/loop_device.h"

namespace thinsnap::reflink {
namespace {

constexpr std::uint64_t kSmallest = 512 * kMiB, kLargest = 64 * kTiB;

// Whether files of this folder can share blocks, by trying it.
bool HasReflinks(const std::string& folder) {
  struct statfs info = {};
  if (statfs(folder.c_str(), &info) != 0 || info.f_type != XFS_SUPER_MAGIC) return false;
  const UniqueFd from(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  const UniqueFd to(open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  return from && to && pwrite(from.get(), "x", 1, 0) == 1 &&
         ioctl(to.get(), FICLONE, from.get()) == 0;
}

Result<bool> IsMountPoint(const std::string& folder) {
  struct stat own = {}, parent = {};
  if (stat(folder.c_str(), &own) != 0 || stat((folder + "/..").c_str(), &parent) != 0) {
    return ErrnoError(errno, "stat " + folder);
  }
  return own.st_dev != parent.st_dev;
}

Status CheckRoom(const std::string& folder, std::uint64_t wanted_bytes) {
  struct statvfs disk = {};
  if (statvfs(folder.c_str(), &disk) != 0) return ErrnoError(errno, "statvfs " + folder);
  const std::uint64_t free_bytes = disk.f_bavail * disk.f_frsize;
  if (wanted_bytes <= free_bytes) return {};
  return Error(Code::kResourceExhausted,
               "the disk below " + folder + " has " + std::to_string(free_bytes) +
                   " bytes free; the pool's image is to have " + std::to_string(wanted_bytes));
}

// Whole and durable before it gets its name.
Status MakeImage(CommandRunner& runner, const PoolImageOptions& image) {
  const std::string draft = image.path + ".new";
  const std::string folder = image.path.substr(0, image.path.rfind('/') + 1) + ".";
  if (image.preallocate) TRY(CheckRoom(folder, image.size_bytes));
  const UniqueFd fd(open(draft.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return ErrnoError(errno, "create " + draft, kNoRoom);
  const auto size = static_cast<off_t>(image.size_bytes);
  if ((image.preallocate ? fallocate(fd.get(), 0, 0, size) : ftruncate(fd.get(), size)) != 0) {
    const int error = errno;
    unlink(draft.c_str());
    return ErrnoError(error, "take " + std::to_string(image.size_bytes) + " bytes for " + draft,
                      kNoRoom);
  }
  Command format;
  // -K: a discard would give the disk back what was taken from it.
  format.argv = {"mkfs.xfs", "-q", "-K", "-f", "-m", "reflink=1", draft};
  TRY(RunChecked(runner, format));
  if (fsync(fd.get()) != 0) return ErrnoError(errno, "fsync " + draft, kNoRoom);
  return RenameDurably(draft, image.path);
}

}  // namespace

Status MountPoolImage(CommandRunner& runner, const PoolImageOptions& image,
                      const std::string& mount_point) {
  TRY(MakeFolders(mount_point, 0700));
  if (TRY(IsMountPoint(mount_point))) return {};
  if (access(image.path.c_str(), F_OK) != 0) TRY(MakeImage(runner, image));
  // The device of an earlier mount that is out of sight, where there is one: the same filesystem
  // then, never the image under two.
  const LoopDevice device = TRY(AttachLoopDevice(image.path));
  // From here on the mount holds the device; it goes with the last of its users. What is removed in
  // a sparse image's filesystem goes back to the disk below.
  const char* options = image.preallocate ? "nouuid" : "nouuid,discard";
  if (mount(device.path.c_str(), mount_point.c_str(), "xfs", MS_NOATIME, options) != 0) {
    return ErrnoError(errno, "mount " + image.path);
  }
  return {};
}

Result<ReflinkPoolOptions> PreparePoolFolder(CommandRunner& runner,
                                             const PoolFolderOptions& options) {
  if (access(options.folder.c_str(), W_OK) != 0) {
    return ErrnoError(errno, "the folder for the pool, " + options.folder, kMissing);
  }
  ReflinkPoolOptions pool;
  pool.folder = options.folder + "/pool";
  const std::string image = options.folder + "/pool.xfs";
  if (access(image.c_str(), F_OK) != 0 && HasReflinks(options.folder)) {
    TRY(MakeFolders(pool.folder, 0700));
    return pool;
  }
  pool.image = image;
  TRY(MountPoolImage(runner, {image, options.size_bytes, options.preallocate}, pool.folder));
  return pool;
}

Result<std::uint64_t> ParsePoolSize(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  const std::uint64_t factor = unit.empty()   ? 1
                               : unit == "Mi" ? kMiB
                               : unit == "Gi" ? kGiB
                               : unit == "Ti" ? kTiB
                                              : 0;
  if (error != std::errc() || factor == 0 || number > kLargest / factor ||
      number * factor < kSmallest) {
    return Error(Code::kInvalidArgument,
                 "size \"" + std::string(text) + "\" of a pool; 512Mi to 64Ti are accepted");
  }
  return number * factor;
}

}  // namespace thinsnap::reflink
