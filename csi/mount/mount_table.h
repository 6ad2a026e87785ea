// The text of /proc/self/mountinfo, and mount(8)'s option words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "csi/mount/mounter.h"

namespace thinsnap::mount {

// In the kernel's order: a later mount at the same path lies upon the earlier one. Lines that
// cannot be read are left out.
std::vector<MountEntry> ParseMountTable(std::string_view text);

// Flags for mount(2) and the words that are left for the filesystem, joined by commas.
struct MountOptions {
  unsigned long flags = 0;
  std::string data;
};
MountOptions ParseMountOptions(const std::vector<std::string>& words);

}  // namespace thinsnap::mount
