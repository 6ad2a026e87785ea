// Pods, claims and volumes that lack one field, or hold null in it, on a node that other pods live
// on.
#include <tuple>

#include "tests/faults/lacking.h"
#include "tests/unit/kubelet/kubelet_fixture.h"

namespace thinsnap::kubelet {
namespace {

constexpr const char* kPod = R"({
  "metadata": {"name": "pod", "namespace": "default", "labels": {"a": "b"},
    "annotations": {"x": "y"},
    "ownerReferences": [{"kind": "Job", "name": "j", "uid": "j", "controller": true}]},
  "spec": {
    "nodeName": "n1", "restartPolicy": "Never", "serviceAccountName": "default",
    "terminationGracePeriodSeconds": 0, "activeDeadlineSeconds": 600, "hostname": "h",
    "securityContext": {"fsGroup": 1000, "runAsUser": 1000, "supplementalGroups": [7]},
    "initContainers": [{"name": "i", "image": "busybox", "command": ["true"]}],
    "containers": [{"name": "c", "image": "busybox", "command": ["sh", "-c", "exit 0"],
      "env": [{"name": "A", "value": "b"},
        {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "M", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "k"}}}],
      "envFrom": [{"prefix": "P_", "secretRef": {"name": "secret"}}],
      "ports": [{"name": "p", "containerPort": 80}],
      "resources": {"limits": {"cpu": "1", "memory": "64Mi"}},
      "securityContext": {"capabilities": {"drop": ["ALL"]}, "privileged": false},
      "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1},
      "lifecycle": {"postStart": {"exec": {"command": ["true"]}}},
      "volumeMounts": [{"name": "claim", "mountPath": "/v", "subPath": "s", "readOnly": false},
        {"name": "map", "mountPath": "/m"}, {"name": "all", "mountPath": "/a"}]}],
    "volumes": [
      {"name": "claim", "persistentVolumeClaim": {"claimName": "data", "readOnly": false}},
      {"name": "empty", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
      {"name": "map", "configMap": {"name": "map", "defaultMode": 420,
        "items": [{"key": "k", "path": "k"}]}},
      {"name": "secret", "secret": {"secretName": "secret"}},
      {"name": "all", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "audience": "a", "expirationSeconds": 600}},
        {"downwardAPI": {"items": [{"path": "labels",
          "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}}]},
  "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}})";

constexpr const char* kClaim = R"({
  "metadata": {"name": "data", "namespace": "default", "uid": "claim"},
  "spec": {"volumeName": "pv", "accessModes": ["ReadWriteOnce"],
    "resources": {"requests": {"storage": "1Gi"}}},
  "status": {"phase": "Bound", "capacity": {"storage": "1Gi"},
    "conditions": [{"type": "FileSystemResizePending", "status": "True"}]}})";

constexpr const char* kVolume = R"({
  "metadata": {"name": "pv", "uid": "pv"},
  "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
    "mountOptions": ["noatime"], "volumeMode": "Filesystem",
    "claimRef": {"name": "data", "namespace": "default", "uid": "claim"},
    "csi": {"driver": "csi.thinsnap.io", "volumeHandle": "v", "fsType": "ext4",
      "volumeAttributes": {"a": "b"}}}})";

class LackingPodsTest : public KubeletTest {
 protected:
  void SetUp() override {
    KubeletTest::SetUp();
    if (IsSkipped()) return;
    Put(kube::types::kPersistentVolumeClaim, *ParseJson(kClaim));
    Put(kube::types::kPersistentVolume, *ParseJson(kVolume));
    Put(kube::types::kConfigMap,
        *ParseJson(R"({"metadata": {"name": "map", "namespace": "default"}, "data": {"k": "v"}})"));
    Put(kube::types::kSecret, *ParseJson(R"({"metadata": {"name": "secret",
      "namespace": "default"}, "data": {"k": "dg=="}})"));
  }

  void Put(const kube::ResourceType& type, Json object) { client_.Put(type, std::move(object)); }

  // A pod of its own name and uid.
  void PutPod(Json pod) {
    const std::string name = "pod-" + std::to_string(++pods_);
    Set(pod, "metadata.name", name);
    Set(pod, "metadata.uid", "uid-of-" + name);
    Put(kube::types::kPod, std::move(pod));
  }
  // The kubelet still runs a pod that lacks nothing.
  void ExpectAlive() {
    Json pod = *ParseJson(kPod);
    Set(pod, "metadata.name", "alive");
    Set(pod, "metadata.uid", "uid-of-alive");
    Put(kube::types::kPod, std::move(pod));
    EXPECT_TRUE(WaitForPhase("alive", "Succeeded"));
  }

  int pods_ = 0;
};

TEST_F(LackingPodsTest, NoPodEndsTheKubelet) {
  for (const auto& lacking : faults::LackingOneField(*ParseJson(kPod))) PutPod(lacking.object);
  ExpectAlive();
}

TEST_F(LackingPodsTest, NoVolumeEndsTheKubelet) {
  for (const auto& [type, sample] : {std::pair{kube::types::kPersistentVolumeClaim, kClaim},
                                     std::pair{kube::types::kPersistentVolume, kVolume}}) {
    for (const auto& lacking : faults::LackingOneField(*ParseJson(sample))) {
      Put(type, lacking.object);
      PutPod(*ParseJson(kPod));
      std::ignore = client_.Delete(type, kube::KeyOf(lacking.object));
      Put(type, *ParseJson(sample));
    }
  }
  ExpectAlive();
}

}  // namespace
}  // namespace thinsnap::kubelet
