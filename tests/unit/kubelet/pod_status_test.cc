#include "simulator/kubelet/pod_status.h"

#include <gtest/gtest.h>

#include "base/data/json.h"
#include "base/kube/object.h"

namespace thinsnap::kubelet {
namespace {

const WallTime kNow = FromUnixSeconds(1'800'000'000);

ContainerReport Container(const std::string& name) {
  ContainerReport container;
  container.name = name;
  container.image = "busybox:1.36";
  return container;
}
ContainerReport Running(const std::string& name) {
  ContainerReport container = Container(name);
  container.running = container.ready = container.started = true;
  container.started_at = kNow;
  return container;
}
ContainerReport Ended(const std::string& name, int exit_code) {
  ContainerReport container = Container(name);
  container.ended = Termination{.exit_code = exit_code,
                                .reason = exit_code == 0 ? "Completed" : "Error",
                                .message = "",
                                .container_id = "",
                                .started = kNow,
                                .finished = kNow};
  return container;
}

PodReport Report(RestartPolicy policy, std::vector<ContainerReport> main) {
  PodReport report;
  report.restart_policy = policy;
  report.init_done = true;
  report.main = std::move(main);
  return report;
}

TEST(PodStatusTest, PhasesFollowContainers) {
  EXPECT_EQ(PhaseOf(Report(RestartPolicy::kAlways, {Container("a")}), ""), "Pending");
  EXPECT_EQ(PhaseOf(Report(RestartPolicy::kAlways, {Running("a"), Ended("b", 1)}), ""), "Running");
  EXPECT_EQ(PhaseOf(Report(RestartPolicy::kAlways, {Ended("a", 0)}), ""), "Running");
  EXPECT_EQ(PhaseOf(Report(RestartPolicy::kNever, {Ended("a", 0), Ended("b", 0)}), ""),
            "Succeeded");
  EXPECT_EQ(PhaseOf(Report(RestartPolicy::kNever, {Ended("a", 0), Ended("b", 2)}), ""), "Failed");
  EXPECT_EQ(PhaseOf(Report(RestartPolicy::kOnFailure, {Ended("a", 2)}), ""), "Running");
}

TEST(PodStatusTest, AnEndIsNeverLeft) {
  EXPECT_EQ(PhaseOf(Report(RestartPolicy::kNever, {Running("a")}), "Failed"), "Failed");
}

TEST(PodStatusTest, AFailedInitContainerFailsThePod) {
  PodReport report = Report(RestartPolicy::kNever, {Container("a")});
  report.init_done = false;
  report.init = {Ended("i", 1)};
  EXPECT_EQ(PhaseOf(report, ""), "Failed");
  report.restart_policy = RestartPolicy::kAlways;
  EXPECT_EQ(PhaseOf(report, ""), "Pending");
}

TEST(PodStatusTest, CrashLoopShowsTheLastEndAsHistory) {
  ContainerReport container = Ended("a", 1);
  container.restart_count = 3;
  container.waiting_reason = "CrashLoopBackOff";
  const Json status =
      BuildPodStatus(Json(JsonObject{}), Report(RestartPolicy::kAlways, {container}), kNow);
  const Json& entry = ArrayAt(status, "containerStatuses")[0];
  EXPECT_EQ(StringAt(entry, "state.waiting.reason"), "CrashLoopBackOff");
  EXPECT_EQ(IntAt(entry, "lastState.terminated.exitCode"), 1);
  EXPECT_EQ(IntAt(entry, "restartCount"), 3);
  EXPECT_FALSE(BoolAt(entry, "ready", true));
}

TEST(PodStatusTest, ReadyMeansAllContainersAreReady) {
  const Json ready = BuildPodStatus(
      Json(JsonObject{}), Report(RestartPolicy::kAlways, {Running("a"), Running("b")}), kNow);
  EXPECT_TRUE(kube::ConditionIs(JsonObject{{"status", ready}}, "Ready"));
  ContainerReport unready = Running("b");
  unready.ready = false;
  const Json not_ready = BuildPodStatus(
      Json(JsonObject{}), Report(RestartPolicy::kAlways, {Running("a"), unready}), kNow);
  const Json wrapped = JsonObject{{"status", not_ready}};
  ASSERT_NE(kube::FindCondition(wrapped, "Ready"), nullptr);
  EXPECT_EQ(StringAt(*kube::FindCondition(wrapped, "Ready"), "message"),
            "containers with unready status: [b]");
}

TEST(PodStatusTest, TransitionTimesAndForeignConditionsAreKept) {
  const PodReport report = Report(RestartPolicy::kAlways, {Running("a")});
  Json pod = JsonObject{
      {"status", JsonObject{{"conditions", JsonArray{JsonObject{{"type", "DisruptionTarget"},
                                                                {"status", "True"}}}}}}};
  Set(pod, "status", BuildPodStatus(pod, report, kNow));
  const Json later = BuildPodStatus(pod, report, kNow + std::chrono::hours(1));
  EXPECT_EQ(later, *Find(pod, "status"));
  EXPECT_TRUE(kube::ConditionIs(pod, "DisruptionTarget"));
}

TEST(PodStatusTest, ADeadlineFailsThePodWithItsReason) {
  PodReport report = Report(RestartPolicy::kAlways, {Ended("a", 137)});
  report.failed_reason = "DeadlineExceeded";
  report.failed_message = "too long";
  report.terminating = true;
  const Json status = BuildPodStatus(Json(JsonObject{}), report, kNow);
  EXPECT_EQ(StringAt(status, "phase"), "Failed");
  EXPECT_EQ(StringAt(status, "reason"), "DeadlineExceeded");
}

}  // namespace
}  // namespace thinsnap::kubelet
