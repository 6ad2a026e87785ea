// CronSchedule: the five-field schedules of CronJobs, as robfig/cron reads them. Wall clock times
// that a change of the clocks skips are skipped; those that it repeats happen twice.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/core/clock.h"
#include "base/core/result.h"

namespace thinsnap {

// A zone of the system's zone files. Shared and immutable.
class TimeZone {
 public:
  // kInvalidArgument: "unknown time zone Mars/Base". Empty is UTC.
  static Result<TimeZone> Find(const std::string& name);

  struct Local {
    int year, month, day, weekday /* 0 is Sunday */, hour, minute, second;
  };
  Local ToLocal(WallTime time) const;
  // A time that the clocks skip becomes one as far after their change; of a repeated one it is the
  // first.
  WallTime FromLocal(int year, int month, int day, int hour) const;
  // RFC 3339 with the zone's offset then.
  std::string Format(WallTime time) const;

 private:
  const void* zone_ = nullptr;  // date::time_zone, which lives for ever
};

class CronSchedule {
 public:
  // Minutes, hours, days, months, weekdays with names, lists, ranges, steps and `?`; @yearly,
  // @annually, @monthly,
  // @weekly, @daily, @midnight, @hourly, @every <duration>. A TZ= or CRON_TZ= prefix replaces
  // `zone`. kInvalidArgument says what was found and what would be accepted.
  static Result<CronSchedule> Parse(std::string_view text, const TimeZone& zone);

  // The first time after `after`; none within five years: nullopt ("30 2 30 2 *").
  std::optional<WallTime> Next(WallTime after) const;

 private:
  bool DayMatches(const TimeZone::Local& local) const;

  TimeZone zone_;
  std::uint64_t minutes_ = 0, hours_ = 0, days_ = 0, months_ = 0, weekdays_ = 0;  // bit n: value n
  bool any_day_ = false, any_weekday_ = false;  // written as * or ?
  Duration every_ = Duration::zero();           // @every
};

}  // namespace thinsnap
