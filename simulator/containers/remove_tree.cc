#include "simulator/containers/remove_tree.h"

#include <cstdio>
#include <ftw.h>
#include <sys/stat.h>

namespace thinsnap::containers {

void RemoveTree(const std::string& path) {
  constexpr int kOpenFolders = 32;
  nftw(
      path.c_str(),
      [](const char* entry, const struct stat*, int, struct FTW*) {
        remove(entry);
        return 0;
      },
      kOpenFolders, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

}  // namespace thinsnap::containers
