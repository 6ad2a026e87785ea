// Cron schedules: syntax and time zone, as the API validates them.
#pragma once

#include <string>
#include <string_view>

namespace thinsnap::objects {

// Empty if the schedule is fine, else the reason: "expected exactly 5 fields, found 1: [often]".
std::string CheckCronSchedule(std::string_view schedule);
// Empty if the zone is known to the system's zone files, else "unknown time zone Mars/Base".
std::string CheckTimeZone(std::string_view zone);

}  // namespace thinsnap::objects
