// What a CSI driver is asked for the volumes of pods, and whose files they become.
#include "simulator/kubelet/volume_store.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

#include "base/kube/object.h"
#include "simulator/containers/remove_tree.h"
#include "tests/unit/kubelet/memory_kube.h"

namespace thinsnap::kubelet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Notes each call with the pod, the secrets and the paths that it speaks of; publishes folders.
class NotingCsiNode final : public CsiNode {
 public:
  Result<CsiNodeInfo> GetInfo() override { return CsiNodeInfo(); }
  Result<CsiNodeAbilities> Abilities() override { return abilities; }
  Status Stage(const CsiVolume& volume, const CsiSecrets& secrets,
               const std::string& staging) override {
    if (on_stage) on_stage();
    return Note("stage", volume, secrets, staging);
  }
  Status Unstage(const std::string&, const std::string&) override {
    calls.emplace_back("unstage");
    return {};
  }
  Status Publish(const CsiVolume& volume, const CsiSecrets& secrets, const std::string& staging,
                 const std::string& target, bool) override {
    std::filesystem::create_directories(target);
    std::ofstream(target + "/file") << "text";
    published = target;
    return Note("publish", volume, secrets, staging);
  }
  Status Unpublish(const std::string&, const std::string&) override {
    calls.emplace_back("unpublish");
    return {};
  }
  Status Expand(const CsiVolume& volume, const CsiSecrets& secrets, const std::string&,
                const std::string& staging) override {
    return Note("expand", volume, secrets, staging);
  }

  CsiNodeAbilities abilities{.stages = true, .expands = true, .mounts_for_group = false};
  std::function<void()> on_stage;
  std::vector<std::string> calls;  // under the store's lock for the volume
  std::string published;

 private:
  Status Note(const std::string& verb, const CsiVolume& volume, const CsiSecrets& secrets,
              const std::string& staging) {
    std::string call = verb;
    const auto pod = volume.context.find("csi.storage.k8s.io/pod.name");
    if (pod != volume.context.end()) call += " for " + pod->second;
    for (const auto& [key, value] : secrets) call.append(" ").append(key).append("=").append(value);
    if (!volume.mount_group.empty()) call += " group " + volume.mount_group;
    if (staging.empty()) call += " unstaged";
    calls.push_back(call);
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
    const Json claim =
        JsonObject{{"metadata", JsonObject{{"name", "data"}, {"namespace", "a"}, {"uid", "c"}}},
                   {"spec", JsonObject{{"volumeName", "pv"}}},
                   {"status", JsonObject{{"phase", "Bound"}}}};
    volume_ = JsonObject{
        {"metadata", JsonObject{{"name", "pv"}}},
        {"spec",
         JsonObject{{"accessModes", JsonArray{"ReadWriteOnce"}},
                    {"claimRef", JsonObject{{"uid", "c"}}},
                    {"csi", JsonObject{{"driver", "csi.thinsnap.io"}, {"volumeHandle", "v"}}}}}};
    kube_.Put(kube::types::kPersistentVolumeClaim, claim);
    kube_.Put(kube::types::kPersistentVolume, volume_);
  }
  void TearDown() override { containers::RemoveTree(folder_); }

  void PutVolume(const std::string& path, Json value) {
    Set(volume_, path, std::move(value));
    kube_.Put(kube::types::kPersistentVolume, volume_);
  }
  void PutDriver(JsonObject spec) {
    kube_.Put(kube::types::kCsiDriver,
              JsonObject{{"metadata", JsonObject{{"name", "csi.thinsnap.io"}}},
                         {"spec", std::move(spec)}});
  }
  // Secret a/<name> with one key of that name.
  void PutSecret(const std::string& name, const std::string& base64) {
    kube_.Put(kube::types::kSecret,
              JsonObject{{"metadata", JsonObject{{"name", name}, {"namespace", "a"}}},
                         {"data", JsonObject{{name, base64}}}});
    PutVolume("spec.csi." + name + "SecretRef", JsonObject{{"name", name}, {"namespace", "a"}});
  }

  static Json PodWithClaim(const std::string& name, std::optional<int> fs_group = std::nullopt) {
    const Json volume =
        JsonObject{{"name", "data"}, {"persistentVolumeClaim", JsonObject{{"claimName", "data"}}}};
    Json pod = JsonObject{
        {"metadata", JsonObject{{"name", name}, {"namespace", "a"}, {"uid", "uid-" + name}}},
        {"spec", JsonObject{{"volumes", JsonArray{volume}}}}};
    if (fs_group) Set(pod, "spec.securityContext.fsGroup", *fs_group);
    return pod;
  }
  void Mount(const Json& pod) {
    const Status mounted = store_->MountAll(pod);
    EXPECT_TRUE(mounted.ok()) << mounted.error().ToString();
  }
  // The group that a pod with fsGroup 4001 finds on a file of the volume.
  gid_t GroupOfFile() {
    Mount(PodWithClaim("grouped", 4001));
    struct stat info = {};
    EXPECT_EQ(stat((csi_.published + "/file").c_str(), &info), 0);
    EXPECT_TRUE(store_->UnmountAll("uid-grouped", true).ok());
    return info.st_gid;
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  kubelet::MemoryKube kube_{runtime_};
  NotingCsiNode csi_;
  Json volume_;
  std::string folder_;
  std::optional<VolumeStore> store_;
};

TEST_F(VolumeStoreTest, PodsThatShareAClaimArePublishedUnderTheirOwnNames) {
  PutDriver({{"podInfoOnMount", true}});
  TaskGroup group(runtime_);
  // The second pod comes while the driver works on the volume for the first.
  csi_.on_stage = [&] {
    group.Spawn("second", [&] { Mount(PodWithClaim("second")); });
    while (!store_->HasVolumes("uid-second"))
      ASSERT_TRUE(runtime_.SleepFor(std::chrono::milliseconds(1)).ok());
  };
  Mount(PodWithClaim("first"));
  group.Join();
  // Staging is for both: it speaks of no pod.
  EXPECT_THAT(csi_.calls, ElementsAre("stage", "publish for first", "publish for second"));
}

TEST_F(VolumeStoreTest, ADriverIsToldOfPodsOnlyWhereItAsksForThat) {
  Mount(PodWithClaim("first"));
  PutDriver({{"podInfoOnMount", false}});
  Mount(PodWithClaim("second"));
  EXPECT_THAT(csi_.calls, ElementsAre("stage", "publish", "publish"));
}

TEST_F(VolumeStoreTest, ADriverThatDoesNotStageIsNotAskedTo) {
  csi_.abilities = {};
  Mount(PodWithClaim("p"));
  EXPECT_TRUE(store_->UnmountAll("uid-p", true).ok());
  EXPECT_THAT(csi_.calls, ElementsAre("publish unstaged", "unpublish"));
}

TEST_F(VolumeStoreTest, EachCallCarriesItsOwnSecret) {
  PutSecret("nodeStage", "b25l");
  PutSecret("nodePublish", "dHdv");
  PutSecret("nodeExpand", "dGhyZWU=");
  Mount(PodWithClaim("p"));
  Json claim = *kube_.Get(kube::types::kPersistentVolumeClaim, {"a", "data"});
  kube::SetCondition(claim, "FileSystemResizePending", true, "", "", clock_.Now());
  kube_.Put(kube::types::kPersistentVolumeClaim, claim);
  EXPECT_TRUE(store_->Expand(PodWithClaim("p")).ok());
  EXPECT_THAT(csi_.calls, ElementsAre("stage nodeStage=one", "publish nodePublish=two",
                                      "expand nodeExpand=three"));
}

TEST_F(VolumeStoreTest, AMissingSecretHoldsThePodBackUntilItComes) {
  PutVolume("spec.csi.nodeStageSecretRef", JsonObject{{"name", "nodeStage"}, {"namespace", "a"}});
  const Status mounted = store_->MountAll(PodWithClaim("p"));
  ASSERT_FALSE(mounted.ok());
  EXPECT_THAT(mounted.error().ToString(), HasSubstr("stage: secret a/nodeStage"));
  EXPECT_TRUE(csi_.calls.empty());
  PutSecret("nodeStage", "b25l");
  Mount(PodWithClaim("p"));
  EXPECT_THAT(csi_.calls, ElementsAre("stage nodeStage=one", "publish"));
}

TEST_F(VolumeStoreTest, TheDriversPolicyDecidesWhetherFsGroupIsApplied) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to give files away";
  const gid_t own = getegid(), given = 4001;
  // Without a filesystem in the volume a kubelet cannot know that there is one.
  EXPECT_EQ(GroupOfFile(), own);
  PutVolume("spec.csi.fsType", "ext4");
  EXPECT_EQ(GroupOfFile(), given);
  PutVolume("spec.accessModes", JsonArray{"ReadWriteMany"});
  EXPECT_EQ(GroupOfFile(), own);
  PutVolume("spec.accessModes", JsonArray{"ReadWriteOncePod"});
  EXPECT_EQ(GroupOfFile(), given);
  PutDriver({{"fsGroupPolicy", "None"}});
  EXPECT_EQ(GroupOfFile(), own);
  PutDriver({{"fsGroupPolicy", "File"}});
  PutVolume("spec.csi.fsType", nullptr);
  PutVolume("spec.accessModes", JsonArray{"ReadWriteMany"});
  EXPECT_EQ(GroupOfFile(), given);
  // The driver's own work.
  csi_.abilities.mounts_for_group = true;
  csi_.calls.clear();
  EXPECT_EQ(GroupOfFile(), own);
  EXPECT_THAT(csi_.calls,
              ElementsAre("stage group 4001", "publish group 4001", "unpublish", "unstage"));
}

}  // namespace
}  // namespace thinsnap::kubelet
