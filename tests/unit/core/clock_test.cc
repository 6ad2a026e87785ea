#include "base/core/clock.h"

#include <gtest/gtest.h>

namespace thinsnap {
namespace {

using std::chrono_literals::operator""min;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""ns;

TEST(ClockTest, SpellsAndReadsRfc3339) {
  const WallTime time = FromUnixSeconds(1'705'402'801) + 123'456'789ns;
  EXPECT_EQ(FormatRfc3339(time), "2024-01-16T11:00:01Z");
  EXPECT_EQ(FormatRfc3339Micro(time), "2024-01-16T11:00:01.123456Z");
  EXPECT_EQ(*ParseRfc3339("2024-01-16T11:00:01.123456789Z"), time);
  EXPECT_EQ(*ParseRfc3339("2024-01-16T13:00:01+02:00"), FromUnixSeconds(1'705'402'801));
  EXPECT_LT(*ParseRfc3339("0001-01-01T00:00:00Z"), FromUnixSeconds(-9'000'000'000));
  EXPECT_GT(*ParseRfc3339("9999-12-31T23:59:59-23:59"), FromUnixSeconds(9'000'000'000));
}

TEST(ClockTest, RefusesWhatIsNoTime) {
  for (const char* text :
       {"", "2024-01-16", "2024-02-30T00:00:00Z", "2024-01-16T25:00:00Z", "2024-01-16T11:00:01",
        "2024-01-16T11:00:01.Z", "2024-01-16T11:00:01Zx", "2024-01-16T11:00:01+99:99",
        "2024-01-16T11:00:01+24:00", "2024-01-16T11:00:01-00:60"}) {
    EXPECT_FALSE(ParseRfc3339(text).ok()) << text;
  }
}

TEST(ClockTest, SpellsAndReadsHttpDates) {
  const WallTime time = FromUnixSeconds(784'111'777);
  EXPECT_EQ(FormatHttpDate(time), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(*ParseHttpDate("Sun, 06 Nov 1994 08:49:37 GMT"), time);
  EXPECT_FALSE(ParseHttpDate("Sunday, 06-Nov-94 08:49:37 GMT").ok());
}

TEST(ClockTest, ReadsDurationsAsGoDoes) {
  EXPECT_EQ(*ParseDuration("1h30m"), 90min);
  EXPECT_EQ(*ParseDuration("300ms"), 300ms);
  EXPECT_EQ(*ParseDuration("1.5s"), 1500ms);
  EXPECT_EQ(*ParseDuration("0"), 0ns);
  for (const char* text :
       {"", "1", "-1s", "1 s", "s", "1d", "99999999999h", "nans", "infs", "nan", "-0s", "+1s",
        "1h-1m", "1e3s", "0x1s", "9223372037s", "5000000000s5000000000s"}) {
    EXPECT_FALSE(ParseDuration(text).ok()) << text;
  }
  EXPECT_EQ(FormatDuration(90min), "1h30m0s");
}

}  // namespace
}  // namespace thinsnap
