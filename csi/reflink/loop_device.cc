#include "csi/reflink/loop_device.h"

#include <cerrno>
#include <charconv>
#include <dirent.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <memory>
#include <optional>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <utility>

namespace thinsnap::reflink {
namespace {

constexpr int kAttempts = 64;
constexpr unsigned kLoopMajor = 7;

std::string DevicePath(int number) { return "/dev/loop" + std::to_string(number); }

// Opens /dev/loopN; makes the node where /dev is a plain folder (a chroot).
Result<UniqueFd> OpenLoop(int number, int flags) {
  const std::string path = DevicePath(number);
  UniqueFd fd(open(path.c_str(), flags | O_CLOEXEC));
  if (!fd && errno == ENOENT) {
    const dev_t device = makedev(kLoopMajor, static_cast<unsigned>(number));
    if (mknod(path.c_str(), S_IFBLK | 0660, device) != 0 && errno != EEXIST) {
      return ErrnoError(errno, "create " + path, kNoRoom);
    }
    fd.Reset(open(path.c_str(), flags | O_CLOEXEC));
  }
  if (!fd) return ErrnoError(errno, "open " + path);
  return fd;
}

// The loop device that has this file, by device and inode: names differ between mount namespaces.
// It is open since before the look, so that it cannot be cleared after it.
std::optional<LoopDevice> FindAttached(const struct stat& file, int flags) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/sys/block"), closedir);
  if (folder == nullptr) return std::nullopt;
  while (const dirent* entry = readdir(folder.get())) {
    const std::string name = entry->d_name;
    if (!name.starts_with("loop")) continue;
    const std::string attached = "/sys/block/" + name + "/loop/backing_file";
    if (access(attached.c_str(), F_OK) != 0) continue;
    int number = 0;
    const auto [end, error] = std::from_chars(name.data() + 4, name.data() + name.size(), number);
    if (error != std::errc() || end != name.data() + name.size()) continue;
    Result<UniqueFd> fd = OpenLoop(number, flags);
    loop_info64 info{};
    if (fd.ok() && ioctl(fd->get(), LOOP_GET_STATUS64, &info) == 0 &&
        info.lo_inode == file.st_ino && info.lo_device == file.st_dev) {
      return LoopDevice{DevicePath(number), std::move(*fd)};
    }
  }
  return std::nullopt;
}

}  // namespace

Result<LoopDevice> AttachLoopDevice(const std::string& file, unsigned sector_bytes,
                                    bool read_only) {
  const int flags = read_only ? O_RDONLY : O_RDWR;
  const UniqueFd backing(open(file.c_str(), flags | O_DIRECT | O_CLOEXEC));
  if (!backing) return ErrnoError(errno, "open " + file);
  struct stat info{};
  if (fstat(backing.get(), &info) != 0) return ErrnoError(errno, "stat " + file);
  if (auto attached = FindAttached(info, flags)) return std::move(*attached);
  const UniqueFd control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) return ErrnoError(errno, "open /dev/loop-control", kMissing);
  // Finding a free device and taking it are two steps: another process may be faster.
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    const int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return ErrnoError(errno, "find a free loop device");
    UniqueFd fd = TRY(OpenLoop(number, flags));
    loop_config config{};
    config.fd = static_cast<__u32>(backing.get());
    config.block_size = sector_bytes;
    config.info.lo_flags = LO_FLAGS_DIRECT_IO | LO_FLAGS_AUTOCLEAR;
    strncpy(reinterpret_cast<char*>(config.info.lo_file_name), file.c_str(), LO_NAME_SIZE - 1);
    if (ioctl(fd.get(), LOOP_CONFIGURE, &config) == 0) {
      return LoopDevice{DevicePath(number), std::move(fd)};
    }
    if (errno != EBUSY) return ErrnoError(errno, "attach " + file + " to " + DevicePath(number));
  }
  return Error(Code::kUnavailable, "every free loop device was taken by somebody else");
}

Status RefreshLoopDevice(const LoopDevice& device) {
  if (ioctl(device.fd.get(), LOOP_SET_CAPACITY) != 0) {
    return ErrnoError(errno, "grow " + device.path, kNoRoom);
  }
  return {};
}

Status CheckNotMounted(const std::string& file) {
  struct stat info{};
  if (stat(file.c_str(), &info) != 0) return ErrnoError(errno, "stat " + file);
  const auto attached = FindAttached(info, O_RDONLY);
  if (!attached) return {};
  // The descriptor at hand is not exclusive and does not stand in the way.
  const UniqueFd exclusive(open(attached->path.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  if (!exclusive && errno == EBUSY) {
    return Error(Code::kFailedPrecondition, attached->path + " is mounted or in use");
  }
  return {};
}

Status SyncLoopDevice(const LoopDevice& device) {
  if (fsync(device.fd.get()) != 0) return ErrnoError(errno, "fsync " + device.path, kNoRoom);
  return {};
}

}  // namespace thinsnap::reflink
