#include "snapshotter/store/directory_walk.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <vector>

#include "base/core/file.h"

namespace thinsnap::store {
namespace {

struct Walk {
  const std::string& prefix;
  const std::string& after;
  const std::function<bool(const std::string&, const struct stat&)>& visit;

  // True if some key under this "folder/" may be asked for.
  bool Concerns(const std::string& folder_key) const {
    if (folder_key.compare(0, std::min(folder_key.size(), prefix.size()), prefix, 0,
                           std::min(folder_key.size(), prefix.size())) != 0) {
      return false;
    }
    return folder_key > after || after.starts_with(folder_key);
  }

  // False when the visitor had enough.
  Result<bool> Enter(const std::string& path, const std::string& key_prefix) const {
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), &::closedir);
    if (!dir) {
      if (errno == ENOENT || errno == ENOTDIR) return true;
      return ErrnoError(errno, "open folder " + path, kForbidden);
    }
    // A folder sorts as "name/", since that is how its keys begin.
    std::vector<std::string> names;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(dir.get());
      if (entry == nullptr) {
        if (errno != 0) return ErrnoError(errno, "read folder " + path, kForbidden);
        break;
      }
      std::string name = entry->d_name;
      if (name == "." || name == ".." || (key_prefix.empty() && name == kOwnFolder)) continue;
      bool is_folder = entry->d_type == DT_DIR;
      if (entry->d_type == DT_UNKNOWN) {
        struct stat stat;
        is_folder = ::fstatat(::dirfd(dir.get()), name.c_str(), &stat, AT_SYMLINK_NOFOLLOW) == 0 &&
                    S_ISDIR(stat.st_mode);
      }
      if (is_folder) name += '/';
      const std::string key = key_prefix + name;
      if (is_folder ? Concerns(key) : key.starts_with(prefix) && key > after)
        names.push_back(std::move(name));
    }
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      if (name.back() == '/') {
        if (!TRY(Enter(path + "/" + name.substr(0, name.size() - 1), key_prefix + name)))
          return false;
        continue;
      }
      struct stat stat;
      if (::fstatat(::dirfd(dir.get()), name.c_str(), &stat, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;
        return ErrnoError(errno, "stat " + path + "/" + name, kForbidden);
      }
      if (S_ISREG(stat.st_mode) && !visit(key_prefix + name, stat)) return false;
    }
    return true;
  }
};

}  // namespace

Status WalkInOrder(
    const std::string& folder, const std::string& prefix, const std::string& after,
    const std::function<bool(const std::string& key, const struct stat& stat)>& visit) {
  const std::size_t slash = prefix.rfind('/');
  const std::string start = slash == prefix.npos ? "" : prefix.substr(0, slash + 1);
  // ".." in a prefix would lead out of the folder; no key has such parts.
  for (const char* part : {"../", "./", "//"}) {
    const std::string text = part;
    if (start.starts_with(text) || ("/" + start).find("/" + text) != std::string::npos) return {};
  }
  if (start.starts_with('/') || start.starts_with(std::string(kOwnFolder) + "/")) return {};
  const std::string path =
      start.empty() ? folder : folder + "/" + start.substr(0, start.size() - 1);
  const Walk walk{prefix, after, visit};
  TRY(walk.Enter(path, start));
  return {};
}

std::size_t KeyStripe(const std::string& key, std::size_t stripes) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash % stripes;
}

}  // namespace thinsnap::store
