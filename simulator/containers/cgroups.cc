#include "simulator/containers/cgroups.h"

#include <filesystem>
#include <ftw.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace thinsnap::containers {
namespace {

// Only folders can be removed; the files in them are the kernel's.
bool RemoveBelow(const std::string& path) {
  constexpr int kOpenFolders = 16;
  nftw(
      path.c_str(),
      [](const char* entry, const struct stat*, int type, struct FTW*) {
        if (type == FTW_DP) rmdir(entry);
        return 0;
      },
      kOpenFolders, FTW_DEPTH | FTW_PHYS);
  return access(path.c_str(), F_OK) != 0;
}

}  // namespace

bool RemoveCgroups(const std::string& name) {
  const std::string root = "/sys/fs/cgroup";
  bool all_gone = RemoveBelow(root + "/" + name);
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(root, code)) {
    std::error_code ignored;
    if (entry.is_directory(ignored) && !entry.is_symlink(ignored)) {
      all_gone &= RemoveBelow(entry.path().string() + "/" + name);
    }
  }
  return all_gone;
}

}  // namespace thinsnap::containers
