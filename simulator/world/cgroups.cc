#include "simulator/world/cgroups.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

namespace thinsnap::world {
namespace {

// Only folders can be removed; the files in them are the kernel's.
void RemoveBelow(const std::string& path) {
  constexpr int kOpenFolders = 16;
  nftw(
      path.c_str(),
      [](const char* entry, const struct stat*, int type, struct FTW*) {
        if (type == FTW_DP) rmdir(entry);
        return 0;
      },
      kOpenFolders, FTW_DEPTH | FTW_PHYS);
}

}  // namespace

void RemoveCgroups(const std::string& name) {
  const std::string root = "/sys/fs/cgroup";
  RemoveBelow(root + "/" + name);
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(root, code)) {
    std::error_code ignored;
    if (entry.is_directory(ignored) && !entry.is_symlink(ignored)) RemoveBelow(entry.path().string() + "/" + name);
  }
}

}  // namespace thinsnap::world
