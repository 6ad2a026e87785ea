#include "snapshotter/api/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/data/json.h"

namespace thinsnap::backup {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::int64_t Seconds(std::string_view text) {
  const auto period = ParseRetentionPeriod(text);
  return period.ok() ? std::chrono::duration_cast<std::chrono::seconds>(*period).count() : -1;
}

WallTime At(std::string_view text) { return *ParseRfc3339(text); }

RetainedSnapshot Good(std::string name, std::string_view time) {
  return {std::move(name), At(time), true, false};
}
RetainedSnapshot Bad(std::string name, std::string_view time) {
  return {std::move(name), At(time), false, true};
}

TEST(RetentionPeriodTest, AddsUnitsInAnyOrder) {
  EXPECT_EQ(Seconds("30d12h30m"), 30 * 86400 + 12 * 3600 + 30 * 60);
  EXPECT_EQ(Seconds("1y2mo3w4d5h6m"), (365 + 60 + 21 + 4) * 86400 + 5 * 3600 + 6 * 60);
  EXPECT_EQ(Seconds("6m1h"), 3600 + 360);
  EXPECT_EQ(Seconds("2mo"), 60 * 86400);
}

TEST(RetentionPeriodTest, RefusesWhatIsNoPeriod) {
  for (const char* text :
       {"", "5", "1mm", "d", "1s", "-1d", "1 d", "0d", "1.5d", "99999999999999999999y", "1d5"}) {
    EXPECT_EQ(Seconds(text), -1) << text;
  }
}

TEST(RetentionRulesTest, NamesFieldFoundAndAccepted) {
  const auto nothing =
      ParseRetentionRules(JsonObject{{"failedSnapshots", JsonObject{{"last", 2}}}});
  ASSERT_FALSE(nothing.ok());
  EXPECT_THAT(nothing.error().message(), HasSubstr("maxRetentionPeriod"));
  const auto wrong = ParseRetentionRules(JsonObject{{"maxRetentionPeriod", "2months"}});
  ASSERT_FALSE(wrong.ok());
  EXPECT_THAT(wrong.error().message(), HasSubstr("spec.maxRetentionPeriod"));
  EXPECT_THAT(wrong.error().message(), HasSubstr("2months"));
  EXPECT_THAT(wrong.error().message(), HasSubstr("30d12h"));
  const auto negative =
      ParseRetentionRules(JsonObject{{"successfulSnapshots", JsonObject{{"last", -1}}}});
  ASSERT_FALSE(negative.ok());
  EXPECT_THAT(negative.error().message(), HasSubstr("successfulSnapshots.last"));
}

TEST(RetentionTest, KeepsTheLastOfEachKind) {
  RetentionRules rules;
  rules.successful.last = 2;
  rules.failed_last = 1;
  const auto stale =
      PlanRetention(rules,
                    {Good("g1", "2026-01-01T00:00:00Z"), Good("g2", "2026-01-02T00:00:00Z"),
                     Good("g3", "2026-01-03T00:00:00Z"), Bad("b1", "2026-01-01T12:00:00Z"),
                     Bad("b2", "2026-01-02T12:00:00Z")},
                    At("2026-01-04T00:00:00Z"));
  EXPECT_THAT(stale, ElementsAre("g1", "b1"));
}

TEST(RetentionTest, KeepRulesAreAUnion) {
  RetentionRules rules;
  rules.successful.last = 1;
  rules.successful.daily = 2;
  const auto stale = PlanRetention(
      rules,
      {Good("mon-am", "2026-06-01T06:00:00Z"), Good("mon-pm", "2026-06-01T18:00:00Z"),
       Good("tue-am", "2026-06-02T06:00:00Z"), Good("tue-pm", "2026-06-02T18:00:00Z")},
      At("2026-06-03T00:00:00Z"));
  EXPECT_THAT(stale, ElementsAre("mon-am", "tue-am"));
}

TEST(RetentionTest, WeeksBeginOnMonday) {
  RetentionRules rules;
  rules.successful.weekly = 2;
  // Sunday the 7th and Monday the 8th of June 2026 are in different weeks.
  const auto stale =
      PlanRetention(rules,
                    {Good("sat", "2026-06-06T00:00:00Z"), Good("sun", "2026-06-07T00:00:00Z"),
                     Good("mon", "2026-06-08T00:00:00Z")},
                    At("2026-06-09T00:00:00Z"));
  EXPECT_THAT(stale, ElementsAre("sat"));
}

TEST(RetentionTest, DropsWhatIsTooOldButNeverTheNewest) {
  RetentionRules rules;
  rules.max_age = std::chrono::hours(24);
  const auto now = At("2026-06-10T00:00:00Z");
  EXPECT_THAT(
      PlanRetention(
          rules, {Good("old", "2026-06-01T00:00:00Z"), Good("new", "2026-06-09T12:00:00Z")}, now),
      ElementsAre("old"));
  EXPECT_THAT(
      PlanRetention(
          rules, {Good("older", "2026-05-01T00:00:00Z"), Good("old", "2026-06-01T00:00:00Z")}, now),
      ElementsAre("older"));
}

TEST(RetentionTest, LeavesRunningOnesAlone) {
  RetentionRules rules;
  rules.successful.last = 1;
  rules.failed_last = 0;
  const auto stale = PlanRetention(rules, {{"running", At("2020-01-01T00:00:00Z"), false, false}},
                                   At("2026-01-01T00:00:00Z"));
  EXPECT_THAT(stale, IsEmpty());
}

}  // namespace
}  // namespace thinsnap::backup
