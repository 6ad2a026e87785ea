#include "csi/mount/mount_quiesce.h"

#include <utility>
#include <vector>

namespace thinsnap::mount {
namespace {

constexpr const char* kFrozen = "thinsnap_freeze_seconds";

class HeldMounts final : public pool::Stillness {
 public:
  HeldMounts(Clock& clock, Counters* counters) : clock_(clock), counters_(counters) {}
  ~HeldMounts() override { Thaw().IgnoreError(); }

  Status Add(Mounter& mounter, const std::string& target, Duration most) {
    const MonoTime now = clock_.MonoNow();
    auto mount = TRY(mounter.Freeze(target, most));
    frozen_.push_back({now, std::move(mount)});
    return {};
  }

  Status Thaw() override {
    Status stood;
    for (const Frozen& frozen : frozen_) {
      Status thawed = frozen.mount->Thaw();
      if (stood.ok()) stood = std::move(thawed);
      if (counters_ != nullptr) counters_->Observe(kFrozen, {}, clock_.MonoNow() - frozen.since);
    }
    frozen_.clear();
    return stood;
  }

 private:
  struct Frozen {
    MonoTime since;
    std::unique_ptr<FrozenMount> mount;
  };
  Clock& clock_;
  Counters* const counters_;
  std::vector<Frozen> frozen_;
};

}  // namespace

MountQuiesce::MountQuiesce(Clock& clock, Mounter& mounter, Counters* counters, DeviceOf device_of)
    : clock_(clock), mounter_(mounter), counters_(counters), device_of_(std::move(device_of)) {
  if (counters_ == nullptr) return;
  counters_->Describe(kFrozen, Counters::Kind::kHistogram,
                      "How long a filesystem stood still for a cut, each time.");
}

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
  auto held = std::make_unique<HeldMounts>(clock_, counters_);
  for (const std::string& target : targets) TRY(held->Add(mounter_, target, most));
  return std::unique_ptr<pool::Stillness>(std::move(held));
}

}  // namespace thinsnap::mount
