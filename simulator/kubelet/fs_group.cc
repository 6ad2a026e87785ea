#include "simulator/kubelet/fs_group.h"

#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <string_view>
#include <sys/stat.h>
#include <tuple>
#include <unistd.h>

#include "base/core/file.h"
#include "base/data/json.h"

namespace thinsnap::kubelet {
namespace {

struct Grant {
  gid_t group;
  mode_t file_mode;
};

Status GiveTree(int parent, const char* name, const Grant& grant);

Status GiveContent(int folder, const Grant& grant) {
  UniqueFd readable(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!readable) return ErrnoError(errno, "open a folder");
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(fdopendir(readable.get()), closedir);
  if (!entries) return ErrnoError(errno, "read a folder");
  const int fd = readable.Release();
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(entries.get());
    if (entry == nullptr) break;
    const std::string_view entry_name = entry->d_name;
    if (entry_name == "." || entry_name == "..") continue;
    TRY(GiveTree(fd, entry->d_name, grant).In(entry_name));
  }
  return errno == 0 ? Status() : ErrnoError(errno, "read a folder");
}

Status GiveTree(int parent, const char* name, const Grant& grant) {
  const UniqueFd entry(openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
  // Somebody may have removed it meanwhile.
  if (!entry) return errno == ENOENT ? Status() : ErrnoError(errno, "open it");
  struct stat info = {};
  if (fstat(entry.get(), &info) != 0) return ErrnoError(errno, "look at it");
  if (S_ISDIR(info.st_mode)) TRY(GiveContent(entry.get(), grant));
  // A real kubelet does not hold a pod back for files that refuse.
  std::ignore = fchownat(entry.get(), "", static_cast<uid_t>(-1), grant.group, AT_EMPTY_PATH);
  if (S_ISLNK(info.st_mode)) return {};
  const mode_t more = S_ISDIR(info.st_mode) ? S_ISGID | 0110 | grant.file_mode : grant.file_mode;
  const std::string link = "/proc/self/fd/" + std::to_string(entry.get());
  std::ignore = chmod(link.c_str(), (info.st_mode & 07777) | more);
  return {};
}

}  // namespace

FsGroup FsGroupOf(const Json& pod) {
  FsGroup found;
  const Json* group = Find(pod, "spec.securityContext.fsGroup");
  if (group != nullptr && group->is_number()) found.group = group->to_number<std::int64_t>();
  found.on_mismatch_only =
      StringAt(pod, "spec.securityContext.fsGroupChangePolicy") == "OnRootMismatch";
  return found;
}

Status ApplyFsGroup(const std::string& path, const FsGroup& fs_group) {
  if (!fs_group.group) return {};
  struct stat root = {};
  constexpr mode_t kWanted = S_ISGID | 0770;
  if (fs_group.on_mismatch_only && stat(path.c_str(), &root) == 0 &&
      root.st_gid == static_cast<gid_t>(*fs_group.group) && (root.st_mode & kWanted) == kWanted) {
    return {};
  }
  return GiveToGroup(path, *fs_group.group, 0660);
}

Status GiveToGroup(const std::string& path, std::int64_t group, mode_t file_mode) {
  return GiveTree(AT_FDCWD, path.c_str(), {static_cast<gid_t>(group), file_mode})
      .In("give " + path + " to group " + std::to_string(group));
}

}  // namespace thinsnap::kubelet
