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

}  // namespace thinsnap::kubelet
