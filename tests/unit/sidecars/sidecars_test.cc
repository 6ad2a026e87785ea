// The sidecars and controllers against the real API server and a driver that fails on demand.
#include <algorithm>
#include <gtest/gtest.h>

#include "base/kube/object.h"
#include "simulator/sidecars/snapshot_names.h"
#include "tests/unit/controllers/cluster.h"
#include "tests/unit/sidecars/fake_driver.h"

namespace thinsnap::sidecars {
namespace {

namespace types = kube::types;
using kube::ObjectKey;
using testing::Cluster;
using testing::FakeDriver;

const ObjectKey kData{"default", "data"};
const ObjectKey kSnap{"default", "snap"};

Cluster::Predicate Phase(const std::string& phase) {
  return [phase](const Json& object) { return StringAt(object, "status.phase") == phase; };
}
bool IsReady(const Json& object) { return BoolAt(object, "status.readyToUse"); }

// More failures than any test waits for; ended by FailNext(verb, {}) or LoseNext(verb, 0).
constexpr int kEver = 1 << 16;

class SidecarsTest : public ::testing::Test {
 protected:
  SidecarsTest() : cluster_(&driver_) {
    cluster_.AddNode("a");
    cluster_.AddNode("b");
  }

  void AddClass(const std::string& name, const std::string& binding = "Immediate",
                const std::string& reclaim = "Delete") {
    cluster_.CreateYaml(types::kStorageClass,
                        "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: " +
                            name + "}\nprovisioner: test.csi\nvolumeBindingMode: " + binding +
                            "\nreclaimPolicy: " + reclaim +
                            "\nallowVolumeExpansion: true\nparameters: {speed: high, "
                            "csi.storage.k8s.io/fstype: xfs}\n");
  }

  Json AddClaim(const ObjectKey& key, const std::string& class_name = "fast",
                const Json& source = nullptr) {
    Json claim = kube::NewObject(types::kPersistentVolumeClaim, key);
    Set(claim, "spec.accessModes", JsonArray{Json("ReadWriteOnce")});
    Set(claim, "spec.storageClassName", Json(class_name));
    Set(claim, "spec.resources.requests", JsonObject{{"storage", "1Gi"}});
    if (!source.is_null()) Set(claim, "spec.dataSource", source);
    return cluster_.Create(types::kPersistentVolumeClaim, claim);
  }

  void AddSnapshotClass(const std::string& name, const std::string& policy = "Delete",
                        bool is_default = false) {
    Json snapshot_class = kube::NewObject(types::kVolumeSnapshotClass, {"", name});
    if (is_default) kube::SetAnnotation(snapshot_class, kDefaultSnapshotClass, "true");
    Set(snapshot_class, "driver", "test.csi");
    Set(snapshot_class, "deletionPolicy", Json(policy));
    Set(snapshot_class, "parameters", JsonObject{{"repositories", "abc"}});
    cluster_.Create(types::kVolumeSnapshotClass, snapshot_class);
  }

  Json AddSnapshot(const ObjectKey& key, const std::string& class_name = "snaps") {
    Json snapshot = kube::NewObject(types::kVolumeSnapshot, key);
    Set(snapshot, "spec.source.persistentVolumeClaimName", "data");
    if (!class_name.empty()) Set(snapshot, "spec.volumeSnapshotClassName", Json(class_name));
    return cluster_.Create(types::kVolumeSnapshot, snapshot);
  }

  // A bound claim and a class for its snapshots.
  void PrepareSource(const std::string& policy = "Delete") {
    AddClass("fast");
    AddSnapshotClass("snaps", policy);
    AddClaim(kData);
    cluster_.Wait(types::kPersistentVolumeClaim, kData, Phase("Bound"));
  }

  static Json FromSnapshot(const std::string& name) {
    return JsonObject{{"apiGroup", kSnapshotGroup}, {"kind", "VolumeSnapshot"}, {"name", name}};
  }

  FakeDriver driver_;
  Cluster cluster_;
};

TEST_F(SidecarsTest, ProvisionsAndDeletes) {
  AddClass("fast");
  const Json claim = AddClaim(kData);
  const Json bound = cluster_.Wait(types::kPersistentVolumeClaim, kData, Phase("Bound"));
  const auto name = "pvc-" + kube::UidOf(claim);
  EXPECT_EQ(StringAt(bound, "spec.volumeName"), name);
  EXPECT_EQ(StringAt(bound, "status.capacity.storage"), "1Gi");

  const auto request = driver_.last_create_volume();
  EXPECT_EQ(request.name(), name);
  EXPECT_EQ(request.parameters().at("speed"), "high");
  EXPECT_EQ(request.parameters().at("csi.storage.k8s.io/pvc/name"), "data");
  EXPECT_FALSE(request.parameters().contains("csi.storage.k8s.io/fstype"));
  EXPECT_EQ(request.volume_capabilities(0).mount().fs_type(), "xfs");
  EXPECT_EQ(request.accessibility_requirements().requisite_size(), 2);

  const Json volume = cluster_.Wait(types::kPersistentVolume, {"", name}, Phase("Bound"));
  EXPECT_EQ(StringAt(volume, "spec.csi.volumeHandle"), "volume-of-" + name);
  EXPECT_EQ(StringAt(volume, "spec.csi.fsType"), "xfs");
  EXPECT_EQ(kube::AnnotationOf(volume, "pv.kubernetes.io/provisioned-by"), "test.csi");
  EXPECT_TRUE(kube::HasFinalizer(volume, "external-provisioner.volume.kubernetes.io/finalizer"));
  EXPECT_EQ(ArrayAt(volume, "spec.nodeAffinity.required.nodeSelectorTerms").size(), 1U);

  cluster_.Delete(types::kPersistentVolumeClaim, kData);
  cluster_.WaitGone(types::kPersistentVolumeClaim, kData);
  cluster_.WaitGone(types::kPersistentVolume, {"", name});
  EXPECT_TRUE(driver_.volumes().empty());
}

TEST_F(SidecarsTest, RetainKeepsTheVolume) {
  AddClass("kept", "Immediate", "Retain");
  const auto name = "pvc-" + kube::UidOf(AddClaim(kData, "kept"));
  cluster_.Wait(types::kPersistentVolumeClaim, kData, Phase("Bound"));
  cluster_.Delete(types::kPersistentVolumeClaim, kData);
  cluster_.Wait(types::kPersistentVolume, {"", name}, Phase("Released"));
  EXPECT_EQ(driver_.volumes().size(), 1U);
  cluster_.Delete(types::kPersistentVolume, {"", name});
  cluster_.WaitGone(types::kPersistentVolume, {"", name});
  EXPECT_EQ(driver_.Calls("DeleteVolume"), 0);
}

TEST_F(SidecarsTest, WaitsForAPodAndPutsTheVolumeOnItsNode) {
  AddClass("late", "WaitForFirstConsumer");
  AddClaim(kData, "late");
  cluster_.WaitEvent("default", "data", "WaitForFirstConsumer");
  EXPECT_EQ(driver_.Calls("CreateVolume"), 0);
  Json pod = kube::NewObject(types::kPod, {"default", "user"});
  Set(pod, "spec", *ParseJson(R"({"containers": [{"name": "main", "image": "busybox"}],
      "nodeSelector": {"kubernetes.io/hostname": "b"},
      "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]})"));
  cluster_.Create(types::kPod, pod);
  EXPECT_EQ(
      StringAt(cluster_.Wait(types::kPod, {"default", "user"}, Phase("Running")), "spec.nodeName"),
      "b");
  EXPECT_EQ(driver_.last_create_volume().accessibility_requirements().preferred(0).segments().at(
                "test.csi/node"),
            "b");
}

TEST_F(SidecarsTest, AFullNodeIsLeftForAnother) {
  AddClass("late", "WaitForFirstConsumer");
  AddClaim(kData, "late");
  driver_.FailNext("CreateVolume", {Code::kResourceExhausted});
  Json pod = kube::NewObject(types::kPod, {"default", "user"});
  Set(pod, "spec", *ParseJson(R"({"containers": [{"name": "main", "image": "busybox"}],
      "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]})"));
  cluster_.Create(types::kPod, pod);
  const Json running = cluster_.Wait(types::kPod, {"default", "user"}, Phase("Running"));
  EXPECT_EQ(StringAt(running, "spec.nodeName"), "b");  // a came first and refused
  EXPECT_EQ(driver_.volumes().size(), 1U);
}

TEST_F(SidecarsTest, ProvisioningIsRepeatedUntilItWorks) {
  AddClass("fast");
  driver_.FailNext("CreateVolume",
                   {Code::kAborted, Code::kUnavailable, Code::kInternal, Code::kDeadlineExceeded});
  driver_.LoseNext("CreateVolume");
  AddClaim(kData);
  cluster_.Wait(types::kPersistentVolumeClaim, kData, Phase("Bound"));
  EXPECT_GE(driver_.Calls("CreateVolume"), 6);
  EXPECT_EQ(driver_.volumes().size(), 1U);
  cluster_.WaitEvent("default", "data", "ProvisioningFailed");
}

TEST_F(SidecarsTest, NoVolumeIsLeftWhenTheClaimGoesMeanwhile) {
  AddClass("fast");
  // The volume is made, but nobody hears of it before the claim is gone.
  driver_.LoseNext("CreateVolume", kEver);
  const ObjectKey volume{"", "pvc-" + kube::UidOf(AddClaim(kData))};
  // Earlier failures may be of a provisioner that has not seen the nodes yet.
  cluster_.WaitAny(types::kEvent, "default", [](const Json& event) {
    return StringAt(event, "message").find("the answer was lost") != std::string::npos;
  });
  cluster_.Delete(types::kPersistentVolumeClaim, kData);
  cluster_.WaitGone(types::kPersistentVolumeClaim, kData);
  driver_.LoseNext("CreateVolume", 0);
  cluster_.WaitEvent("default", "data", "ProvisioningSucceeded");
  cluster_.WaitGone(types::kPersistentVolume, volume);
  EXPECT_TRUE(driver_.volumes().empty());
}

TEST_F(SidecarsTest, SnapshotIsCutThenReady) {
  PrepareSource();
  driver_.set_polls_until_ready(3);
  const Json snapshot = AddSnapshot(kSnap);
  const auto content_name = "snapcontent-" + kube::UidOf(snapshot);
  // Known to be cut before it is ready.
  const Json cut = cluster_.Wait(types::kVolumeSnapshot, kSnap, [](const Json& now) {
    return !StringAt(now, "status.creationTime").empty();
  });
  EXPECT_EQ(StringAt(cut, "status.boundVolumeSnapshotContentName"), content_name);
  const Json ready = cluster_.Wait(types::kVolumeSnapshot, kSnap, IsReady);
  EXPECT_EQ(StringAt(ready, "status.restoreSize"), "1Gi");
  EXPECT_EQ(StringAt(ready, "status.creationTime"), FormatRfc3339(FromUnixSeconds(1'795'000'000)));
  EXPECT_TRUE(kube::HasFinalizer(ready, kAsSourceFinalizer));

  const auto request = driver_.last_create_snapshot();
  EXPECT_EQ(request.name(), "snapshot-" + kube::UidOf(snapshot));
  EXPECT_EQ(request.parameters().at("repositories"), "abc");
  EXPECT_EQ(request.parameters().at("csi.storage.k8s.io/volumesnapshot/namespace"), "default");

  const Json content =
      cluster_.Wait(types::kVolumeSnapshotContent, {"", content_name},
                    [](const Json& now) { return kube::AnnotationOf(now, kBeingCreated).empty(); });
  EXPECT_EQ(StringAt(content, "status.snapshotHandle"), "id-of-" + request.name());
  EXPECT_EQ(StringAt(content, "spec.volumeSnapshotRef.uid"), kube::UidOf(snapshot));
  cluster_.Wait(types::kPersistentVolumeClaim, kData,
                [](const Json& now) { return !kube::HasFinalizer(now, kClaimFinalizer); });
  cluster_.WaitEvent("default", "snap", "SnapshotReady");

  cluster_.Delete(types::kVolumeSnapshot, kSnap);
  cluster_.WaitGone(types::kVolumeSnapshot, kSnap);
  EXPECT_FALSE(cluster_.Exists(types::kVolumeSnapshotContent, {"", content_name}));
  EXPECT_TRUE(driver_.snapshots().empty());
}

TEST_F(SidecarsTest, SnapshotErrorsAreToldAndRepeated) {
  PrepareSource();
  driver_.FailNext("CreateSnapshot", std::vector<Code>(kEver, Code::kFailedPrecondition));
  AddSnapshot(kSnap);
  const Json failed = cluster_.Wait(types::kVolumeSnapshot, kSnap, [](const Json& now) {
    return !StringAt(now, "status.error.message").empty();
  });
  EXPECT_NE(StringAt(failed, "status.error.message").find("as the test wants it"),
            std::string::npos);
  driver_.FailNext("CreateSnapshot", {Code::kAborted, Code::kInternal});
  const Json ready = cluster_.Wait(types::kVolumeSnapshot, kSnap, IsReady);
  EXPECT_EQ(FindObject(ready, "status.error"), nullptr);
}

TEST_F(SidecarsTest, DeletionWaitsForAnUnfinishedCreation) {
  PrepareSource();
  // Made, but unheard of; a deletion at once would leave it behind.
  driver_.LoseNext("CreateSnapshot", kEver);
  AddSnapshot(kSnap);
  cluster_.WaitAny(types::kVolumeSnapshotContent, "",
                   [](const Json& now) { return !StringAt(now, "status.error.message").empty(); });
  cluster_.Delete(types::kVolumeSnapshot, kSnap);
  cluster_.WaitAny(types::kVolumeSnapshotContent, "", kube::IsDeleting);
  EXPECT_EQ(driver_.Calls("DeleteSnapshot"), 0);
  driver_.LoseNext("CreateSnapshot", 0);
  cluster_.WaitGone(types::kVolumeSnapshot, kSnap);
  EXPECT_TRUE(driver_.snapshots().empty());
  EXPECT_EQ(driver_.Calls("DeleteSnapshot"), 1);
}

TEST_F(SidecarsTest, RetainedContentOutlivesItsSnapshotAndServesAnother) {
  PrepareSource("Retain");
  AddSnapshot(kSnap);
  const Json ready = cluster_.Wait(types::kVolumeSnapshot, kSnap, IsReady);
  const auto content_name = StringAt(ready, "status.boundVolumeSnapshotContentName");
  cluster_.Delete(types::kVolumeSnapshot, kSnap);
  cluster_.WaitGone(types::kVolumeSnapshot, kSnap);
  EXPECT_TRUE(cluster_.Exists(types::kVolumeSnapshotContent, {"", content_name}));
  EXPECT_EQ(driver_.snapshots().size(), 1U);
}

TEST_F(SidecarsTest, PreProvisionedSnapshotIsBound) {
  driver_.AddSnapshot("from-before");
  Json content = kube::NewObject(types::kVolumeSnapshotContent, {"", "given"});
  Set(content, "spec", *ParseJson(R"({"deletionPolicy": "Retain", "driver": "test.csi",
      "source": {"snapshotHandle": "from-before"}, "sourceVolumeMode": "Filesystem",
      "volumeSnapshotRef": {"namespace": "default", "name": "snap"}})"));
  cluster_.Create(types::kVolumeSnapshotContent, content);
  Json snapshot = kube::NewObject(types::kVolumeSnapshot, kSnap);
  Set(snapshot, "spec.source.volumeSnapshotContentName", "given");
  snapshot = cluster_.Create(types::kVolumeSnapshot, snapshot);
  const Json ready = cluster_.Wait(types::kVolumeSnapshot, kSnap, IsReady);
  EXPECT_EQ(StringAt(ready, "status.boundVolumeSnapshotContentName"), "given");
  content = *cluster_.client().Get(types::kVolumeSnapshotContent, {"", "given"});
  EXPECT_EQ(StringAt(content, "spec.volumeSnapshotRef.uid"), kube::UidOf(snapshot));
  EXPECT_EQ(driver_.Calls("CreateSnapshot"), 0);

  // VolumeSnapshot first, then the content: both go, the driver's snapshot stays.
  cluster_.Delete(types::kVolumeSnapshot, kSnap);
  cluster_.WaitGone(types::kVolumeSnapshot, kSnap);
  cluster_.Delete(types::kVolumeSnapshotContent, {"", "given"});
  cluster_.WaitGone(types::kVolumeSnapshotContent, {"", "given"});
  EXPECT_EQ(driver_.snapshots().size(), 1U);
}

TEST_F(SidecarsTest, UnknownHandleIsToldUntilItIsThere) {
  Json content = kube::NewObject(types::kVolumeSnapshotContent, {"", "given"});
  Set(content, "spec", *ParseJson(R"({"deletionPolicy": "Retain", "driver": "test.csi",
      "source": {"snapshotHandle": "later"}, "volumeSnapshotRef": {"namespace": "default", "name": "snap"}})"));
  cluster_.Create(types::kVolumeSnapshotContent, content);
  const Json failed =
      cluster_.Wait(types::kVolumeSnapshotContent, {"", "given"},
                    [](const Json& now) { return !StringAt(now, "status.error.message").empty(); });
  EXPECT_NE(StringAt(failed, "status.error.message").find("can not find snapshot"),
            std::string::npos);
  driver_.AddSnapshot("later");
  cluster_.Wait(types::kVolumeSnapshotContent, {"", "given"}, IsReady);
}

TEST_F(SidecarsTest, DefaultClassIsChosen) {
  AddClass("fast");
  AddClaim(kData);
  cluster_.Wait(types::kPersistentVolumeClaim, kData, Phase("Bound"));
  AddSnapshot(kSnap, "");
  cluster_.WaitEvent("default", "snap", "SetDefaultSnapshotClassFailed");
  AddSnapshotClass("usual", "Delete", true);
  const Json ready = cluster_.Wait(types::kVolumeSnapshot, kSnap, IsReady);
  EXPECT_EQ(StringAt(ready, "spec.volumeSnapshotClassName"), "usual");
}

TEST_F(SidecarsTest, MissingClassIsTold) {
  PrepareSource();
  AddSnapshot(kSnap, "nowhere");
  const Json failed = cluster_.Wait(types::kVolumeSnapshot, kSnap, [](const Json& now) {
    return !StringAt(now, "status.error.message").empty();
  });
  EXPECT_NE(StringAt(failed, "status.error.message").find("\"nowhere\" not found"),
            std::string::npos);
}

TEST_F(SidecarsTest, RestoresASnapshotAndHoldsItMeanwhile) {
  PrepareSource();
  AddSnapshot(kSnap);
  cluster_.Wait(types::kVolumeSnapshot, kSnap, IsReady);
  driver_.FailNext("CreateVolume", std::vector<Code>(kEver, Code::kAborted));
  AddClaim({"default", "restored"}, "fast", FromSnapshot("snap"));
  cluster_.Wait(types::kVolumeSnapshot, kSnap,
                [](const Json& now) { return kube::HasFinalizer(now, kRestoreFinalizer); });
  driver_.FailNext("CreateVolume", {});
  cluster_.Wait(types::kPersistentVolumeClaim, {"default", "restored"}, Phase("Bound"));
  EXPECT_EQ(driver_.last_create_volume().volume_content_source().snapshot().snapshot_id(),
            driver_.snapshots().front());
  cluster_.Wait(types::kVolumeSnapshot, kSnap,
                [](const Json& now) { return !kube::HasFinalizer(now, kRestoreFinalizer); });
}

TEST_F(SidecarsTest, RestoreWaitsForItsSnapshot) {
  PrepareSource();
  AddClaim({"default", "restored"}, "fast", FromSnapshot("snap"));
  cluster_.WaitEvent("default", "restored", "ProvisioningFailed");
  AddSnapshot(kSnap);
  cluster_.Wait(types::kPersistentVolumeClaim, {"default", "restored"}, Phase("Bound"));
}

TEST_F(SidecarsTest, AForgottenRestoreDoesNotHoldItsSnapshot) {
  PrepareSource();
  AddSnapshot(kSnap);
  cluster_.Wait(types::kVolumeSnapshot, kSnap, IsReady);
  // As a provisioner leaves it that was killed in the middle of a restore whose claim is gone.
  cluster_.Update(types::kVolumeSnapshot, kSnap,
                  [](Json& snapshot) { kube::AddFinalizer(snapshot, kRestoreFinalizer); });
  cluster_.Delete(types::kVolumeSnapshot, kSnap);
  cluster_.WaitGone(types::kVolumeSnapshot, kSnap);
}

TEST_F(SidecarsTest, EphemeralVolumesComeAndGoWithTheirPod) {
  AddClass("late", "WaitForFirstConsumer");
  Json pod = kube::NewObject(types::kPod, {"default", "user"});
  Set(pod, "spec", *ParseJson(R"({"containers": [{"name": "main", "image": "busybox"}],
      "volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {
          "accessModes": ["ReadWriteOnce"], "storageClassName": "late",
          "resources": {"requests": {"storage": "1Gi"}}}}}}]})"));
  cluster_.Create(types::kPod, pod);
  cluster_.Wait(types::kPod, {"default", "user"}, Phase("Running"));
  EXPECT_EQ(driver_.volumes().size(), 1U);
  cluster_.Delete(types::kPod, {"default", "user"});
  cluster_.WaitGone(types::kPersistentVolumeClaim, {"default", "user-scratch"});
}

TEST_F(SidecarsTest, AVolumeWithoutItsContentIsThrownAway) {
  PrepareSource();
  AddSnapshot(kSnap);
  cluster_.Wait(types::kVolumeSnapshot, kSnap, IsReady);
  driver_.set_forget_source(true);
  AddClaim({"default", "restored"}, "fast", FromSnapshot("snap"));
  cluster_.WaitAny(types::kEvent, "default", [](const Json& now) {
    return StringAt(now, "involvedObject.name") == "restored" &&
           StringAt(now, "message").find("volume content source missing") != std::string::npos;
  });
  EXPECT_GE(driver_.Calls("DeleteVolume"), 1);
}

TEST_F(SidecarsTest, ClonesAClaim) {
  PrepareSource();
  AddClaim({"default", "copy"}, "fast",
           JsonObject{{"kind", "PersistentVolumeClaim"}, {"name", "data"}});
  cluster_.Wait(types::kPersistentVolumeClaim, {"default", "copy"}, Phase("Bound"));
  EXPECT_TRUE(driver_.last_create_volume().volume_content_source().has_volume());
}

TEST_F(SidecarsTest, GrowsAVolumeAndLeavesTheRestToTheNode) {
  PrepareSource();
  driver_.FailNext("ControllerExpandVolume", {Code::kUnavailable});
  cluster_.Update(types::kPersistentVolumeClaim, kData, [](Json& claim) {
    Set(claim, "spec.resources.requests", JsonObject{{"storage", "2Gi"}});
  });
  const Json claim = cluster_.Wait(types::kPersistentVolumeClaim, kData, [](const Json& now) {
    return kube::ConditionIs(now, "FileSystemResizePending");
  });
  EXPECT_EQ(StringAt(claim, "status.capacity.storage"), "1Gi");
  EXPECT_EQ(StringAt(claim, "status.allocatedResourceStatuses.storage"), "NodeResizePending");
  const Json volume =
      *cluster_.client().Get(types::kPersistentVolume, {"", StringAt(claim, "spec.volumeName")});
  EXPECT_EQ(StringAt(volume, "spec.capacity.storage"), "2Gi");
  cluster_.WaitEvent("default", "data", "FileSystemResizeRequired");
}

}  // namespace
}  // namespace thinsnap::sidecars
