// Filesystems on block devices: which one is there, making, checking and growing one. Never makes
// one over anything that it recognises.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/core/command.h"
#include "base/core/result.h"

namespace thinsnap::mount {

// What the driver offers: "ext4" and "xfs".
bool IsSupportedFsType(const std::string& fs_type);

// The smallest device that the filesystem can be made on, with a journal.
std::uint64_t LeastBytes(const std::string& fs_type);

class Filesystem {
 public:
  explicit Filesystem(CommandRunner& runner) : runner_(runner) {}

  // The type that the device's signatures name ("ext4", "LVM2_member", "partition table gpt"),
  // empty if there are none. kFailedPrecondition when they contradict each other.
  Result<std::string> Probe(const std::string& device);
  // device_is_blank: reads as zeros everywhere, so nothing needs to be zeroed. Otherwise leftovers
  // are overwritten: the caller knows that they are nobody's.
  Status Make(const std::string& device, const std::string& fs_type, bool device_is_blank);
  // Replays and repairs what can be repaired without asking; kFailedPrecondition when a person has
  // to look, kInternal when the checker itself did not get through.
  Status Check(const std::string& device, const std::string& fs_type);
  // A random one, so that a copy is known from its origin. It is not mounted, and checked; an XFS
  // log has nothing to replay.
  Status SetNewUuid(const std::string& device, const std::string& fs_type);
  // To the device's size, before it is mounted. Nothing happens for filesystems that only grow
  // while they are mounted.
  Status GrowUnmounted(const std::string& device, const std::string& fs_type,
                       std::uint64_t device_bytes);
  // To the device's size, while it is mounted at `target`. Already that large is fine.
  // kFailedPrecondition where the kernel does not let us: it grows when it is staged the next time.
  Status Grow(const std::string& device, const std::string& fs_type, const std::string& target);
  // What a mount of that type needs besides the user's options.
  static std::vector<std::string> MountWords(const std::string& fs_type);

 private:
  Result<CommandOutput> Run(std::vector<std::string> argv, Duration timeout);

  CommandRunner& runner_;
};

}  // namespace thinsnap::mount
