// RecordingMounter: Mounter in memory, for tests and simulations: mounts are entries of a table,
// files are names.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "csi/mount/mounter.h"

namespace thinsnap::mount {

class RecordingMounter final : public Mounter {
 public:
  // What was done, in order: "mount /dev/a /x ext4", "bind /x /y ro", "unmount /y", "sync /x",
  // "freeze /x", "thaw /x".
  std::vector<std::string> log() const;
  // The next call whose log line starts with this fails with the error.
  void FailNext(const std::string& prefix, Error error);
  // A link to a device node: both have one number.
  void Link(const std::string& link, const std::string& device);
  // As the kernel does after an error: the filesystem that is mounted there is read-only
  // everywhere.
  void StopWrites(const std::string& target);
  // The devices that nobody can open for writing.
  std::set<std::string> read_only_devices() const;

  Status Mount(const std::string& source, const std::string& target, const std::string& fs_type,
               const std::vector<std::string>& options) override;
  Status Bind(const std::string& source, const std::string& target, bool read_only) override;
  Status Unmount(const std::string& target) override;
  Result<std::optional<MountEntry>> Find(const std::string& target) override;
  Result<std::vector<MountEntry>> List() override;
  Result<PathKind> Kind(const std::string& path) override;
  Status MakeFolder(const std::string& path) override;
  Status MakeFile(const std::string& path) override;
  Status RemovePath(const std::string& path) override;
  Result<FsFigures> Figures(const std::string& path) override;
  Result<std::uint64_t> DeviceNumber(const std::string& device_path) override;
  Result<std::uint64_t> HomeOfNode(const std::string& device_path) override;
  Status SetDeviceReadOnly(const std::string& device_path, bool read_only) override;
  Result<std::uint64_t> DeviceSize(const std::string& device_path) override;
  Status Sync(const std::string& target) override;
  Result<std::unique_ptr<FrozenMount>> Freeze(const std::string& target,
                                              Duration deadline) override;
  Status Thaw(const std::string& target) override;

 private:
  friend class RecordedFreeze;
  Status Record(std::string line) REQUIRES(mutex_);
  const MountEntry* Topmost(const std::string& target) const REQUIRES(mutex_);

  mutable std::mutex mutex_;
  std::vector<std::string> log_ GUARDED_BY(mutex_);
  std::vector<std::pair<std::string, Error>> failures_ GUARDED_BY(mutex_);
  std::vector<MountEntry> mounts_ GUARDED_BY(mutex_);
  std::map<std::string, PathKind> paths_ GUARDED_BY(mutex_);
  std::map<std::string, std::uint64_t> device_numbers_ GUARDED_BY(mutex_);
  std::map<std::string, std::string> links_ GUARDED_BY(mutex_);
  std::set<std::string> read_only_devices_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::mount
