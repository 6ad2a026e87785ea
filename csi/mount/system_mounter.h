// SystemMounter: Mounter by system calls, in the mount namespace of the calling process.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "csi/mount/mounter.h"

namespace thinsnap::mount {

class SystemMounter : public Mounter {
 public:
  // thaw_socket: see FreezeFilesystem.
  explicit SystemMounter(std::string thaw_socket = "") : thaw_socket_(std::move(thaw_socket)) {}

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
  const std::string thaw_socket_;
};

}  // namespace thinsnap::mount
