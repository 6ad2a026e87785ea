#include "simulator/objects/cron.h"

#include <gtest/gtest.h>

namespace thinsnap::objects {
namespace {

TEST(CronTest, KnowsSchedules) {
  for (const char* fine : {"*/5 * * * *", "0 0 1 1 0", "0-30/5,45 1,2 * jan-mar mon", "@daily",
                           "@every 1h", "? * * * ?"}) {
    EXPECT_EQ(CheckCronSchedule(fine), "") << fine;
  }
  EXPECT_EQ(CheckCronSchedule("often"), "expected exactly 5 fields, found 1: [often]");
  for (const char* bad : {"", "60 * * * *", "* * 0 * *", "*/0 * * * *", "5-1 * * * *", "x * * * *",
                          "@never", "* * * * 7", "TZ=UTC * * * * *"}) {
    EXPECT_NE(CheckCronSchedule(bad), "") << bad;
  }
}

TEST(CronTest, KnowsTimeZones) {
  EXPECT_EQ(CheckTimeZone("UTC"), "");
  EXPECT_EQ(CheckTimeZone("Mars/Base"), "unknown time zone Mars/Base");
  EXPECT_NE(CheckTimeZone("../passwd"), "");
  EXPECT_NE(CheckTimeZone("Local"), "");
}

}  // namespace
}  // namespace thinsnap::objects
