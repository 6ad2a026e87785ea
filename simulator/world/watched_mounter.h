// WatchedMounter: SystemMounter on a node of `up`. A node may die while a filesystem stands still,
// and the watchdog dies with it: so what is frozen is handed to the janitor, who lives outside.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "csi/mount/system_mounter.h"

namespace thinsnap::world {

class WatchedMounter final : public mount::SystemMounter {
 public:
  // Without a janitor behind the socket it freezes all the same: the watchdog is still there.
  explicit WatchedMounter(std::string janitor_socket)
      : janitor_socket_(std::move(janitor_socket)) {}

  Result<std::unique_ptr<mount::FrozenMount>> Freeze(const std::string& target,
                                                     Duration deadline) override;

 private:
  const std::string janitor_socket_;
};

}  // namespace thinsnap::world
