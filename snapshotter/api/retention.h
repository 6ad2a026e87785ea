// Retention: which Snapshots of a repository a RetentionPolicy keeps. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/core/clock.h"
#include "base/core/result.h"
#include "base/data/json_fwd.h"

namespace thinsnap::backup {

struct KeepRules {
  int last = 0, hourly = 0, daily = 0, weekly = 0, monthly = 0, yearly = 0;
  bool any() const { return (last | hourly | daily | weekly | monthly | yearly) != 0; }
};

struct RetentionRules {
  Duration max_age{0};  // zero: no limit
  KeepRules successful;
  int failed_last = 1;
};

// "1y2mo3w4d5h6m" in any order; a month has 30 days, a year 365.
Result<Duration> ParseRetentionPeriod(std::string_view text);
// From the spec of a RetentionPolicy; the error names the field, what was found and what is
// accepted.
Result<RetentionRules> ParseRetentionRules(const Json& spec);

struct RetainedSnapshot {
  std::string name;
  WallTime time;
  bool succeeded = false;
  bool failed = false;  // neither: still running, always kept
};

// The names to remove, oldest first. A successful Snapshot stays while one of the keep rules names
// it or, without any keep rule, while it is young enough; where both are given it also has to be
// young enough, but the newest successful one of a repository always stays. Keep rules count as
// restic's do: the newest of each hour, day, ISO week, month and year (UTC), as many of those as
// the rule says.
std::vector<std::string> PlanRetention(const RetentionRules& rules,
                                       std::vector<RetainedSnapshot> snapshots, WallTime now);

}  // namespace thinsnap::backup
