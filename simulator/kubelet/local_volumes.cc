#include "simulator/kubelet/local_volumes.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <sys/mount.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

#include "base/core/file.h"
#include "simulator/containers/environment.h"
#include "simulator/containers/jail.h"

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

Result<UniqueFd> PlaceBelow(const std::string& volume, const std::string& sub_path) {
  const fs::path relative(sub_path);
  if (relative.is_absolute() ||
      std::find(relative.begin(), relative.end(), "..") != relative.end()) {
    return Error(Code::kInvalidArgument,
                 "subPath " + sub_path + " must be relative and without '..'");
  }
  struct stat root = {};
  if (stat(volume.c_str(), &root) != 0) return ErrnoError(errno, "subPath " + sub_path);
  const auto jail = TRY(containers::Jail::Open(volume, containers::Jail::Links::kRefused));
  return jail.FindOrMakeFolder(sub_path, root.st_mode & 07777).In("subPath " + sub_path);
}

Result<std::shared_ptr<const PrivateMount>> PrivateMount::Make(const UniqueFd& what,
                                                               std::string path) {
  struct stat info = {};
  if (fstat(what.get(), &info) != 0) return ErrnoError(errno, "look at what is mounted");
  if (S_ISDIR(info.st_mode)) {
    TRY(MakeFolders(path, 0700));
  } else {
    TRY(MakeFolders(fs::path(path).parent_path().string(), 0700));
    TRY(WriteFileAtomic(path, ""));
  }
  const std::string source = "/proc/self/fd/" + std::to_string(what.get());
  if (mount(source.c_str(), path.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
    return ErrnoError(errno, "bind at " + path);
  return std::shared_ptr<const PrivateMount>(new PrivateMount(std::move(path)));
}

PrivateMount::~PrivateMount() {
  umount2(path_.c_str(), MNT_DETACH);
  // Fails where it is still mounted: what is below is not ours to remove.
  remove(path_.c_str());
}

}  // namespace thinsnap::kubelet
