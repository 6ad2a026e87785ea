#include "simulator/registry/limit_range.h"

#include <gtest/gtest.h>
#include <memory>
#include <string>

#include "base/data/json.h"
#include "base/kube/object.h"

namespace thinsnap::registry {
namespace {

class LimitRangeTest : public testing::Test {
 protected:
  void SetUp() override { store_ = *objects::VersionedStore::Open({}); }

  void Limit(const std::string& items) {
    ASSERT_TRUE(store_
                    ->Create({"limitranges", "default", "limits"},
                             {{"metadata", {{"name", "limits"}, {"namespace", "default"}}},
                              {"spec", {{"limits", *ParseJson(items)}}}})
                    .ok());
  }

  // The pod with what it was given, or why it is refused.
  std::string Pod(const std::string& resources) {
    pod_ = {
        {"metadata", {{"name", "p"}}},
        {"spec", *ParseJson(R"({"containers": [{"name": "c", "resources": )" + resources + "}]}")}};
    const auto applied = ApplyLimitRanges(*store_, "default", "pods", pod_);
    return applied.ok() ? "" : applied.error().message;
  }
  std::string Resources() const {
    return ToJson(*Find(ArrayAt(pod_, "spec.containers")[0], "resources"));
  }

  std::unique_ptr<objects::VersionedStore> store_;
  Json pod_;
};

TEST_F(LimitRangeTest, GivesContainersWhatTheyDoNotName) {
  Limit(R"([{"type": "Container", "default": {"cpu": "2", "memory": "1Gi"},
             "defaultRequest": {"cpu": "500m"}}])");
  EXPECT_EQ(Pod(R"({"limits": {"memory": "5Mi"}})"), "");
  EXPECT_EQ(Resources(), R"({"limits":{"memory":"5Mi","cpu":"2"},"requests":{"cpu":"500m"}})");
  EXPECT_EQ(kube::AnnotationOf(pod_, "kubernetes.io/limit-ranger"),
            "LimitRanger plugin set: cpu request for container c; cpu limit for container c");
}

TEST_F(LimitRangeTest, RefusesWhatIsOutOfBounds) {
  Limit(R"([{"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "1", "memory": "1Gi"}}])");
  EXPECT_EQ(Pod(R"({"requests": {"cpu": "200m"}, "limits": {"cpu": "1", "memory": "1Gi"}})"), "");
  EXPECT_EQ(
      Pod(R"({"requests": {"cpu": "50m"}, "limits": {"cpu": "2"}})"),
      "pods \"p\" is forbidden: [minimum cpu usage per Container is 100m, but request is 50m, "
      "maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per "
      "Container is 1Gi.  No limit is specified]");
}

TEST_F(LimitRangeTest, BoundsAPodAsAWhole) {
  Limit(R"([{"type": "Pod", "max": {"memory": "1Gi"}}])");
  EXPECT_EQ(Pod(R"({"limits": {"memory": "2Gi"}})"),
            "pods \"p\" is forbidden: maximum memory usage per Pod is 1Gi, but limit is 2Gi");
}

TEST_F(LimitRangeTest, BoundsClaims) {
  Limit(R"([{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"},
             "max": {"storage": "2Gi"}}])");
  Json claim = *ParseJson(R"({"metadata": {"name": "c"},
                              "spec": {"resources": {"requests": {"storage": "5Gi"}}}})");
  const auto applied = ApplyLimitRanges(*store_, "default", "persistentvolumeclaims", claim);
  ASSERT_FALSE(applied.ok());
  EXPECT_EQ(applied.error().message,
            "persistentvolumeclaims \"c\" is forbidden: maximum storage usage per "
            "PersistentVolumeClaim is 2Gi, but request is 5Gi");
}

}  // namespace
}  // namespace thinsnap::registry
