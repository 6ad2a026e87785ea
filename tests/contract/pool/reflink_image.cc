#include "tests/contract/pool/reflink_image.h"

#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/core/bytes.h"
#include "base/core/command.h"
#include "base/core/file.h"
#include "csi/reflink/loop_device.h"

namespace thinsnap::pool {
namespace {

Result<std::string> Mount(std::uint64_t size_bytes) {
  if (geteuid() != 0) return Error(Code::kPermissionDenied, "needs root for a loop device");
  char folder[] = "/tmp/thinsnap-pool-XXXXXX";
  if (mkdtemp(folder) == nullptr) return ErrnoError(errno, "mkdtemp");
  const std::string image = std::string(folder) + "/image";
  {
    const UniqueFd fd(open(image.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!fd || ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0)
      return ErrnoError(errno, "make " + image);
  }
  PosixCommandRunner runner;
  static_cast<void>(
      TRY(RunChecked(runner, {.argv = {"mkfs.xfs", "-q", image}, .env = {}, .input = {}})));
  if (unshare(CLONE_NEWNS) != 0) return ErrnoError(errno, "unshare the mount namespace");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 && errno != EINVAL) {
    return ErrnoError(errno, "make mounts private");
  }
  reflink::LoopDevice device = TRY(reflink::AttachLoopDevice(image));
  const std::string point = std::string(folder) + "/mnt";
  TRY(MakeFolders(point));
  if (mount(device.path.c_str(), point.c_str(), "xfs", 0, nullptr) != 0)
    return ErrnoError(errno, "mount XFS");
  // The mount holds image and loop device from now on; nobody else needs its name.
  unlink(image.c_str());
  static const std::string cleanup_folder = folder;
  atexit([] {
    umount2((cleanup_folder + "/mnt").c_str(), MNT_DETACH);
    std::error_code ignored;
    std::filesystem::remove_all(cleanup_folder, ignored);
  });
  return point;
}

}  // namespace

Result<std::string> MountReflinkImage(std::uint64_t size_bytes) {
  static const Result<std::string> mounted = Mount(size_bytes);
  return mounted;
}

}  // namespace thinsnap::pool
