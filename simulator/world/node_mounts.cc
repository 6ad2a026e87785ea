#include "simulator/world/node_mounts.h"

#include <cerrno>
#include <climits>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <string>
#include <string_view>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/core/file.h"

namespace thinsnap::world {
namespace {

bool IsFilesystem(const char* path, long magic) {
  struct statfs info = {};
  return statfs(path, &info) == 0 && info.f_type == magic;
}

// To the root of the mount namespace, which is above every folder that is open: the way root leaves
// a chroot.
Status EnterTrueRoot(int root_fd) {
  // Any folder below the root, so that the open one is above it.
  if (chroot("/proc") != 0) return ErrnoError(errno, "leave the chroot by way of /proc");
  if (fchdir(root_fd) != 0) return ErrnoError(errno, "leave the chroot");
  for (int depth = 0; depth < 256; ++depth) {
    if (chdir("..") != 0) break;
  }
  if (chroot(".") != 0) return ErrnoError(errno, "reach the root of the mount namespace");
  return {};
}

}  // namespace

Status MakeOwnRoot() {
  char folder[PATH_MAX];
  if (getcwd(folder, sizeof folder) == nullptr) return ErrnoError(errno, "name the working folder");
  const UniqueFd old_root(open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!old_root) return ErrnoError(errno, "open /");
  TRY(EnterTrueRoot(old_root.get()));
  // Before anything is mounted: otherwise it would be seen outside.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    return ErrnoError(errno, "make all mounts private");
  if (fchdir(old_root.get()) != 0) return ErrnoError(errno, "go back to the former root");
  char path[PATH_MAX];
  if (getcwd(path, sizeof path) == nullptr) return ErrnoError(errno, "name the former root");
  if (path != std::string_view("/")) {
    // A chroot. Its folder becomes the true root of this namespace, whether it is a mount point or
    // not: who joins a container's namespace (runc exec) lands in the true root of where runc was
    // started, which a mere chroot leaves outside of the container.
    if (mount(path, path, nullptr, MS_BIND | MS_REC, nullptr) != 0)
      return ErrnoError(errno, "bind the chroot onto itself");
    if (chdir(path) != 0) return ErrnoError(errno, "enter the chroot again");
    if (syscall(SYS_pivot_root, ".", ".") != 0)  // as pivot_root(2) has it: "." twice
      return ErrnoError(errno, "make the chroot the root");
    if (umount2(".", MNT_DETACH) != 0) return ErrnoError(errno, "let go of the old root");
  }
  if (chdir(folder) != 0) return ErrnoError(errno, std::string("enter ") + folder);
  return {};
}

Status MakeNodeRoot() {
  TRY(MakeOwnRoot());
  // The old /proc shows the processes of the host.
  if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
    return ErrnoError(errno, "mount /proc");
  }
  if (!IsFilesystem("/sys", SYSFS_MAGIC)) {
    if (mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
      return ErrnoError(errno, "mount /sys");
    }
  }
  if (IsFilesystem("/sys/fs/cgroup", SYSFS_MAGIC)) {
    if (mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) !=
        0) {
      return ErrnoError(errno, "mount /sys/fs/cgroup");
    }
  }
  if (access("/dev/loop-control", F_OK) != 0 || access("/dev/null", F_OK) != 0) {
    if (mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755") != 0)
      return ErrnoError(errno, "mount /dev");
  }
  if (access("/dev/pts/ptmx", F_OK) != 0) {
    mkdir("/dev/pts", 0755);
    mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666");
    if (access("/dev/ptmx", F_OK) != 0 && symlink("pts/ptmx", "/dev/ptmx") != 0)
      return ErrnoError(errno, "link /dev/ptmx");
  }
  return {};
}

Status MountMemoryFolder(const std::string& path) {
  TRY(MakeFolders(path, 0700));
  if (mount("tmpfs", path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700,size=128m") != 0) {
    return ErrnoError(errno, "mount " + path);
  }
  return {};
}

}  // namespace thinsnap::world
