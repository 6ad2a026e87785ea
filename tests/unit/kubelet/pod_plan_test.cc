#include "simulator/kubelet/pod_plan.h"

#include <chrono>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace thinsnap::kubelet {
namespace {

using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

MonoTime At(int second) { return MonoTime(seconds(second)); }

ContainerView Fresh(const std::string& name) {
  ContainerView container;
  container.name = name;
  return container;
}
ContainerView Running(const std::string& name) {
  ContainerView container = Fresh(name);
  container.ran = container.running = container.started = true;
  return container;
}
ContainerView Ended(const std::string& name, int exit_code) {
  ContainerView container = Fresh(name);
  container.ran = true;
  container.exit_code = exit_code;
  container.finished = At(100);
  return container;
}

PodView Pod(std::vector<ContainerView> init, std::vector<ContainerView> main,
            RestartPolicy policy = RestartPolicy::kAlways) {
  PodView pod;
  pod.restart_policy = policy;
  pod.volumes_ready = true;
  pod.init = std::move(init);
  pod.main = std::move(main);
  return pod;
}

TEST(PodPlanTest, WaitsForVolumes) {
  PodView pod = Pod({}, {Fresh("a")});
  pod.volumes_ready = false;
  EXPECT_THAT(PlanPod(pod, At(0)).start, IsEmpty());
}

TEST(PodPlanTest, StartsAllMainContainersAtOnce) {
  EXPECT_THAT(PlanPod(Pod({}, {Fresh("a"), Fresh("b")}), At(0)).start, ElementsAre("a", "b"));
}

TEST(PodPlanTest, RunsInitContainersOneAfterTheOther) {
  EXPECT_THAT(PlanPod(Pod({Fresh("i"), Fresh("j")}, {Fresh("a")}), At(0)).start, ElementsAre("i"));
  EXPECT_THAT(PlanPod(Pod({Running("i"), Fresh("j")}, {Fresh("a")}), At(0)).start, IsEmpty());
  EXPECT_THAT(PlanPod(Pod({Ended("i", 0), Fresh("j")}, {Fresh("a")}), At(200)).start,
              ElementsAre("j"));
  EXPECT_THAT(PlanPod(Pod({Ended("i", 0), Ended("j", 0)}, {Fresh("a")}), At(200)).start,
              ElementsAre("a"));
}

TEST(PodPlanTest, AFailedInitContainerFailsAPodThatIsNeverRestarted) {
  const PodPlan plan = PlanPod(Pod({Ended("i", 1)}, {Fresh("a")}, RestartPolicy::kNever), At(200));
  EXPECT_TRUE(plan.init_failed);
  EXPECT_TRUE(plan.finished);
  EXPECT_THAT(plan.start, IsEmpty());
}

TEST(PodPlanTest, AFailedInitContainerIsRunAgainOtherwise) {
  EXPECT_THAT(PlanPod(Pod({Ended("i", 1)}, {Fresh("a")}, RestartPolicy::kOnFailure), At(200)).start,
              ElementsAre("i"));
}

TEST(PodPlanTest, ASidecarHoldsBackTheOthersUntilItHasStarted) {
  ContainerView sidecar = Fresh("s");
  sidecar.sidecar = true;
  EXPECT_THAT(PlanPod(Pod({sidecar}, {Fresh("a")}), At(0)).start, ElementsAre("s"));
  sidecar = Running("s");
  sidecar.sidecar = true;
  sidecar.started = false;
  EXPECT_THAT(PlanPod(Pod({sidecar}, {Fresh("a")}), At(0)).start, IsEmpty());
  sidecar.started = true;
  EXPECT_THAT(PlanPod(Pod({sidecar}, {Fresh("a")}), At(0)).start, ElementsAre("a"));
}

TEST(PodPlanTest, ASidecarIsStoppedWhenTheMainContainersAreDone) {
  ContainerView sidecar = Running("s");
  sidecar.sidecar = true;
  const PodPlan plan = PlanPod(Pod({sidecar}, {Ended("a", 0)}, RestartPolicy::kNever), At(200));
  EXPECT_THAT(plan.stop, ElementsAre("s"));
  EXPECT_FALSE(plan.finished);
}

TEST(PodPlanTest, RestartsByPolicy) {
  EXPECT_THAT(PlanPod(Pod({}, {Ended("a", 0)}), At(200)).start, ElementsAre("a"));
  EXPECT_TRUE(PlanPod(Pod({}, {Ended("a", 0)}, RestartPolicy::kOnFailure), At(200)).finished);
  EXPECT_THAT(PlanPod(Pod({}, {Ended("a", 3)}, RestartPolicy::kOnFailure), At(200)).start,
              ElementsAre("a"));
  EXPECT_TRUE(PlanPod(Pod({}, {Ended("a", 3)}, RestartPolicy::kNever), At(200)).finished);
}

TEST(PodPlanTest, TheFirstRestartComesAtOnceAndTheSecondAfterTenSeconds) {
  ContainerView container = Ended("a", 1);
  EXPECT_THAT(PlanPod(Pod({}, {container}), At(100)).start, ElementsAre("a"));
  container.backoff.RecordRestart(At(100));
  container.finished = At(101);
  const PodPlan plan = PlanPod(Pod({}, {container}), At(105));
  EXPECT_THAT(plan.start, IsEmpty());
  EXPECT_THAT(plan.crash_looping, ElementsAre("a"));
  EXPECT_EQ(plan.look_again, At(111));
  EXPECT_THAT(PlanPod(Pod({}, {container}), At(111)).start, ElementsAre("a"));
}

TEST(PodPlanTest, TheBackoffDoublesToFiveMinutesAndIsForgotten) {
  CrashBackoff backoff;
  int second = 0;
  for (const int expected : {10, 20, 40, 80, 160, 300, 300}) {
    backoff.RecordRestart(At(second));
    EXPECT_EQ(backoff.delay, Duration(seconds(expected)));
    second += expected + 1;
  }
  backoff.RecordRestart(At(second + 1000));
  EXPECT_EQ(backoff.delay, Duration(seconds(10)));
}

TEST(PodPlanTest, TerminatingStopsEverythingAndStartsNothing) {
  PodView pod = Pod({}, {Running("a"), Ended("b", 1), Fresh("c")});
  pod.terminating = true;
  const PodPlan plan = PlanPod(pod, At(200));
  EXPECT_THAT(plan.stop, ElementsAre("a"));
  EXPECT_THAT(plan.start, IsEmpty());
  EXPECT_FALSE(plan.finished);
}

TEST(PodPlanTest, EphemeralContainersRunOnceBesideOthers) {
  PodView pod = Pod({}, {Fresh("a")});
  pod.ephemeral = {Fresh("e")};
  EXPECT_THAT(PlanPod(pod, At(0)).start, ElementsAre("a"));
  pod.main = {Running("a")};
  EXPECT_THAT(PlanPod(pod, At(0)).start, ElementsAre("e"));
  pod.ephemeral = {Ended("e", 1)};
  EXPECT_THAT(PlanPod(pod, At(200)).start, IsEmpty());
  // It does not keep a pod that is over.
  pod = Pod({}, {Ended("a", 0)}, RestartPolicy::kNever);
  pod.ephemeral = {Running("e")};
  EXPECT_THAT(PlanPod(pod, At(200)).stop, ElementsAre("e"));
  EXPECT_FALSE(PlanPod(pod, At(200)).finished);
}

}  // namespace
}  // namespace thinsnap::kubelet
