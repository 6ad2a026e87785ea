// VirtualClock: time that moves only when it is told to, so that a week takes no time and each run
// sees the same hours.
#pragma once

#include <atomic>

#include "base/core/clock.h"

namespace thinsnap {

// Thread-safe.
class VirtualClock final : public Clock {
 public:
  WallTime Now() override;
  MonoTime MonoNow() override;

  // Moves both times on to `time`; never back.
  void AdvanceTo(MonoTime time);
  // Somebody sets the time of day, forward or back; deadlines do not move.
  void StepWallTime(Duration by);

 private:
  std::atomic<Duration::rep> elapsed_{0}, stepped_{0};
};

}  // namespace thinsnap
