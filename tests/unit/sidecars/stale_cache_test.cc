// A sidecar whose cache is behind does nothing that cannot be undone.
#include <gtest/gtest.h>

#include "base/data/yaml.h"
#include "base/kube/object.h"
#include "simulator/sidecars/start.h"
#include "tests/unit/kubelet/memory_kube.h"
#include "tests/unit/sidecars/fake_driver.h"
#include "tests/virtual_time.h"

namespace thinsnap::testing {
namespace {

namespace types = kube::types;

Json ReleasedVolume(const std::string& policy, const std::string& uid) {
  return *ParseYaml(R"(
apiVersion: v1
kind: PersistentVolume
metadata: {name: pv, uid: )" +
                    uid + R"(, annotations: {pv.kubernetes.io/provisioned-by: test.csi},
  finalizers: [external-provisioner.volume.kubernetes.io/finalizer]}
spec:
  persistentVolumeReclaimPolicy: )" +
                    policy + R"(
  csi: {driver: test.csi, volumeHandle: volume-of-pvc-1}
status: {phase: Released}
)");
}

// A driver with one volume, whose next two deletions fail, and a sidecar that backs off meanwhile.
// `change` happens unseen by its watches; true if the volume is there an hour later.
bool Survives(const std::function<void(kubelet::MemoryKube&)>& change, bool attaches = false) {
  bool survives = false;
  FiberRuntime runtime(1);
  RunWell(runtime, [&] {
    kubelet::MemoryKube kube(runtime);
    SeededRandom random(3);
    FakeDriver driver;
    driver.set_attaches(attaches);
    csi::v1::CreateVolumeRequest request;
    request.set_name("pvc-1");
    request.mutable_capacity_range()->set_required_bytes(1 << 20);
    EXPECT_TRUE(driver.CreateVolume({}, request).ok());
    driver.FailNext("DeleteVolume", {Code::kInternal, Code::kInternal});
    kube.Put(types::kPersistentVolume, ReleasedVolume("Delete", "a"));
    kube::InformerSet informers(runtime, kube);
    TaskGroup group(runtime);
    sidecars::SidecarOptions options;
    options.driver_name = "test.csi";
    options.retry_start = std::chrono::minutes(1);
    options.retry_max = std::chrono::minutes(2);
    const auto sidecars =
        sidecars::StartSidecars(runtime, group, kube, informers, random, driver, options);
    informers.StartAll(group);
    while (driver.Calls("DeleteVolume") == 0)
      EXPECT_TRUE(runtime.SleepFor(std::chrono::seconds(1)).ok());
    kube.HoldWatches(true);
    change(kube);
    EXPECT_TRUE(runtime.SleepFor(std::chrono::hours(1)).ok());
    survives = !driver.volumes().empty();
    group.Stop();
    group.Join();
  });
  return survives;
}

TEST(StaleCacheTest, AVolumeThatIsToStayByNowStays) {
  EXPECT_FALSE(Survives([](kubelet::MemoryKube&) {}));
  EXPECT_TRUE(Survives([](kubelet::MemoryKube& kube) {
    kube.Put(types::kPersistentVolume, ReleasedVolume("Retain", "a"));
  }));
  // Its name went to another.
  EXPECT_TRUE(Survives([](kubelet::MemoryKube& kube) {
    kube.Put(types::kPersistentVolume, ReleasedVolume("Delete", "b"));
  }));
}

TEST(StaleCacheTest, AnAttachedVolumeStaysWhereTheDriverAttaches) {
  const auto attach = [](kubelet::MemoryKube& kube) {
    kube.Put(types::kVolumeAttachment,
             *ParseYaml("{metadata: {name: a}, spec: {attacher: test.csi, nodeName: n, source: "
                        "{persistentVolumeName: pv}}}"));
  };
  EXPECT_TRUE(Survives(attach, true));
  EXPECT_FALSE(Survives(attach, false));
}

}  // namespace
}  // namespace thinsnap::testing
