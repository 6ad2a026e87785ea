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

Result<UniqueFd> MakeHostPath(const Json& source, const HostPaths& paths) {
  const std::string path = fs::path(StringAt(source, "path")).lexically_normal().string();
  const std::string type = StringAt(source, "type");
  const bool lent = std::any_of(paths.lent.begin(), paths.lent.end(), [&path](const auto& each) {
    return path == each || path.starts_with(each.ends_with('/') ? each : each + "/");
  });
  if (!lent) TRY(MakeFolders(paths.root));
  const auto jail =
      TRY(containers::Jail::Open(lent ? "/" : paths.root, containers::Jail::Links::kInside));
  Result<UniqueFd> there = jail.Find(path);
  if (there.Is(Code::kNotFound)) {
    // Without a type like a container engine, which makes the folder where there is nothing.
    if (type.empty() || type == "DirectoryOrCreate") there = jail.FindOrMakeFolder(path, 0755);
    if (type == "FileOrCreate") {
      TRY(jail.WriteText(path, "").In("hostPath " + path));
      there = jail.Find(path);
    }
  }
  if (!there.ok() && !there.Is(Code::kNotFound))
    return std::move(there).error().In("hostPath " + path);
  struct stat info = {};
  if (there.ok() && fstat(there->get(), &info) != 0) return ErrnoError(errno, "hostPath " + path);
  const mode_t kind = info.st_mode & S_IFMT;
  const bool fits =
      (type.empty() && there.ok()) || (type.starts_with("Directory") && S_ISDIR(kind)) ||
      (type.starts_with("File") && S_ISREG(kind)) || (type == "Socket" && S_ISSOCK(kind)) ||
      (type == "CharDevice" && S_ISCHR(kind)) || (type == "BlockDevice" && S_ISBLK(kind));
  if (fits) return there;
  return Error(
      Code::kFailedPrecondition,
      "hostPath " + path + " is not of type " + type +
          (lent ? ""
                : "; a node has a root of its own, in " + paths.root +
                      ": `thinsnap-sim up --host-path " + path + "` lends this machine's"));
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
