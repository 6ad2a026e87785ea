#include "base/core/virtual_clock.h"

namespace thinsnap {

WallTime VirtualClock::Now() {
  return FromUnixSeconds(1'800'000'000) + Duration(elapsed_) + Duration(stepped_);
}

MonoTime VirtualClock::MonoNow() { return MonoTime(Duration(elapsed_)); }

void VirtualClock::AdvanceTo(MonoTime time) {
  const auto elapsed = time.time_since_epoch().count();
  if (elapsed > elapsed_) elapsed_ = elapsed;
}

void VirtualClock::StepWallTime(Duration by) { stepped_ += by.count(); }

}  // namespace thinsnap
