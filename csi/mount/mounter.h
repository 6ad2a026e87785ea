// Mounter: the mounts of this machine behind a seam. Real with system calls, recorded in tests.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/core/result.h"

namespace thinsnap::mount {

// A line of /proc/self/mountinfo.
struct MountEntry {
  std::string target;
  std::string source;  // "/dev/loop3"
  std::string fs_type;
  std::string root;  // the part of the filesystem that is mounted: "/" or the path of a bind
  std::uint64_t device = 0;  // st_dev of the filesystem
  bool read_only = false;    // the mount or its filesystem
};

struct FsFigures {
  std::uint64_t total_bytes = 0, available_bytes = 0, used_bytes = 0;
  std::uint64_t total_inodes = 0, available_inodes = 0, used_inodes = 0;
};

enum class PathKind { kMissing, kFile, kFolder, kBlockDevice, kOther };

// A filesystem that stands still. The destructor thaws.
class FrozenMount {
 public:
  virtual ~FrozenMount() = default;
  // kAborted when the filesystem did not stand still until now: the deadline came first.
  virtual Status Thaw() = 0;
};

// Thread-safe. Paths are absolute. kNotFound where a path is missing.
class Mounter {
 public:
  virtual ~Mounter() = default;

  // options: mount(8)'s words; what the kernel has flags for (ro, noatime, ...) becomes a flag, the
  // rest is data.
  virtual Status Mount(const std::string& source, const std::string& target,
                       const std::string& fs_type, const std::vector<std::string>& options) = 0;
  // A folder onto a folder, or a device node onto a file; read_only holds for this mount alone.
  virtual Status Bind(const std::string& source, const std::string& target, bool read_only) = 0;
  // Not mounted and missing are fine. Takes all mounts that lie upon each other there.
  virtual Status Unmount(const std::string& target) = 0;
  // The topmost mount at the path; nullopt when it is no mount point.
  virtual Result<std::optional<MountEntry>> Find(const std::string& target) = 0;
  virtual Result<std::vector<MountEntry>> List() = 0;

  virtual Result<PathKind> Kind(const std::string& path) = 0;
  // Existing is fine. kFailedPrecondition when the folder above is missing: it is the kubelet's,
  // and one made in its place would hide that its filesystem is not mounted.
  virtual Status MakeFolder(const std::string& path) = 0;
  virtual Status MakeFile(const std::string& path) = 0;
  // A file or an empty folder; missing is fine.
  virtual Status RemovePath(const std::string& path) = 0;

  virtual Result<FsFigures> Figures(const std::string& path) = 0;
  // st_rdev of a device node: what mountinfo calls the device of its filesystem.
  virtual Result<std::uint64_t> DeviceNumber(const std::string& device_path) = 0;
  // st_dev of the filesystem that holds the node itself: the device of a mount that binds the node.
  virtual Result<std::uint64_t> HomeOfNode(const std::string& device_path) = 0;
  // Writes of all who have it open are refused. A read-only bind of a device node does not do that.
  virtual Status SetDeviceReadOnly(const std::string& device_path, bool read_only) = 0;
  virtual Result<std::uint64_t> DeviceSize(const std::string& device_path) = 0;

  // Writes out what the page cache holds of the filesystem that is mounted there.
  virtual Status Sync(const std::string& target) = 0;
  // Freezes the filesystem that is mounted there (FIFREEZE): no write is in flight when it returns.
  // Whatever happens to this process, it is thawed at the deadline. kAborted if it is frozen
  // already.
  virtual Result<std::unique_ptr<FrozenMount>> Freeze(const std::string& target,
                                                      Duration deadline) = 0;
  // For leftovers of an earlier life. Not frozen is fine.
  virtual Status Thaw(const std::string& target) = 0;
};

}  // namespace thinsnap::mount
