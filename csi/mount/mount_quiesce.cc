#include "csi/mount/mount_quiesce.h"

#include <utility>
#include <vector>

namespace thinsnap::mount {
namespace {

class HeldMounts final : public pool::Stillness {
 public:
  explicit HeldMounts(std::vector<std::unique_ptr<FrozenMount>> frozen)
      : frozen_(std::move(frozen)) {}

  Status Thaw() override {
    Status stood;
    for (const auto& mount : frozen_) {
      Status thawed = mount->Thaw();
      if (stood.ok()) stood = std::move(thawed);
    }
    frozen_.clear();
    return stood;
  }

 private:
  std::vector<std::unique_ptr<FrozenMount>> frozen_;
};

}  // namespace

Result<std::optional<std::string>> MountQuiesce::Reach(const pool::VolumeId& volume,
                                                       const std::vector<MountEntry>& mounts) {
  const auto device = device_of_(volume);
  if (!device) return std::optional<std::string>();
  const std::uint64_t number = TRY(mounter_.DeviceNumber(*device));
  std::string covered;
  for (const MountEntry& entry : mounts) {
    if (entry.device != number) continue;
    const auto on_top = mounter_.Find(entry.target);
    if (on_top.ok() && *on_top && (*on_top)->device == number) return std::optional(entry.target);
    covered = entry.target;
  }
  if (covered.empty()) return std::optional<std::string>();
  return Error(Code::kFailedPrecondition, "volume " + volume.str() + " is mounted at " + covered +
                                              ", which is covered by another mount or gone: it "
                                              "cannot be made to stand still");
}

Result<std::unique_ptr<pool::Stillness>> MountQuiesce::Hold(std::span<const pool::VolumeId> volumes,
                                                            Duration most) {
  const std::vector<MountEntry> mounts = TRY(mounter_.List());
  std::vector<std::string> targets;
  for (const pool::VolumeId& volume : volumes) {
    if (auto target = TRY(Reach(volume, mounts))) targets.push_back(std::move(*target));
  }
  // Freezing writes out, too: the first would stand still while the last is written out.
  if (targets.size() > 1) {
    for (const std::string& target : targets) TRY(mounter_.Sync(target));
  }
  std::vector<std::unique_ptr<FrozenMount>> frozen;
  for (const std::string& target : targets) {
    frozen.push_back(TRY(mounter_.Freeze(target, most)));
  }
  return std::unique_ptr<pool::Stillness>(std::make_unique<HeldMounts>(std::move(frozen)));
}

}  // namespace thinsnap::mount
