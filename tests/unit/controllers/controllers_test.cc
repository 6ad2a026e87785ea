// The controllers against the real API server, in one process.
#include <gtest/gtest.h>
#include <set>
#include <string>

#include "base/kube/object.h"
#include "simulator/placement/volume_match.h"
#include "tests/unit/controllers/cluster.h"

namespace thinsnap::controllers {
namespace {

namespace types = kube::types;
using testing::Cluster;

Json Parse(const std::string& text) { return ParseJson(text).ValueOr(nullptr); }

const char kPod[] =
    R"({"containers": [{"name": "main", "image": "busybox"}], "restartPolicy": "Never"})";

Json Pod(const std::string& name, const std::string& claim = "") {
  Json pod = kube::NewObject(types::kPod, {"default", name});
  Set(pod, "spec", Parse(kPod));
  if (!claim.empty()) {
    Set(pod, "spec.volumes",
        Parse(R"([{"name": "data", "persistentVolumeClaim": {"claimName": ")" + claim + R"("}}])"));
  }
  return pod;
}

Json Job(const std::string& name, const std::string& exit_code) {
  Json job = kube::NewObject(types::kJob, {"default", name});
  Set(job, "spec.template.spec", Parse(kPod));
  if (!exit_code.empty())
    Set(job, "spec.template.metadata.annotations", JsonObject{{"test/exit", exit_code}});
  return job;
}

Json Volume(const std::string& name, const std::string& size, const std::string& node = "") {
  Json volume = kube::NewObject(types::kPersistentVolume, {"", name});
  Set(volume, "spec", Parse(R"({"accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"},
                                "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "manual"})"));
  Set(volume, "spec.capacity", JsonObject{{"storage", size}});
  if (!node.empty()) {
    Set(volume, "spec.nodeAffinity.required.nodeSelectorTerms",
        Parse(
            R"([{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [")" +
            node + R"("]}]}])"));
  }
  return volume;
}

Json Claim(const std::string& name, const std::string& size = "1Gi") {
  Json claim = kube::NewObject(types::kPersistentVolumeClaim, {"default", name});
  Set(claim, "spec", Parse(R"({"accessModes": ["ReadWriteOnce"], "storageClassName": "manual"})"));
  Set(claim, "spec.resources.requests", JsonObject{{"storage", size}});
  return claim;
}

Cluster::Predicate Phase(const std::string& phase) {
  return [phase](const Json& object) { return StringAt(object, "status.phase") == phase; };
}

Cluster::Predicate Condition(const std::string& type) {
  return [type](const Json& object) { return kube::ConditionIs(object, type); };
}

TEST(ControllersTest, SchedulerBindsToANodeThatFits) {
  Cluster cluster;
  cluster.AddNode("a");
  cluster.AddNode("b");
  Json pod = Pod("picky");
  Set(pod, "spec.nodeSelector", JsonObject{{"kubernetes.io/hostname", "b"}});
  cluster.Create(types::kPod, pod);
  EXPECT_EQ(
      StringAt(cluster.Wait(types::kPod, {"default", "picky"}, Phase("Running")), "spec.nodeName"),
      "b");
  cluster.WaitEvent("default", "picky", "Scheduled");
}

TEST(ControllersTest, SchedulerSaysWhyNotAndTriesAgain) {
  Cluster cluster;
  cluster.AddNode("a");
  Json pod = Pod("picky");
  Set(pod, "spec.nodeSelector", JsonObject{{"kubernetes.io/hostname", "b"}});
  cluster.Create(types::kPod, pod);
  // The pod may be seen before the node: then another sentence comes first.
  cluster.WaitAny(types::kEvent, "default", [](const Json& event) {
    return StringAt(event, "involvedObject.name") == "picky" &&
           StringAt(event, "reason") == "FailedScheduling" &&
           StringAt(event, "message") ==
               "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.";
  });
  cluster.AddNode("b");
  cluster.Wait(types::kPod, {"default", "picky"}, Phase("Running"));
}

// Nothing provisions here: both pods wait for their volumes, and are neighbours all the same.
TEST(ControllersTest, PodsThatWaitForTheirVolumesKeepApart) {
  Cluster cluster;
  cluster.AddNode("a");
  cluster.AddNode("b");
  Json late = kube::NewObject(types::kStorageClass, {"", "late"});
  Set(late, "provisioner", "test.csi");
  Set(late, "volumeBindingMode", "WaitForFirstConsumer");
  cluster.Create(types::kStorageClass, late);
  std::set<std::string> nodes;
  for (const std::string name : {"one", "two"}) {
    Json claim = Claim(name);
    Set(claim, "spec.storageClassName", "late");
    cluster.Create(types::kPersistentVolumeClaim, claim);
    Json pod = Pod(name, name);
    kube::SetLabel(pod, "app", "db");
    Set(pod, "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution",
        Parse(R"([{"topologyKey": "kubernetes.io/hostname",
                   "labelSelector": {"matchLabels": {"app": "db"}}}])"));
    cluster.Create(types::kPod, pod);
    const auto selected = [](const Json& object) {
      return !kube::AnnotationOf(object, placement::kSelectedNode).empty();
    };
    nodes.insert(
        kube::AnnotationOf(cluster.Wait(types::kPersistentVolumeClaim, {"default", name}, selected),
                           placement::kSelectedNode));
  }
  EXPECT_EQ(nodes, (std::set<std::string>{"a", "b"}));
}

TEST(ControllersTest, BinderTakesTheSmallestVolumeThatFits) {
  Cluster cluster;
  cluster.Create(types::kPersistentVolume, Volume("large", "10Gi"));
  cluster.Create(types::kPersistentVolume, Volume("small", "2Gi"));
  cluster.Create(types::kPersistentVolume, Volume("tiny", "1Mi"));
  for (const char* name : {"large", "small", "tiny"}) {
    cluster.Wait(types::kPersistentVolume, {"", name}, Phase("Available"));
  }
  cluster.Create(types::kPersistentVolumeClaim, Claim("data"));
  const Json claim =
      cluster.Wait(types::kPersistentVolumeClaim, {"default", "data"}, Phase("Bound"));
  EXPECT_EQ(StringAt(claim, "spec.volumeName"), "small");
  EXPECT_EQ(StringAt(claim, "status.capacity.storage"), "2Gi");
  EXPECT_EQ(kube::AnnotationOf(claim, "pv.kubernetes.io/bind-completed"), "yes");
  EXPECT_EQ(kube::AnnotationOf(claim, "pv.kubernetes.io/bound-by-controller"), "yes");
  const Json volume = cluster.Wait(types::kPersistentVolume, {"", "small"}, Phase("Bound"));
  EXPECT_EQ(StringAt(volume, "spec.claimRef.uid"), kube::UidOf(claim));

  cluster.Delete(types::kPersistentVolumeClaim, {"default", "data"});
  cluster.WaitGone(types::kPersistentVolumeClaim, {"default", "data"});
  cluster.Wait(types::kPersistentVolume, {"", "small"}, Phase("Released"));
}

TEST(ControllersTest, BinderSaysWhenAClaimIsLost) {
  Cluster cluster;
  cluster.Create(types::kPersistentVolume, Volume("only", "2Gi"));
  cluster.Create(types::kPersistentVolumeClaim, Claim("data"));
  cluster.Wait(types::kPersistentVolumeClaim, {"default", "data"}, Phase("Bound"));
  cluster.Delete(types::kPersistentVolume, {"", "only"});
  // Bound volumes are protected; only force makes a claim lose one.
  cluster.Wait(types::kPersistentVolume, {"", "only"}, kube::IsDeleting);
  cluster.Update(types::kPersistentVolume, {"", "only"},
                 [](Json& volume) { Remove(volume, "metadata.finalizers"); });
  cluster.Wait(types::kPersistentVolumeClaim, {"default", "data"}, Phase("Lost"));
  cluster.WaitEvent("default", "data", "ClaimLost");
}

TEST(ControllersTest, ClaimStaysWhileAPodUsesIt) {
  Cluster cluster;
  cluster.AddNode("a");
  cluster.Create(types::kPersistentVolume, Volume("only", "2Gi", "a"));
  cluster.Create(types::kPersistentVolumeClaim, Claim("data"));
  cluster.Create(types::kPod, Pod("user", "data"));
  cluster.Wait(types::kPod, {"default", "user"}, Phase("Running"));
  cluster.Delete(types::kPersistentVolumeClaim, {"default", "data"});
  const Json claim =
      cluster.Wait(types::kPersistentVolumeClaim, {"default", "data"}, kube::IsDeleting);
  EXPECT_TRUE(kube::HasFinalizer(claim, "kubernetes.io/pvc-protection"));
  cluster.Delete(types::kPod, {"default", "user"});
  cluster.WaitGone(types::kPersistentVolumeClaim, {"default", "data"});
}

TEST(ControllersTest, PodsOfADeletedNodeGoAtOnceAndReleaseTheirClaims) {
  Cluster cluster;
  cluster.AddNode("a");
  cluster.Create(types::kPersistentVolume, Volume("only", "2Gi", "a"));
  cluster.Create(types::kPersistentVolumeClaim, Claim("data"));
  cluster.Create(types::kPod, Pod("user", "data"));
  cluster.Wait(types::kPod, {"default", "user"}, Phase("Running"));
  cluster.Delete(types::kNode, {"", "a"});
  cluster.WaitGone(types::kPod, {"default", "user"});
  cluster.WaitGone(types::kCsiNode, {"", "a"});
  cluster.Delete(types::kPersistentVolumeClaim, {"default", "data"});
  cluster.WaitGone(types::kPersistentVolumeClaim, {"default", "data"});
}

TEST(ControllersTest, JobCompletesAndItsPodsGoWithIt) {
  Cluster cluster;
  cluster.AddNode("a");
  cluster.Create(types::kJob, Job("work", "0"));
  const Json job = cluster.Wait(types::kJob, {"default", "work"}, Condition("Complete"));
  EXPECT_EQ(IntAt(job, "status.succeeded"), 1);
  EXPECT_TRUE(kube::ConditionIs(job, "SuccessCriteriaMet"));
  const Json pod = cluster.WaitAny(types::kPod, "default", Phase("Succeeded"));
  EXPECT_TRUE(ArrayAt(pod, "metadata.finalizers").empty());
  cluster.WaitEvent("default", "work", "Completed");
  cluster.Delete(types::kJob, {"default", "work"}, "Background");
  cluster.WaitGone(types::kPod, kube::KeyOf(pod));
}

TEST(ControllersTest, JobFailsBeyondItsLimit) {
  ControllerOptions options;
  options.job_backoff = std::chrono::milliseconds(1);
  Cluster cluster(nullptr, options);
  cluster.AddNode("a");
  Json job = Job("work", "1");
  Set(job, "spec.backoffLimit", 1);
  cluster.Create(types::kJob, job);
  job = cluster.Wait(types::kJob, {"default", "work"}, Condition("Failed"));
  EXPECT_EQ(IntAt(job, "status.failed"), 2);
  EXPECT_EQ(StringAt(*kube::FindCondition(job, "Failed"), "reason"), "BackoffLimitExceeded");
}

TEST(ControllersTest, JobDeletedInTheForegroundWaitsForItsPods) {
  Cluster cluster;
  cluster.AddNode("a");
  cluster.Create(types::kJob, Job("work", ""));
  cluster.WaitAny(types::kPod, "default", Phase("Running"));
  cluster.Delete(types::kJob, {"default", "work"}, "Foreground");
  cluster.WaitGone(types::kJob, {"default", "work"});
  EXPECT_TRUE(cluster.client().List(types::kPod, "default")->items.empty());
}

TEST(ControllersTest, OrphansStay) {
  Cluster cluster;
  cluster.AddNode("a");
  cluster.Create(types::kJob, Job("work", ""));
  const Json pod = cluster.WaitAny(types::kPod, "default", Phase("Running"));
  cluster.Delete(types::kJob, {"default", "work"}, "Orphan");
  cluster.WaitGone(types::kJob, {"default", "work"});
  cluster.Wait(types::kPod, kube::KeyOf(pod),
               [](const Json& left) { return ArrayAt(left, "metadata.ownerReferences").empty(); });
}

TEST(ControllersTest, GarbageCollectorKnowsCustomOwners) {
  Cluster cluster;
  Json owner = kube::NewObject(types::kVolumeSnapshotClass, {"", "owner"});
  Set(owner, "driver", "d");
  Set(owner, "deletionPolicy", "Delete");
  owner = cluster.Create(types::kVolumeSnapshotClass, owner);
  Json kept = owner;
  Set(kept, "metadata.name", "kept");
  Remove(kept, "metadata.uid");
  Remove(kept, "metadata.resourceVersion");
  kept = cluster.Create(types::kVolumeSnapshotClass, kept);
  const auto dependent = [&](const char* name, const std::vector<Json>& owners) {
    Json map = kube::NewObject(types::kConfigMap, {"default", name});
    for (const Json& one : owners)
      kube::AddOwnerReference(map, kube::OwnerReference(one, false, false));
    cluster.Create(types::kConfigMap, map);
  };
  // An owner of the right name and another uid is another object.
  Json impostor = kept;
  Set(impostor, "metadata.uid", "not-this-one");
  dependent("of-nobody", {impostor});
  dependent("of-one", {owner});
  dependent("of-both", {owner, kept});
  cluster.WaitGone(types::kConfigMap, {"default", "of-nobody"});
  EXPECT_TRUE(cluster.Exists(types::kConfigMap, {"default", "of-one"}));
  cluster.Delete(types::kVolumeSnapshotClass, {"", "owner"});
  cluster.WaitGone(types::kConfigMap, {"default", "of-one"});
  const Json shared = cluster.Wait(types::kConfigMap, {"default", "of-both"}, [](const Json& now) {
    return ArrayAt(now, "metadata.ownerReferences").size() == 1;
  });
  EXPECT_TRUE(kube::IsOwnedBy(shared, kube::UidOf(kept)));
}

TEST(ControllersTest, FinishedJobGoesAfterItsTime) {
  Cluster cluster;
  cluster.AddNode("a");
  Json job = Job("work", "0");
  Set(job, "spec.ttlSecondsAfterFinished", 0);
  cluster.Create(types::kJob, job);
  cluster.WaitGone(types::kJob, {"default", "work"});
}

TEST(ControllersTest, CronJobFollowsAJobMadeByHand) {
  Cluster cluster;
  cluster.AddNode("a");
  Json cron_job = kube::NewObject(types::kCronJob, {"default", "nightly"});
  Set(cron_job, "spec.schedule", "0 0 29 2 *");
  Set(cron_job, "spec.successfulJobsHistoryLimit", 0);
  Set(cron_job, "spec.jobTemplate.spec.template.spec", Parse(kPod));
  cron_job = cluster.Create(types::kCronJob, cron_job);
  // As kubectl create job --from=cronjob/nightly does.
  Json job = Job("by-hand", "0");
  kube::SetAnnotation(job, "cronjob.kubernetes.io/instantiate", "manual");
  kube::AddOwnerReference(job, kube::OwnerReference(cron_job));
  cluster.Create(types::kJob, job);
  cluster.Wait(types::kCronJob, {"default", "nightly"},
               [](const Json& now) { return !StringAt(now, "status.lastSuccessfulTime").empty(); });
  cluster.WaitGone(types::kJob, {"default", "by-hand"});
}

TEST(ControllersTest, CronJobStartsWhatWasMissed) {
  Cluster cluster;
  cluster.AddNode("a");
  Json cron_job = kube::NewObject(types::kCronJob, {"default", "nightly"});
  Set(cron_job, "spec.schedule", "* * * * *");
  Set(cron_job, "spec.suspend", true);
  Set(cron_job, "spec.jobTemplate.spec.template.spec", Parse(kPod));
  cluster.Create(types::kCronJob, cron_job);
  cluster.Update(
      types::kCronJob, {"default", "nightly"},
      [](Json& object) { Set(object, "status.lastScheduleTime", "2020-01-01T00:00:00Z"); },
      "status");
  cluster.Update(types::kCronJob, {"default", "nightly"},
                 [](Json& object) { Set(object, "spec.suspend", false); });
  cron_job = cluster.Wait(types::kCronJob, {"default", "nightly"},
                          [](const Json& now) { return !ArrayAt(now, "status.active").empty(); });
  const auto scheduled = ParseRfc3339(StringAt(cron_job, "status.lastScheduleTime"));
  ASSERT_TRUE(scheduled.ok());
  const auto name = "nightly-" + std::to_string(UnixSeconds(*scheduled) / 60);
  EXPECT_EQ(StringAt(ArrayAt(cron_job, "status.active").front(), "name"), name);
  EXPECT_TRUE(cluster.Exists(types::kJob, {"default", name}));
}

TEST(ControllersTest, DeploymentRollsOut) {
  Cluster cluster;
  cluster.AddNode("a");
  cluster.AddNode("b");
  Json deployment = kube::NewObject(types::kDeployment, {"default", "web"});
  Set(deployment, "spec", Parse(R"({"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
      "template": {"metadata": {"labels": {"app": "web"}},
                   "spec": {"containers": [{"name": "main", "image": "one"}]}}})"));
  cluster.Create(types::kDeployment, deployment);
  const auto complete = [](const Json& now) {
    return IntAt(now, "status.updatedReplicas") == 2 &&
           IntAt(now, "status.availableReplicas") == 2 && IntAt(now, "status.replicas") == 2 &&
           IntAt(now, "status.observedGeneration") == IntAt(now, "metadata.generation");
  };
  cluster.Wait(types::kDeployment, {"default", "web"}, complete);
  cluster.Update(types::kDeployment, {"default", "web"}, [](Json& object) {
    FindMutable(object, "spec.template.spec.containers")->as_array()[0].as_object()["image"] =
        "two";
  });
  const Json rolled = cluster.Wait(types::kDeployment, {"default", "web"}, [&](const Json& now) {
    return complete(now) && IntAt(now, "metadata.generation") == 2;
  });
  EXPECT_EQ(kube::AnnotationOf(rolled, "deployment.kubernetes.io/revision"), "2");
  const auto pods = cluster.client().List(types::kPod, "default");
  ASSERT_TRUE(pods.ok());
  for (const Json& pod : pods->items) {
    if (kube::IsDeleting(pod)) continue;
    EXPECT_EQ(StringAt(ArrayAt(pod, "spec.containers").front(), "image"), "two");
  }
  cluster.Delete(types::kDeployment, {"default", "web"}, "Foreground");
  cluster.WaitGone(types::kDeployment, {"default", "web"});
  EXPECT_TRUE(cluster.client().List(types::kReplicaSet, "default")->items.empty());
}

TEST(ControllersTest, StatefulSetKeepsItsClaims) {
  Cluster cluster;
  cluster.AddNode("a");
  for (const char* name : {"one", "two"})
    cluster.Create(types::kPersistentVolume, Volume(name, "1Gi", "a"));
  Json set = kube::NewObject(types::kStatefulSet, {"default", "db"});
  Set(set, "spec",
      Parse(R"({"replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
      "template": {"metadata": {"labels": {"app": "db"}},
                   "spec": {"containers": [{"name": "main", "image": "busybox",
                                            "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}},
      "volumeClaimTemplates": [{"metadata": {"name": "data"},
          "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "manual",
                   "resources": {"requests": {"storage": "1Gi"}}}}]})"));
  cluster.Create(types::kStatefulSet, set);
  const auto ready = [](const Json& now) { return IntAt(now, "status.readyReplicas") == 2; };
  set = cluster.Wait(types::kStatefulSet, {"default", "db"}, ready);
  EXPECT_EQ(StringAt(set, "status.currentRevision"), StringAt(set, "status.updateRevision"));
  const Json claim =
      cluster.Wait(types::kPersistentVolumeClaim, {"default", "data-db-1"}, Phase("Bound"));
  cluster.Delete(types::kPod, {"default", "db-1"});
  cluster.Wait(types::kStatefulSet, {"default", "db"}, ready);
  EXPECT_EQ(
      kube::UidOf(*cluster.client().Get(types::kPersistentVolumeClaim, {"default", "data-db-1"})),
      kube::UidOf(claim));
  cluster.Delete(types::kStatefulSet, {"default", "db"}, "Background");
  cluster.WaitGone(types::kPod, {"default", "db-0"});
  EXPECT_TRUE(cluster.Exists(types::kPersistentVolumeClaim, {"default", "data-db-0"}));
}

TEST(ControllersTest, StatefulSetGivesUpClaimsThatItIsToldTo) {
  Cluster cluster;
  cluster.AddNode("a");
  for (const char* name : {"one", "two"})
    cluster.Create(types::kPersistentVolume, Volume(name, "1Gi", "a"));
  Json set = kube::NewObject(types::kStatefulSet, {"default", "db"});
  Set(set, "spec",
      Parse(R"({"replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
      "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
      "template": {"metadata": {"labels": {"app": "db"}},
                   "spec": {"containers": [{"name": "main", "image": "busybox",
                                            "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}},
      "volumeClaimTemplates": [{"metadata": {"name": "data"},
          "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "manual",
                   "resources": {"requests": {"storage": "1Gi"}}}}]})"));
  cluster.Create(types::kStatefulSet, set);
  const auto ready = [](const Json& now) { return IntAt(now, "status.readyReplicas") == 2; };
  set = cluster.Wait(types::kStatefulSet, {"default", "db"}, ready);
  cluster.Update(types::kStatefulSet, {"default", "db"},
                 [](Json& changed) { Set(changed, "spec.replicas", 1); });
  cluster.WaitGone(types::kPersistentVolumeClaim, {"default", "data-db-1"});
  EXPECT_TRUE(cluster.Exists(types::kPersistentVolumeClaim, {"default", "data-db-0"}));
  cluster.Delete(types::kStatefulSet, {"default", "db"}, "Background");
  cluster.WaitGone(types::kPersistentVolumeClaim, {"default", "data-db-0"});
}

TEST(ControllersTest, DaemonSetHasOnePodOnEachNode) {
  Cluster cluster;
  cluster.AddNode("a");
  Json set = kube::NewObject(types::kDaemonSet, {"default", "agent"});
  Set(set, "spec", Parse(R"({"selector": {"matchLabels": {"app": "agent"}},
      "template": {"metadata": {"labels": {"app": "agent"}},
                   "spec": {"containers": [{"name": "main", "image": "busybox"}]}}})"));
  cluster.Create(types::kDaemonSet, set);
  cluster.Wait(types::kDaemonSet, {"default", "agent"},
               [](const Json& now) { return IntAt(now, "status.numberReady") == 1; });
  cluster.AddNode("b");
  cluster.Wait(types::kDaemonSet, {"default", "agent"}, [](const Json& now) {
    return IntAt(now, "status.numberReady") == 2 &&
           IntAt(now, "status.desiredNumberScheduled") == 2;
  });
}

TEST(ControllersTest, NamespaceIsEmptiedAndGoes) {
  Cluster cluster;
  cluster.AddNode("a");
  cluster.AddNamespace("doomed");
  Json pod = Pod("user");
  Set(pod, "metadata.namespace", "doomed");
  cluster.Create(types::kPod, pod);
  // Nobody's, and gone with its namespace nevertheless.
  Json event = kube::NewObject(types::kEvent, {"doomed", "event"});
  Set(event, "involvedObject.namespace", "doomed");
  cluster.Create(types::kEvent, event);
  // A custom resource, which only its definition tells of.
  Json snapshot = kube::NewObject(types::kVolumeSnapshot, {"doomed", "snap"});
  Set(snapshot, "spec.source.persistentVolumeClaimName", "none");
  kube::AddFinalizer(snapshot, "test/hold");
  cluster.Create(types::kVolumeSnapshot, snapshot);
  cluster.Delete(types::kNamespace, {"", "doomed"});
  const Json held = cluster.Wait(types::kNamespace, {"", "doomed"}, [](const Json& now) {
    return kube::ConditionIs(now, "NamespaceFinalizersRemaining");
  });
  EXPECT_EQ(StringAt(held, "status.phase"), "Terminating");
  cluster.Wait(types::kVolumeSnapshot, {"doomed", "snap"}, kube::IsDeleting);
  cluster.Update(types::kVolumeSnapshot, {"doomed", "snap"},
                 [](Json& now) { Remove(now, "metadata.finalizers"); });
  cluster.WaitGone(types::kNamespace, {"", "doomed"});
  cluster.WaitGone(types::kEvent, {"doomed", "event"});
}

TEST(ControllersTest, NodeWithoutHeartbeatsBecomesUnknown) {
  ControllerOptions options;
  options.node_grace = std::chrono::seconds(1);
  Cluster cluster(nullptr, options);
  cluster.AddNode("a");
  const Json node = cluster.Wait(types::kNode, {"", "a"}, [](const Json& now) {
    return kube::ConditionIs(now, "Ready", "Unknown") && ArrayAt(now, "spec.taints").size() == 2;
  });
  EXPECT_EQ(StringAt(ArrayAt(node, "spec.taints").front(), "key"),
            "node.kubernetes.io/unreachable");
  // The kubelet is back.
  Json lease = kube::NewObject(types::kLease, {"kube-node-lease", "a"});
  Set(lease, "spec",
      JsonObject{{"holderIdentity", "a"}, {"renewTime", "2026-11-21T03:00:00.000000Z"}});
  cluster.Create(types::kLease, lease);
  cluster.Update(
      types::kNode, {"", "a"},
      [](Json& now) {
        kube::SetCondition(now, "Ready", true, "KubeletReady", "", FromUnixSeconds(1'795'000'000));
      },
      "status");
  cluster.Wait(types::kNode, {"", "a"},
               [](const Json& now) { return ArrayAt(now, "spec.taints").empty(); });
}

}  // namespace
}  // namespace thinsnap::controllers
