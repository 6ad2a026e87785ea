#include "csi/mount/system_mounter.h"

#include <cstdlib>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <utility>

#include "base/core/file.h"
#include "csi/mount/freezer.h"
#include "csi/mount/mount_table.h"

namespace thinsnap::mount {
namespace {

// mountinfo has paths without links, so what is compared with it must have none either. What is
// missing stays as it is.
std::string Canonical(const std::string& path) {
  char* resolved = realpath(path.c_str(), nullptr);
  if (resolved == nullptr) return path;
  std::string canonical = resolved;
  free(resolved);
  return canonical;
}

Error CannotMake(int error, const std::string& path) {
  if (error != ENOENT) return ErrnoError(error, "make " + path, kMissing);
  return {Code::kFailedPrecondition,
          "make " + path +
              ": the folder above it is missing; the kubelet makes it, in a filesystem that may "
              "not be mounted"};
}

}  // namespace

// Options may hold secrets: no error names them.
Status SystemMounter::Mount(const std::string& source, const std::string& target,
                            const std::string& fs_type, const std::vector<std::string>& options) {
  const MountOptions parsed = ParseMountOptions(options);
  if (::mount(source.c_str(), target.c_str(), fs_type.c_str(), parsed.flags, parsed.data.c_str()) !=
      0) {
    const int error = errno;
    if (error == EINVAL) {
      return Error(Code::kInvalidArgument,
                   "mount " + source + " (" + fs_type + ") at " + target +
                       ": the kernel refuses a mount option or the filesystem's superblock");
    }
    return ErrnoError(error, "mount " + source + " (" + fs_type + ") at " + target, kMissing);
  }
  return {};
}

Status SystemMounter::Bind(const std::string& source, const std::string& target, bool read_only) {
  if (::mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    return ErrnoError(errno, "bind " + source + " at " + target, kMissing);
  }
  if (!read_only) return {};
  // A bind takes its flags only in a second step; those of the source have to be named again.
  struct statvfs figures = {};
  unsigned long flags = MS_BIND | MS_REMOUNT | MS_RDONLY;
  if (statvfs(target.c_str(), &figures) == 0) {
    if ((figures.f_flag & ST_NOSUID) != 0) flags |= MS_NOSUID;
    if ((figures.f_flag & ST_NODEV) != 0) flags |= MS_NODEV;
    if ((figures.f_flag & ST_NOEXEC) != 0) flags |= MS_NOEXEC;
    if ((figures.f_flag & ST_NOATIME) != 0) flags |= MS_NOATIME;
    if ((figures.f_flag & ST_NODIRATIME) != 0) flags |= MS_NODIRATIME;
    if ((figures.f_flag & ST_RELATIME) != 0) flags |= MS_RELATIME;
  }
  if (::mount(nullptr, target.c_str(), nullptr, flags, nullptr) != 0) {
    Error error = ErrnoError(errno, "make " + target + " read-only", kMissing);
    umount2(target.c_str(), UMOUNT_NOFOLLOW);
    return error;
  }
  return {};
}

Status SystemMounter::Unmount(const std::string& target) {
  constexpr int kDeepest = 64;
  for (int i = 0; i < kDeepest; ++i) {
    if (umount2(target.c_str(), UMOUNT_NOFOLLOW) == 0) continue;
    if (errno == EINVAL || errno == ENOENT || errno == ENOTDIR) return {};
    if (errno == EBUSY) {
      return Error(Code::kFailedPrecondition, "unmount " + target + ": it is in use");
    }
    return ErrnoError(errno, "unmount " + target, kMissing);
  }
  return Error(Code::kInternal, "unmount " + target + ": too many mounts lie upon each other");
}

Result<std::optional<MountEntry>> SystemMounter::Find(const std::string& target) {
  const std::string canonical = Canonical(target);
  std::optional<MountEntry> topmost;
  for (MountEntry& entry : TRY(List())) {
    if (entry.target == canonical) topmost = std::move(entry);
  }
  return topmost;
}

Result<std::vector<MountEntry>> SystemMounter::List() {
  return ParseMountTable(TRY(ReadFile("/proc/self/mountinfo")));
}

Result<PathKind> SystemMounter::Kind(const std::string& path) {
  struct stat info = {};
  if (lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return PathKind::kMissing;
    return ErrnoError(errno, "stat " + path, kMissing);
  }
  if (S_ISREG(info.st_mode)) return PathKind::kFile;
  if (S_ISDIR(info.st_mode)) return PathKind::kFolder;
  if (S_ISBLK(info.st_mode)) return PathKind::kBlockDevice;
  return PathKind::kOther;
}

Status SystemMounter::MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0750) == 0) return {};
  const int error = errno;
  struct stat info = {};
  if (error == EEXIST && stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return {};
  return CannotMake(error, path);
}

Status SystemMounter::MakeFile(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_RDONLY, 0600));
  if (!file) return CannotMake(errno, path);
  return {};
}

Status SystemMounter::RemovePath(const std::string& path) {
  if (unlink(path.c_str()) == 0 || errno == ENOENT || errno == ENOTDIR) return {};
  if (errno == EISDIR || errno == EPERM) {
    if (rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
  }
  return ErrnoError(errno, "remove " + path, kMissing);
}

Result<FsFigures> SystemMounter::Figures(const std::string& path) {
  struct statvfs info = {};
  if (statvfs(path.c_str(), &info) != 0) return ErrnoError(errno, "statfs " + path, kMissing);
  FsFigures figures;
  figures.total_bytes = info.f_blocks * info.f_frsize;
  figures.available_bytes = info.f_bavail * info.f_frsize;
  figures.used_bytes = (info.f_blocks - info.f_bfree) * info.f_frsize;
  figures.total_inodes = info.f_files;
  figures.available_inodes = info.f_ffree;
  figures.used_inodes = info.f_files - info.f_ffree;
  return figures;
}

Result<std::uint64_t> SystemMounter::DeviceNumber(const std::string& device_path) {
  struct stat info = {};
  if (stat(device_path.c_str(), &info) != 0)
    return ErrnoError(errno, "stat " + device_path, kMissing);
  if (!S_ISBLK(info.st_mode)) {
    return Error(Code::kInvalidArgument, device_path + " is not a block device");
  }
  return static_cast<std::uint64_t>(info.st_rdev);
}

Result<std::uint64_t> SystemMounter::HomeOfNode(const std::string& device_path) {
  struct stat info = {};
  if (stat(device_path.c_str(), &info) != 0) {
    return ErrnoError(errno, "stat " + device_path, kMissing);
  }
  return static_cast<std::uint64_t>(info.st_dev);
}

Status SystemMounter::SetDeviceReadOnly(const std::string& device_path, bool read_only) {
  const UniqueFd device(open(device_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!device) return ErrnoError(errno, "open " + device_path, kMissing);
  const int wanted = read_only ? 1 : 0;
  if (ioctl(device.get(), BLKROSET, &wanted) == 0) return {};
  return ErrnoError(errno, "make " + device_path + (read_only ? " read-only" : " writable"));
}

Result<std::uint64_t> SystemMounter::DeviceSize(const std::string& device_path) {
  const UniqueFd device(open(device_path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!device) return ErrnoError(errno, "open " + device_path, kMissing);
  std::uint64_t size_bytes = 0;
  if (ioctl(device.get(), BLKGETSIZE64, &size_bytes) != 0) {
    return ErrnoError(errno, "size of " + device_path, kMissing);
  }
  return size_bytes;
}

Status SystemMounter::Sync(const std::string& target) { return SyncFilesystem(target); }

Result<std::unique_ptr<FrozenMount>> SystemMounter::Freeze(const std::string& target,
                                                           Duration deadline) {
  return FreezeFilesystem(target, deadline, thaw_socket_);
}

Status SystemMounter::Thaw(const std::string& target) { return ThawFilesystem(target); }

}  // namespace thinsnap::mount
