#include "simulator/kubelet/volume_store.h"

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <optional>
#include <thread>

#include "base/kube/object.h"
#include "simulator/containers/remove_tree.h"
#include "tests/unit/kubelet/memory_kube.h"

namespace thinsnap::kubelet {
namespace {

// Notes whose pod each call speaks of.
class PodNotingCsiNode final : public CsiNode {
 public:
  Result<CsiNodeInfo> GetInfo() override { return CsiNodeInfo(); }
  Status Stage(const CsiVolume& volume, const std::string&) override {
    if (on_stage) on_stage();
    return Note("stage", volume);
  }
  Status Unstage(const std::string&, const std::string&) override { return {}; }
  Status Publish(const CsiVolume& volume, const std::string&, const std::string& target,
                 bool) override {
    std::filesystem::create_directories(target);
    return Note("publish", volume);
  }
  Status Unpublish(const std::string&, const std::string&) override { return {}; }
  Status Expand(const CsiVolume&, const std::string&, const std::string&, std::int64_t) override {
    return {};
  }

  std::function<void()> on_stage;
  std::vector<std::string> calls;  // under the store's lock for the volume

 private:
  Status Note(const std::string& verb, const CsiVolume& volume) {
    calls.push_back(verb + " for " + volume.context.at("csi.storage.k8s.io/pod.name"));
    return {};
  }
};

class VolumeStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/thinsnap-volumes-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    store_.emplace(runtime_, kube_, csi_, VolumeOptions{folder_, folder_ + "/memory"});
  }
  void TearDown() override { containers::RemoveTree(folder_); }

  void MakeBoundClaim() {
    const Json claim =
        JsonObject{{"metadata", JsonObject{{"name", "data"}, {"namespace", "a"}, {"uid", "c"}}},
                   {"spec", JsonObject{{"volumeName", "pv"}}},
                   {"status", JsonObject{{"phase", "Bound"}}}};
    const Json volume = JsonObject{
        {"metadata", JsonObject{{"name", "pv"}}},
        {"spec",
         JsonObject{{"claimRef", JsonObject{{"uid", "c"}}},
                    {"csi", JsonObject{{"driver", "csi.thinsnap.io"}, {"volumeHandle", "v"}}}}}};
    ASSERT_TRUE(kube_.Create(kube::types::kPersistentVolumeClaim, claim).ok());
    ASSERT_TRUE(kube_.Create(kube::types::kPersistentVolume, volume).ok());
  }

  static Json PodWithClaim(const std::string& name) {
    const Json volume =
        JsonObject{{"name", "data"}, {"persistentVolumeClaim", JsonObject{{"claimName", "data"}}}};
    return JsonObject{
        {"metadata", JsonObject{{"name", name}, {"namespace", "a"}, {"uid", "uid-" + name}}},
        {"spec", JsonObject{{"volumes", JsonArray{volume}}}}};
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  MemoryKube kube_{runtime_};
  PodNotingCsiNode csi_;
  std::string folder_;
  std::optional<VolumeStore> store_;
};

TEST_F(VolumeStoreTest, PodsThatShareAClaimArePublishedUnderTheirOwnNames) {
  MakeBoundClaim();
  TaskGroup group(runtime_);
  // The second pod comes while the driver works on the volume for the first.
  csi_.on_stage = [&] {
    group.Spawn("second", [&] {
      const Status mounted = store_->MountAll(PodWithClaim("second"));
      EXPECT_TRUE(mounted.ok()) << mounted.error().ToString();
    });
    while (!store_->HasVolumes("uid-second"))
      ASSERT_TRUE(runtime_.SleepFor(std::chrono::milliseconds(1)).ok());
  };
  const Status mounted = store_->MountAll(PodWithClaim("first"));
  EXPECT_TRUE(mounted.ok()) << mounted.error().ToString();
  group.Join();
  EXPECT_THAT(csi_.calls,
              testing::ElementsAre("stage for first", "publish for first", "publish for second"));
}

}  // namespace
}  // namespace thinsnap::kubelet
