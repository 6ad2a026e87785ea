#include "simulator/kubelet/local_volumes.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <sys/mount.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include "base/core/file.h"
#include "simulator/containers/environment.h"

namespace thinsnap::kubelet {
namespace {

namespace fs = std::filesystem;

}  // namespace

Result<bool> MakeEmptyFolder(const Json& source, const std::string& path) {
  TRY(MakeFolders(path));
  const bool memory = StringAt(source, "medium") == "Memory";
  if (memory) {
    std::string options = "mode=0777";
    const auto limit =
        static_cast<std::int64_t>(containers::ParseQuantity(StringAt(source, "sizeLimit")));
    if (limit > 0) options += ",size=" + std::to_string(limit);
    if (mount("tmpfs", path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
      return ErrnoError(errno, "mount a tmpfs");
  }
  if (chmod(path.c_str(), 0777) != 0) return ErrnoError(errno, "open up " + path);
  return memory;
}

Result<std::string> MakeHostPath(const Json& source) {
  const std::string path = StringAt(source, "path");
  const std::string type = StringAt(source, "type");
  std::error_code code;
  if (type == "DirectoryOrCreate") TRY(MakeFolders(path));
  if (type == "FileOrCreate" && !fs::exists(path, code)) TRY(WriteFileAtomic(path, ""));
  const fs::file_status status = fs::status(path, code);
  const bool fits = type.empty() || type.ends_with("OrCreate") ||
                    (type == "Directory" && fs::is_directory(status)) ||
                    (type == "File" && fs::is_regular_file(status)) ||
                    (type == "Socket" && fs::is_socket(status)) ||
                    (type == "CharDevice" && fs::is_character_file(status)) ||
                    (type == "BlockDevice" && fs::is_block_file(status));
  if (!fits)
    return Error(Code::kFailedPrecondition, "hostPath " + path + " is not of type " + type);
  // Like a container engine, which makes the folder where there is nothing.
  if (!fs::exists(status)) TRY(MakeFolders(path));
  return path;
}

Result<std::string> PlaceBelow(const std::string& volume, const std::string& sub_path) {
  const fs::path relative(sub_path);
  if (relative.is_absolute() ||
      std::find(relative.begin(), relative.end(), "..") != relative.end()) {
    return Error(Code::kInvalidArgument,
                 "subPath " + sub_path + " must be relative and without '..'");
  }
  std::error_code code;
  const fs::path base = fs::canonical(volume, code);
  if (code) return ErrnoError(code.value(), "subPath " + sub_path);
  struct stat root = {};
  if (stat(base.c_str(), &root) != 0) return ErrnoError(errno, "subPath " + sub_path);
  fs::path real = base;
  for (const fs::path& part : relative) {
    const fs::path next = real / part;
    if (!fs::exists(next, code)) {
      if (mkdir(next.c_str(), 0700) != 0 && errno != EEXIST)
        return ErrnoError(errno, "make subPath " + sub_path);
      chmod(next.c_str(), root.st_mode & 07777);
    }
    real = fs::canonical(next, code);
    if (code) return ErrnoError(code.value(), "subPath " + sub_path);
    if (real != base && !real.string().starts_with(base.string() + "/")) {
      return Error(Code::kPermissionDenied, "subPath " + sub_path + " leads out of its volume");
    }
  }
  return real.string();
}

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
  const auto apply = [group, file_mode](const fs::path& entry) {
    struct stat info = {};
    if (lstat(entry.c_str(), &info) != 0) return;
    lchown(entry.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(group));
    if (S_ISLNK(info.st_mode)) return;
    const mode_t more = S_ISDIR(info.st_mode) ? S_ISGID | 0110 | file_mode : file_mode;
    chmod(entry.c_str(), (info.st_mode & 07777) | more);
  };
  std::error_code code;
  apply(path);
  for (auto it = fs::recursive_directory_iterator(path, code);
       it != fs::recursive_directory_iterator(); it.increment(code)) {
    if (code)
      return ErrnoError(code.value(), "give " + path + " to group " + std::to_string(group));
    apply(it->path());
  }
  return {};
}

}  // namespace thinsnap::kubelet
