#include "snapshotter/operator/jobs.h"

#include <gtest/gtest.h>

#include "base/data/yaml.h"

namespace thinsnap::backup {
namespace {

JobPlan Plan() {
  const Kinds kinds("thinsnap.io");
  JobPlan plan;
  plan.key = {"demo", "trigger-bc-daily"};
  plan.owner = *ParseYaml(
      "{apiVersion: core.thinsnap.io/v1alpha1, kind: BackupConfiguration, metadata: {name: bc, "
      "namespace: demo, uid: u}}");
  plan.component = "thinsnap-trigger";
  plan.cluster_role = "thinsnap-cron-job";
  plan.image = "thinsnap";
  plan.command = {"thinsnap-operator", "trigger"};
  plan.labels = OffshootLabels(kinds, "BackupConfiguration", "bc", "demo", "daily");
  return plan;
}

TEST(JobsTest, BindsARoleInTheJobsNamespaceOnly) {
  const auto plan = Plan();
  const auto binding = RoleBindingFor(plan);
  EXPECT_EQ(StringAt(binding, "kind"), "RoleBinding");
  EXPECT_EQ(StringAt(binding, "roleRef.name"), "thinsnap-cron-job");
  EXPECT_EQ(StringAt(ArrayAt(binding, "subjects")[0], "name"), plan.key.name);
  EXPECT_TRUE(kube::IsOwnedBy(binding, "u"));
  EXPECT_EQ(StringAt(JobFor(plan), "spec.template.spec.serviceAccountName"), plan.key.name);
}

TEST(JobsTest, CronJobFollowsTheScheduler) {
  auto plan = Plan();
  plan.settings = *ParseYaml("{backoffLimit: 1, template: {spec: {nodeName: x}}}");
  const auto scheduler = *ParseYaml(
      "{schedule: '*/5 * * * *', concurrencyPolicy: Forbid, startingDeadlineSeconds: 60}");
  const auto cron = CronJobFor(plan, scheduler, false);
  EXPECT_EQ(StringAt(cron, "spec.schedule"), "*/5 * * * *");
  EXPECT_EQ(StringAt(cron, "spec.concurrencyPolicy"), "Forbid");
  EXPECT_EQ(IntAt(cron, "spec.startingDeadlineSeconds"), 60);
  EXPECT_EQ(IntAt(cron, "spec.successfulJobsHistoryLimit"), 3);
  EXPECT_EQ(IntAt(cron, "spec.jobTemplate.spec.backoffLimit"), 1);
  EXPECT_FALSE(BoolAt(cron, "spec.suspend"));
  EXPECT_TRUE(BoolAt(CronJobFor(plan, scheduler, true), "spec.suspend"));
}

TEST(JobsTest, ReadsHowAJobEnded) {
  EXPECT_EQ(StateOfJob(*ParseYaml("{status: {active: 1}}")), JobState::kRunning);
  EXPECT_EQ(StateOfJob(*ParseYaml("{status: {conditions: [{type: Complete, status: 'True'}]}}")),
            JobState::kSucceeded);
  const auto failed = *ParseYaml(
      "{status: {conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded, "
      "message: too often}]}}");
  EXPECT_EQ(StateOfJob(failed), JobState::kFailed);
  EXPECT_EQ(FailureOfJob(failed), "BackoffLimitExceeded: too often");
}

}  // namespace
}  // namespace thinsnap::backup
