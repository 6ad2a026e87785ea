#include "simulator/workloads/cron_plan.h"

#include <gtest/gtest.h>

#include "base/kube/object.h"

namespace thinsnap::workloads {
namespace {

WallTime At(const std::string& text) { return ParseRfc3339(text).ValueOr(WallTime{}); }

Json CronJob(const std::string& schedule) {
  return JsonObject{{"apiVersion", "batch/v1"},
                    {"kind", "CronJob"},
                    {"metadata", JsonObject{{"name", "nightly"},
                                            {"namespace", "ns"},
                                            {"uid", "cron-uid"},
                                            {"creationTimestamp", "2026-11-21T03:00:00Z"}}},
                    {"spec", JsonObject{{"schedule", schedule}}}};
}

Json Job(const std::string& name, const std::string& condition,
         const std::string& start = "2026-11-21T03:00:00Z") {
  Json job =
      JsonObject{{"metadata", JsonObject{{"name", name}, {"namespace", "ns"}, {"uid", name}}},
                 {"status", JsonObject{{"startTime", start}}}};
  if (!condition.empty()) {
    Set(job, "status.conditions",
        JsonArray{Json(JsonObject{{"type", condition}, {"status", "True"}})});
    if (condition == "Complete") Set(job, "status.completionTime", Json(start));
  }
  return job;
}

bool HasEvent(const CronPlan& plan, const std::string& reason) {
  for (const auto& event : plan.events) {
    if (event.reason == reason) return true;
  }
  return false;
}

TEST(CronPlanTest, StartsWhatIsDueUnderItsMinute) {
  const Json cron_job = CronJob("*/5 * * * *");
  EXPECT_FALSE(PlanCronJob(cron_job, {}, At("2026-11-21T03:04:59Z")).start);
  const auto plan = PlanCronJob(cron_job, {}, At("2026-11-21T03:05:00Z"));
  ASSERT_TRUE(plan.start);
  EXPECT_EQ(*plan.start, At("2026-11-21T03:05:00Z"));
  EXPECT_EQ(plan.again, Duration(std::chrono::minutes(5) + std::chrono::milliseconds(100)));
  const Json job = CronRun(cron_job, *plan.start);
  EXPECT_EQ(kube::NameOf(job), "nightly-" + std::to_string(UnixSeconds(*plan.start) / 60));
  EXPECT_EQ(kube::AnnotationOf(job, "batch.kubernetes.io/cronjob-scheduled-timestamp"),
            "2026-11-21T03:05:00Z");
}

TEST(CronPlanTest, StartsOnlyTheLastOfThoseMissed) {
  const auto plan = PlanCronJob(CronJob("*/5 * * * *"), {}, At("2026-11-21T04:02:00Z"));
  ASSERT_TRUE(plan.start);
  EXPECT_EQ(*plan.start, At("2026-11-21T04:00:00Z"));
  EXPECT_FALSE(HasEvent(plan, "TooManyMissedTimes"));
  const auto many = PlanCronJob(CronJob("* * * * *"), {}, At("2026-11-28T04:02:30Z"));
  EXPECT_EQ(*many.start, At("2026-11-28T04:02:00Z"));
  EXPECT_TRUE(HasEvent(many, "TooManyMissedTimes"));
}

TEST(CronPlanTest, DoesNotRepeatATime) {
  Json cron_job = CronJob("*/5 * * * *");
  Set(cron_job, "status.lastScheduleTime", "2026-11-21T03:05:00Z");
  EXPECT_FALSE(PlanCronJob(cron_job, {}, At("2026-11-21T03:06:00Z")).start);
  EXPECT_TRUE(PlanCronJob(cron_job, {}, At("2026-11-21T03:10:00Z")).start);
}

TEST(CronPlanTest, StartingDeadline) {
  Json cron_job = CronJob("0 * * * *");
  Set(cron_job, "spec.startingDeadlineSeconds", 30);
  EXPECT_TRUE(PlanCronJob(cron_job, {}, At("2026-11-21T04:00:20Z")).start);
  EXPECT_FALSE(PlanCronJob(cron_job, {}, At("2026-11-21T04:00:40Z")).start);
}

TEST(CronPlanTest, ConcurrencyPolicies) {
  Json cron_job = CronJob("*/5 * * * *");
  const Json running = Job("nightly-1", "");
  Set(cron_job, "status.active", JsonArray{JobReference(running)});
  const auto now = At("2026-11-21T03:05:00Z");
  EXPECT_TRUE(PlanCronJob(cron_job, {running}, now).start);
  Set(cron_job, "spec.concurrencyPolicy", "Forbid");
  const auto forbidden = PlanCronJob(cron_job, {running}, now);
  EXPECT_FALSE(forbidden.start);
  EXPECT_TRUE(HasEvent(forbidden, "JobAlreadyActive"));
  Set(cron_job, "spec.concurrencyPolicy", "Replace");
  const auto replaced = PlanCronJob(cron_job, {running}, now);
  EXPECT_TRUE(replaced.start);
  ASSERT_EQ(replaced.replaced.size(), 1U);
}

TEST(CronPlanTest, FollowsItsJobs) {
  Json cron_job = CronJob("0 0 1 1 *");
  Set(cron_job, "status.active",
      JsonArray{JobReference(Job("done", "")), JobReference(Job("lost", ""))});
  const auto plan =
      PlanCronJob(cron_job, {Job("done", "Complete", "2026-11-21T03:02:00Z"), Job("by-hand", "")},
                  At("2026-11-21T03:05:00Z"));
  EXPECT_EQ(FindArray(plan.status, "active"), nullptr);
  EXPECT_EQ(StringAt(plan.status, "lastSuccessfulTime"), "2026-11-21T03:02:00Z");
  EXPECT_TRUE(HasEvent(plan, "SawCompletedJob"));
  EXPECT_TRUE(HasEvent(plan, "MissingJob"));
  EXPECT_TRUE(HasEvent(plan, "UnexpectedJob"));
}

TEST(CronPlanTest, KeepsAShortHistoryEvenWhenSuspended) {
  Json cron_job = CronJob("*/5 * * * *");
  Set(cron_job, "spec.suspend", true);
  Set(cron_job, "spec.successfulJobsHistoryLimit", 1);
  const auto plan = PlanCronJob(
      cron_job,
      {Job("c", "Complete", "2026-11-21T03:03:00Z"), Job("a", "Complete", "2026-11-21T03:01:00Z"),
       Job("b", "Complete", "2026-11-21T03:02:00Z"), Job("f", "Failed", "2026-11-21T03:00:00Z"),
       Job("g", "Failed", "2026-11-21T03:01:00Z")},
      At("2026-11-21T04:00:00Z"));
  EXPECT_FALSE(plan.start);
  ASSERT_EQ(plan.expired.size(), 3U);
  EXPECT_EQ(kube::NameOf(plan.expired[0]), "a");
  EXPECT_EQ(kube::NameOf(plan.expired[1]), "b");
  EXPECT_EQ(kube::NameOf(plan.expired[2]), "f");
}

TEST(CronPlanTest, SaysWhatIsWrong) {
  Json cron_job = CronJob("often");
  EXPECT_TRUE(
      HasEvent(PlanCronJob(cron_job, {}, At("2026-11-21T04:00:00Z")), "UnparseableSchedule"));
  Set(cron_job, "spec.timeZone", "Mars/Base");
  EXPECT_TRUE(HasEvent(PlanCronJob(cron_job, {}, At("2026-11-21T04:00:00Z")), "UnknownTimeZone"));
}

}  // namespace
}  // namespace thinsnap::workloads
