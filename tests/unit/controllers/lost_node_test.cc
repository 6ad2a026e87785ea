// A node that went silent: each of its pods is marked, whatever goes wrong on the way.
#include <gtest/gtest.h>

#include "base/data/yaml.h"
#include "base/kube/object.h"
#include "simulator/controllers/start.h"
#include "tests/unit/kubelet/memory_kube.h"
#include "tests/virtual_time.h"

namespace thinsnap::testing {
namespace {

namespace types = kube::types;

TEST(LostNodeTest, PodsWhoseMarkWasRefusedOnceAreMarkedLater) {
  FiberRuntime runtime(1);
  RunWell(runtime, [&] {
    kubelet::MemoryKube kube(runtime);
    kube.Put(types::kNode, *ParseYaml("{metadata: {name: a}, status: {conditions: [{type: Ready, "
                                      "status: 'True'}]}}"));
    for (const char* name : {"p1", "p2", "p3"}) {
      kube.Put(types::kPod,
               *ParseYaml(std::string("{metadata: {name: ") + name +
                          ", namespace: default, uid: " + name +
                          "}, spec: {nodeName: a, tolerations: [{operator: Exists}]}, status: "
                          "{phase: Running, conditions: [{type: Ready, status: 'True'}]}}"));
    }
    // Somebody else wrote the first one meanwhile.
    int refused = 0;
    kube.before_update = [&refused](const kube::ResourceType& type, const Json& object) -> Status {
      if (type != types::kPod || kube::NameOf(object) != "p1" || refused == 2) return {};
      ++refused;
      return Error(Code::kAborted, "the object has been modified");
    };
    SeededRandom random(3);
    kube::InformerSet informers(runtime, kube);
    TaskGroup group(runtime);
    const auto controllers = controllers::StartControllers(runtime, group, kube, informers, random);
    informers.StartAll(group);
    EXPECT_TRUE(runtime.SleepFor(std::chrono::minutes(3)).ok());
    EXPECT_EQ(refused, 2);
    for (const char* name : {"p1", "p2", "p3"}) {
      EXPECT_TRUE(kube::ConditionIs(*kube.Get(types::kPod, {"default", name}), "Ready", "False"))
          << name;
    }
    group.Stop();
    group.Join();
  });
}

}  // namespace
}  // namespace thinsnap::testing
