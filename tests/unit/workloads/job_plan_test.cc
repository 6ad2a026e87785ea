#include "simulator/workloads/job_plan.h"

#include <gtest/gtest.h>

#include "base/kube/object.h"

namespace thinsnap::workloads {
namespace {

constexpr Duration kBackoff = std::chrono::seconds(10);
const WallTime kNow = FromUnixSeconds(1'795'000'000);

Json Job(const Json& spec) {
  return JsonObject{
      {"apiVersion", "batch/v1"},
      {"kind", "Job"},
      {"metadata", JsonObject{{"name", "work"}, {"namespace", "ns"}, {"uid", "job-uid"}}},
      {"spec", spec}};
}

Json Pod(const std::string& uid, const std::string& phase, bool held = true,
         WallTime finished = kNow) {
  Json pod = JsonObject{{"apiVersion", "v1"},
                        {"kind", "Pod"},
                        {"metadata", JsonObject{{"name", uid}, {"namespace", "ns"}, {"uid", uid}}},
                        {"spec", JsonObject()},
                        {"status", JsonObject{{"phase", phase}}}};
  if (held) kube::AddFinalizer(pod, kJobTracking);
  if (phase == "Failed" || phase == "Succeeded") {
    Set(pod, "status.containerStatuses",
        JsonArray{Json(JsonObject{
            {"name", "main"},
            {"state",
             JsonObject{{"terminated", JsonObject{{"exitCode", phase == "Failed" ? 3 : 0},
                                                  {"finishedAt", FormatRfc3339(finished)}}}}}})});
  }
  return pod;
}

// The Job as the plan leaves it.
Json After(Json job, const JobPlan& plan) {
  Set(job, "status", plan.status);
  return job;
}

TEST(JobPlanTest, StartsAsManyPodsAsItMay) {
  const auto plan =
      PlanJob(Job(JsonObject{{"parallelism", 2}, {"completions", 3}}), {}, kNow, kBackoff);
  EXPECT_EQ(plan.create, (std::vector<int>{-1, -1}));
  EXPECT_EQ(StringAt(plan.status, "startTime"), FormatRfc3339(kNow));
}

TEST(JobPlanTest, CountsAPodExactlyOnceWhateverIsInterrupted) {
  const Json job = Job(JsonObject{{"completions", 1}});
  // First the uid is noted and the pod released ...
  const auto noted = PlanJob(job, {Pod("a", "Succeeded")}, kNow, kBackoff);
  EXPECT_EQ(ToJson(*Find(noted.status, "uncountedTerminatedPods")), R"({"succeeded":["a"]})");
  EXPECT_EQ(IntAt(noted.status, "succeeded"), 0);
  EXPECT_EQ(noted.release.size(), 1U);
  EXPECT_TRUE(kube::ConditionIs(After(job, noted), "SuccessCriteriaMet"));
  EXPECT_FALSE(IsJobFinished(After(job, noted)));
  // ... a crash before the release repeats the same ...
  const auto repeated = PlanJob(After(job, noted), {Pod("a", "Succeeded")}, kNow, kBackoff);
  EXPECT_EQ(repeated.status, noted.status);
  // ... and only then it counts, and the Job is complete.
  const auto counted = PlanJob(After(job, noted), {Pod("a", "Succeeded", false)}, kNow, kBackoff);
  EXPECT_EQ(IntAt(counted.status, "succeeded"), 1);
  EXPECT_TRUE(IsJobComplete(After(job, counted)));
  EXPECT_EQ(StringAt(counted.status, "completionTime"), FormatRfc3339(kNow));
  ASSERT_EQ(counted.events.size(), 1U);
  EXPECT_EQ(counted.events[0].reason, "Completed");
  // A pod that was collected before it was counted still counts.
  EXPECT_EQ(IntAt(PlanJob(After(job, noted), {}, kNow, kBackoff).status, "succeeded"), 1);
}

TEST(JobPlanTest, WaitsLongerAfterEachFailure) {
  const Json job = Job(JsonObject{{"completions", 1}, {"backoffLimit", 6}});
  auto plan = PlanJob(job, {Pod("a", "Failed")}, kNow, kBackoff);
  EXPECT_TRUE(plan.create.empty());
  EXPECT_EQ(plan.again, Duration(std::chrono::seconds(10)));
  plan = PlanJob(After(job, plan), {Pod("a", "Failed", false)}, kNow + std::chrono::seconds(10),
                 kBackoff);
  EXPECT_EQ(plan.create.size(), 1U);
  const auto later = kNow + std::chrono::seconds(12);
  plan = PlanJob(After(job, plan), {Pod("a", "Failed", false), Pod("b", "Failed", true, later)},
                 later, kBackoff);
  EXPECT_TRUE(plan.create.empty());
  EXPECT_EQ(plan.again, Duration(std::chrono::seconds(20)));
}

TEST(JobPlanTest, FailsBeyondTheBackoffLimitOnceItsPodsAreGone) {
  const Json job = Job(JsonObject{{"completions", 2}, {"parallelism", 2}, {"backoffLimit", 0}});
  auto plan = PlanJob(job, {Pod("a", "Failed"), Pod("b", "Running")}, kNow, kBackoff);
  const Json failing = After(job, plan);
  const Json* target = kube::FindCondition(failing, "FailureTarget");
  ASSERT_NE(target, nullptr);
  EXPECT_EQ(StringAt(*target, "reason"), "BackoffLimitExceeded");
  ASSERT_EQ(plan.remove.size(), 1U);
  EXPECT_EQ(kube::NameOf(plan.remove[0]), "b");
  EXPECT_FALSE(IsJobFinished(After(job, plan)));
  Json going = Pod("b", "Running");
  Set(going, "metadata.deletionTimestamp", Json(FormatRfc3339(kNow)));
  plan = PlanJob(After(job, plan), {Pod("a", "Failed", false), going}, kNow, kBackoff);
  EXPECT_FALSE(IsJobFinished(After(job, plan)));
  plan = PlanJob(After(job, plan), {Pod("a", "Failed", false)}, kNow, kBackoff);
  EXPECT_TRUE(kube::ConditionIs(After(job, plan), "Failed"));
  EXPECT_EQ(IntAt(plan.status, "failed"), 2);
}

TEST(JobPlanTest, RestartsCountAgainstTheLimit) {
  Json job = Job(JsonObject{{"completions", 1}, {"backoffLimit", 2}});
  Set(job, "spec.template.spec.restartPolicy", "OnFailure");
  Json pod = Pod("a", "Running");
  Set(pod, "status.containerStatuses", JsonArray{Json(JsonObject{{"restartCount", 1}})});
  EXPECT_EQ(kube::FindCondition(After(job, PlanJob(job, {pod}, kNow, kBackoff)), "FailureTarget"),
            nullptr);
  Set(pod, "status.containerStatuses", JsonArray{Json(JsonObject{{"restartCount", 2}})});
  EXPECT_NE(kube::FindCondition(After(job, PlanJob(job, {pod}, kNow, kBackoff)), "FailureTarget"),
            nullptr);
}

TEST(JobPlanTest, DeadlineEndsIt) {
  Json job = Job(JsonObject{{"completions", 1}, {"activeDeadlineSeconds", 60}});
  auto plan = PlanJob(job, {}, kNow, kBackoff);
  EXPECT_EQ(plan.again, Duration(std::chrono::seconds(60)));
  plan =
      PlanJob(After(job, plan), {Pod("a", "Running")}, kNow + std::chrono::seconds(60), kBackoff);
  EXPECT_EQ(StringAt(*kube::FindCondition(After(job, plan), "FailureTarget"), "reason"),
            "DeadlineExceeded");
  EXPECT_EQ(plan.remove.size(), 1U);
}

TEST(JobPlanTest, SuspendingSendsPodsAwayWithoutCountingThem) {
  Json job = Job(JsonObject{{"completions", 1}, {"suspend", true}});
  auto plan = PlanJob(job, {Pod("a", "Running")}, kNow, kBackoff);
  EXPECT_TRUE(kube::ConditionIs(After(job, plan), "Suspended"));
  EXPECT_EQ(plan.remove.size(), 1U);
  EXPECT_EQ(plan.release.size(), 1U);
  EXPECT_EQ(StringAt(plan.status, "startTime"), "");
  Json resumed = After(job, plan);
  Set(resumed, "spec.suspend", false);
  plan = PlanJob(resumed, {}, kNow, kBackoff);
  EXPECT_TRUE(kube::ConditionIs(After(resumed, plan), "Suspended", "False"));
  EXPECT_EQ(plan.create.size(), 1U);
  EXPECT_EQ(IntAt(plan.status, "failed"), 0);
}

TEST(JobPlanTest, WorkQueueEndsWithItsLastPod) {
  const Json job = Job(JsonObject{{"parallelism", 2}});
  auto plan = PlanJob(job, {Pod("a", "Succeeded"), Pod("b", "Running")}, kNow, kBackoff);
  EXPECT_TRUE(plan.create.empty());
  EXPECT_EQ(kube::FindCondition(After(job, plan), "SuccessCriteriaMet"), nullptr);
  plan = PlanJob(After(job, plan), {Pod("a", "Succeeded", false), Pod("b", "Succeeded")}, kNow,
                 kBackoff);
  EXPECT_TRUE(kube::ConditionIs(After(job, plan), "SuccessCriteriaMet"));
}

TEST(JobPlanTest, IndexesEachOnce) {
  const Json job =
      Job(JsonObject{{"completions", 4}, {"parallelism", 4}, {"completionMode", "Indexed"}});
  Json done = Pod("a", "Succeeded"), running = Pod("b", "Running");
  kube::SetAnnotation(done, kCompletionIndex, "1");
  kube::SetAnnotation(running, kCompletionIndex, "3");
  const auto plan = PlanJob(job, {done, running}, kNow, kBackoff);
  EXPECT_EQ(plan.create, (std::vector<int>{0, 2}));
  EXPECT_EQ(StringAt(plan.status, "completedIndexes"), "1");
}

TEST(JobPlanTest, FailurePolicyDecidesByExitCode) {
  Json job = Job(JsonObject{{"completions", 1}, {"backoffLimit", 6}});
  const auto rule = [](const char* action) {
    return Json(JsonArray{Json(JsonObject{
        {"action", action},
        {"onExitCodes", JsonObject{{"operator", "In"}, {"values", JsonArray{Json(3)}}}}})});
  };
  Set(job, "spec.podFailurePolicy.rules", rule("FailJob"));
  auto plan = PlanJob(job, {Pod("a", "Failed")}, kNow, kBackoff);
  EXPECT_EQ(StringAt(*kube::FindCondition(After(job, plan), "FailureTarget"), "reason"),
            "PodFailurePolicy");
  Set(job, "spec.podFailurePolicy.rules", rule("Ignore"));
  plan = PlanJob(job, {Pod("a", "Failed")}, kNow, kBackoff);
  EXPECT_EQ(FindArray(plan.status, "uncountedTerminatedPods.failed"), nullptr);
  EXPECT_EQ(plan.release.size(), 1U);
}

TEST(JobPlanTest, IndexLists) {
  EXPECT_EQ(FormatIndexes({0, 1, 2, 5, 7, 8}), "0-2,5,7,8");
  EXPECT_EQ(ParseIndexes("0-2,5,7,8"), (std::vector<int>{0, 1, 2, 5, 7, 8}));
  EXPECT_TRUE(ParseIndexes("").empty());
}

TEST(JobPlanTest, PodsCarryLabelsAndFinalizer) {
  Json job = Job(JsonObject{{"completions", 1}});
  Set(job, "spec.template.metadata.labels.app", "x");
  const Json pod = JobPod(job, -1, "abcde");
  EXPECT_EQ(kube::NameOf(pod), "work-abcde");
  EXPECT_EQ(kube::LabelOf(pod, "app"), "x");
  EXPECT_EQ(kube::LabelOf(pod, "batch.kubernetes.io/job-name"), "work");
  EXPECT_EQ(kube::LabelOf(pod, "controller-uid"), "job-uid");
  EXPECT_TRUE(kube::HasFinalizer(pod, kJobTracking));
  EXPECT_TRUE(kube::IsOwnedBy(pod, "job-uid"));
}

}  // namespace
}  // namespace thinsnap::workloads
