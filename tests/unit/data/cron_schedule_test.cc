#include "base/data/cron_schedule.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace thinsnap {
namespace {

WallTime At(const std::string& text) {
  const auto time = ParseRfc3339(text);
  EXPECT_TRUE(time.ok()) << text;
  return time.ok() ? *time : WallTime{};
}

// The next times as the zone writes them; "never" ends the list.
std::vector<std::string> Times(const std::string& schedule, const std::string& zone_name,
                               const std::string& after, int count) {
  const auto zone = TimeZone::Find(zone_name);
  EXPECT_TRUE(zone.ok());
  const auto parsed = CronSchedule::Parse(schedule, *zone);
  EXPECT_TRUE(parsed.ok()) << parsed.error().message();
  std::vector<std::string> times;
  WallTime time = At(after);
  for (int i = 0; i < count && parsed.ok(); ++i) {
    const auto next = parsed->Next(time);
    if (!next) {
      times.push_back("never");
      break;
    }
    times.push_back(zone->Format(*next));
    time = *next;
  }
  return times;
}

using Texts = std::vector<std::string>;

TEST(CronScheduleTest, StepsListsRangesAndNames) {
  EXPECT_EQ(Times("*/15 * * * *", "", "2026-11-21T03:07:30Z", 2),
            (Texts{"2026-11-21T03:15:00Z", "2026-11-21T03:30:00Z"}));
  EXPECT_EQ(Times("50/5 23 * * *", "", "2026-11-21T23:51:00Z", 2),
            (Texts{"2026-11-21T23:55:00Z", "2026-11-22T23:50:00Z"}));
  EXPECT_EQ(Times("0 8-10/2,20 * JAN mon-tue", "", "2026-11-21T00:00:00Z", 3),
            (Texts{"2027-01-04T08:00:00Z", "2027-01-04T10:00:00Z", "2027-01-04T20:00:00Z"}));
}

TEST(CronScheduleTest, DayOfMonthOrDayOfWeekWhereBothAreGiven) {
  EXPECT_EQ(Times("0 0 13 * FRI", "", "2026-11-21T00:00:00Z", 3),
            (Texts{"2026-11-27T00:00:00Z", "2026-12-04T00:00:00Z", "2026-12-11T00:00:00Z"}));
  EXPECT_EQ(Times("0 0 13 * ?", "", "2026-11-21T00:00:00Z", 1), (Texts{"2026-12-13T00:00:00Z"}));
}

TEST(CronScheduleTest, MonthEndsAndLeapDays) {
  EXPECT_EQ(Times("0 0 31 * *", "", "2026-01-31T00:00:00Z", 2),
            (Texts{"2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"}));
  EXPECT_EQ(Times("0 0 29 2 *", "", "2026-11-21T00:00:00Z", 1), (Texts{"2028-02-29T00:00:00Z"}));
  EXPECT_EQ(Times("0 0 30 2 *", "", "2026-11-21T00:00:00Z", 1), (Texts{"never"}));
  EXPECT_EQ(Times("59 23 31 12 *", "", "2026-12-31T23:59:00Z", 1), (Texts{"2027-12-31T23:59:00Z"}));
}

TEST(CronScheduleTest, Descriptors) {
  EXPECT_EQ(Times("@hourly", "", "2026-11-21T03:00:00Z", 1), (Texts{"2026-11-21T04:00:00Z"}));
  EXPECT_EQ(Times("@weekly", "", "2026-11-21T03:00:00Z", 1), (Texts{"2026-11-22T00:00:00Z"}));
  EXPECT_EQ(Times("@yearly", "", "2026-11-21T03:00:00Z", 1), (Texts{"2027-01-01T00:00:00Z"}));
  EXPECT_EQ(Times("@every 1h30m", "", "2026-11-21T03:00:00Z", 2),
            (Texts{"2026-11-21T04:30:00Z", "2026-11-21T06:00:00Z"}));
}

TEST(CronScheduleTest, SkippedHourIsSkipped) {
  // On 2012-03-11 New York went from 02:00 to 03:00.
  EXPECT_EQ(Times("0 2 * * *", "America/New_York", "2012-03-11T05:00:00Z", 1),
            (Texts{"2012-03-12T02:00:00-04:00"}));
  EXPECT_EQ(Times("0 * * * *", "America/New_York", "2012-03-11T06:00:00Z", 2),
            (Texts{"2012-03-11T03:00:00-04:00", "2012-03-11T04:00:00-04:00"}));
  // London, the last Sunday of March, 01:00 to 02:00.
  EXPECT_EQ(Times("30 1 * * *", "Europe/London", "2026-03-28T12:00:00Z", 1),
            (Texts{"2026-03-30T01:30:00+01:00"}));
}

TEST(CronScheduleTest, RepeatedHourIsMetTwice) {
  // On 2012-11-04 New York went from 02:00 back to 01:00.
  EXPECT_EQ(Times("30 1 * * *", "America/New_York", "2012-11-04T04:00:00Z", 3),
            (Texts{"2012-11-04T01:30:00-04:00", "2012-11-04T01:30:00-05:00",
                   "2012-11-05T01:30:00-05:00"}));
}

TEST(CronScheduleTest, OddZones) {
  // Lord Howe shifts by half an hour; Apia left out a whole day at the end of 2011.
  EXPECT_EQ(Times("0 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00:00Z", 3),
            (Texts{"2026-04-05T02:00:00+10:30", "2026-04-05T03:00:00+10:30",
                   "2026-04-05T04:00:00+10:30"}));
  EXPECT_EQ(Times("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00Z", 2),
            (Texts{"2011-12-29T12:00:00-10:00", "2011-12-31T12:00:00+14:00"}));
  // Beirut changes at midnight: that day begins at 01:00.
  EXPECT_EQ(Times("0 1 * * *", "Asia/Beirut", "2024-03-30T12:00:00Z", 1),
            (Texts{"2024-03-31T01:00:00+03:00"}));
}

TEST(CronScheduleTest, ZonePrefixReplacesTheZone) {
  EXPECT_EQ(Times("TZ=Asia/Tokyo 0 9 * * *", "", "2026-11-21T03:00:00Z", 1),
            (Texts{"2026-11-22T00:00:00Z"}));
}

TEST(CronScheduleTest, RefusesWithAReason) {
  const auto zone = TimeZone::Find("");
  ASSERT_TRUE(zone.ok());
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"often", "expected exactly 5 fields, found 1"},
           {"60 * * * *", "above maximum (59): 60"},
           {"* * 0 * *", "below minimum (1): 0"},
           {"* * * * 7", "above maximum (6): 7"},
           {"* * * foo *", "failed to parse month \"foo\""},
           {"5-1 * * * *", "beyond end of range"},
           {"*/0 * * * *", "should be a positive number"},
           {"1-2-3 * * * *", "too many hyphens"},
           {"@often", "unrecognized descriptor: @often"},
           {"@every week", "failed to parse duration"},
           {"TZ=Mars/Base * * * * *", "unknown time zone Mars/Base"}}) {
    const auto parsed = CronSchedule::Parse(text, *zone);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.error().code(), Code::kInvalidArgument);
    EXPECT_NE(parsed.error().message().find(part), std::string::npos) << parsed.error().message();
  }
  EXPECT_FALSE(TimeZone::Find("Mars/Base").ok());
}

}  // namespace
}  // namespace thinsnap
