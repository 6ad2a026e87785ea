#include "simulator/world/watched_mounter.h"

#include "base/core/file.h"
#include "base/core/log.h"
#include "simulator/world/janitor.h"

namespace thinsnap::world {
namespace {

class WatchedMount final : public mount::FrozenMount {
 public:
  WatchedMount(std::unique_ptr<mount::FrozenMount> frozen, UniqueFd asked)
      : frozen_(std::move(frozen)), asked_(std::move(asked)) {}
  ~WatchedMount() override { Thaw().IgnoreError(); }

  Status Thaw() override {
    if (!asked_) return {};
    Status thawed = frozen_->Thaw();
    // Only then: a late thaw by the janitor would meet the next freeze.
    StopAsking(std::move(asked_));
    return thawed;
  }

 private:
  const std::unique_ptr<mount::FrozenMount> frozen_;
  UniqueFd asked_;
};

}  // namespace

Result<std::unique_ptr<mount::FrozenMount>> WatchedMounter::Freeze(const std::string& target,
                                                                   Duration deadline) {
  Result<UniqueFd> asked = AskToThaw(janitor_socket_, target);
  if (!asked.ok()) {
    LogWarning("driver", "the janitor does not watch " + target + ": " + asked.error().ToString());
    return SystemMounter::Freeze(target, deadline);
  }
  Result<std::unique_ptr<mount::FrozenMount>> frozen = SystemMounter::Freeze(target, deadline);
  if (!frozen.ok()) {
    StopAsking(std::move(*asked));
    return frozen.error();
  }
  return std::unique_ptr<mount::FrozenMount>(
      std::make_unique<WatchedMount>(std::move(*frozen), std::move(*asked)));
}

}  // namespace thinsnap::world
