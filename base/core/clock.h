// Clock: where time comes from. Real in production, virtual in the simulator; code never asks
// which.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/core/result.h"

namespace thinsnap {

using Duration = std::chrono::nanoseconds;
// Time of day, UTC. For what people and other machines read; it may jump.
using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;
// Time that never goes back; for deadlines and measurements inside one process.
struct MonoClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonoClock>;
  static constexpr bool is_steady = true;
};
using MonoTime = MonoClock::time_point;
inline constexpr MonoTime kForever = MonoTime::max();

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime Now() = 0;
  virtual MonoTime MonoNow() = 0;
};

class SystemClock final : public Clock {
 public:
  WallTime Now() override;
  MonoTime MonoNow() override;
};

// RFC 3339 in UTC: "2026-11-21T02:57:00Z"; Micro has six digits of fraction (Kubernetes MicroTime).
std::string FormatRfc3339(WallTime time);
std::string FormatRfc3339Micro(WallTime time);
Result<WallTime> ParseRfc3339(std::string_view text);
// IMF-fixdate of RFC 9110, "Sat, 21 Nov 2026 02:57:00 GMT": HTTP's Date.
std::string FormatHttpDate(WallTime time);
Result<WallTime> ParseHttpDate(std::string_view text);

inline std::int64_t UnixSeconds(WallTime time) {
  return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
}
inline WallTime FromUnixSeconds(std::int64_t seconds) {
  return WallTime(std::chrono::seconds(seconds));
}

// Go's spelling of durations: "1h30m0s", "300ms". Units h, m, s, ms, us, ns; fractions allowed;
// never negative.
Result<Duration> ParseDuration(std::string_view text);
std::string FormatDuration(Duration duration);

}  // namespace thinsnap
