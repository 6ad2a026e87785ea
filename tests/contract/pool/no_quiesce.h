// NoQuiesce: for cuts of volumes that nobody writes to.
#pragma once

#include <memory>
#include <span>

#include "csi/pool/thin_pool.h"

namespace thinsnap::pool {

class NoQuiesce final : public Quiesce {
 public:
  Result<std::unique_ptr<Stillness>> Hold(std::span<const VolumeId>, Duration) override {
    return std::unique_ptr<Stillness>(std::make_unique<Nothing>());
  }

 private:
  class Nothing final : public Stillness {
    Status Thaw() override { return {}; }
  };
};

}  // namespace thinsnap::pool
