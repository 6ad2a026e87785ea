#include "snapshotter/api/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/data/yaml.h"
#include "base/kube/object.h"

namespace thinsnap::backup {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(SessionTest, IsNamedOwnedAndLabelled) {
  const Kinds kinds("thinsnap.io");
  const auto configuration = *ParseYaml(R"(
apiVersion: core.thinsnap.io/v1alpha1
kind: BackupConfiguration
metadata: {name: bc, namespace: demo, uid: u1}
spec:
  sessions:
    - {name: daily, backupTimeout: 10m, retryConfig: {maxRetry: 2, delay: 1s}}
    - {name: plain}
)");
  const auto session =
      NewBackupSession(kinds, configuration, "daily", FromUnixSeconds(1705402801), 2);
  EXPECT_EQ(kube::NameOf(session), "bc-daily-1705402801");
  EXPECT_EQ(kube::LabelOf(session, "thinsnap.io/invoker-name"), "bc");
  EXPECT_TRUE(kube::IsOwnedBy(session, "u1"));
  EXPECT_EQ(StringAt(session, "spec.invoker.kind"), "BackupConfiguration");
  EXPECT_EQ(StringAt(session, "spec.backupTimeout"), "10m");
  EXPECT_EQ(IntAt(session, "spec.retryLeft"), 2);
  EXPECT_EQ(RetriesOf(configuration, "daily"), 2);
  EXPECT_EQ(RetriesOf(configuration, "plain"), 0);
}

TEST(HistoryTest, KeepsTheNewestEndedOnes) {
  EXPECT_THAT(
      PlanHistory({{"c", "3", true}, {"a", "1", true}, {"b", "2", true}, {"r", "0", false}}, 2),
      ElementsAre("a"));
  EXPECT_THAT(PlanHistory({{"a", "1", true}}, 3), IsEmpty());
  EXPECT_THAT(PlanHistory({{"a", "1", true}}, 0), ElementsAre("a"));
}

}  // namespace
}  // namespace thinsnap::backup
