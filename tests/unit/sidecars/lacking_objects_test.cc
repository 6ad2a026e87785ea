// Controllers, scheduler and sidecars are shown objects that lack one field, or hold null in it, as
// a server that checks less would send them. No object may end the process that looks after all.
#include <gtest/gtest.h>
#include <map>
#include <tuple>

#include "base/data/yaml.h"
#include "base/kube/object.h"
#include "simulator/controllers/start.h"
#include "simulator/sidecars/start.h"
#include "tests/faults/lacking.h"
#include "tests/unit/kubelet/memory_kube.h"
#include "tests/unit/sidecars/fake_driver.h"
#include "tests/virtual_time.h"

namespace thinsnap::kube {

// For names in failures.
void PrintTo(const ResourceType& type, std::ostream* to) { *to << type.kind; }

}  // namespace thinsnap::kube

namespace thinsnap::testing {
namespace {

namespace types = kube::types;
using kube::ResourceType;

// One object of each kind that a part looks into, and they refer to each other.
const std::map<ResourceType, const char*>& Samples() {
  static const std::map<ResourceType, const char*> samples = {
      {types::kNamespace,
       "{metadata: {name: default, labels: {kubernetes.io/metadata.name: default}}, "
       "spec: {finalizers: [kubernetes]}, status: {phase: Active}}"},
      {types::kServiceAccount, "{metadata: {name: default, namespace: default}}"},
      {types::kNode, R"(
metadata: {name: a, labels: {kubernetes.io/hostname: a, test.csi/node: a}, annotations: {x: "y"}}
spec: {podCIDR: 10.0.0.0/24, unschedulable: false, taints: [{key: k, value: v, effect: PreferNoSchedule}]}
status:
  capacity: {cpu: "4", memory: 8Gi, pods: "110"}
  allocatable: {cpu: "4", memory: 8Gi, pods: "110"}
  conditions: [{type: Ready, status: "True", reason: KubeletReady, lastHeartbeatTime: "2026-01-01T00:00:00Z"}]
  addresses: [{type: Hostname, address: a}])"},
      {types::kLease, R"(
metadata: {name: a, namespace: kube-node-lease}
spec: {holderIdentity: a, leaseDurationSeconds: 40, renewTime: "2026-01-01T00:00:00.000000Z"})"},
      {types::kCsiNode, R"(
metadata: {name: a}
spec: {drivers: [{name: test.csi, nodeID: a, topologyKeys: [test.csi/node], allocatable: {count: 8}}]})"},
      {types::kCsiDriver,
       "{metadata: {name: test.csi}, spec: {attachRequired: false, podInfoOnMount: true}}"},
      {types::kStorageClass, R"(
metadata: {name: fast, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: test.csi
parameters: {kind: thin, csi.storage.k8s.io/fstype: ext4}
reclaimPolicy: Delete
volumeBindingMode: WaitForFirstConsumer
allowVolumeExpansion: true
mountOptions: [noatime]
allowedTopologies: [{matchLabelExpressions: [{key: test.csi/node, values: [a]}]}])"},
      {types::kPersistentVolumeClaim, R"(
metadata:
  name: data
  namespace: default
  uid: claim
  labels: {app: db}
  finalizers: [kubernetes.io/pvc-protection]
  annotations: {volume.kubernetes.io/storage-provisioner: test.csi, volume.kubernetes.io/selected-node: a,
    pv.kubernetes.io/bind-completed: "yes"}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: fast
  volumeMode: Filesystem
  volumeName: pv
  resources: {requests: {storage: 2Gi}}
  selector: {matchLabels: {app: db}}
  dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: snap}
status:
  phase: Bound
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  conditions: [{type: FileSystemResizePending, status: "True"}])"},
      {types::kPersistentVolume, R"(
metadata: {name: pv, uid: pv, labels: {app: db}, finalizers: [kubernetes.io/pv-protection],
  annotations: {pv.kubernetes.io/provisioned-by: test.csi, pv.kubernetes.io/bound-by-controller: "yes"}}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  volumeMode: Filesystem
  persistentVolumeReclaimPolicy: Delete
  storageClassName: fast
  claimRef: {kind: PersistentVolumeClaim, name: data, namespace: default, uid: claim}
  csi: {driver: test.csi, volumeHandle: v, fsType: ext4, volumeAttributes: {a: b}}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: test.csi/node, operator: In, values: [a]}]}]}}
status: {phase: Bound})"},
      {types::kPod, R"(
metadata: {name: db, namespace: default, uid: pod, labels: {app: db}, annotations: {x: "y"},
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-1, uid: rs, controller: true}]}
spec:
  nodeName: a
  schedulerName: default-scheduler
  priority: 5
  nodeSelector: {test.csi/node: a}
  tolerations: [{key: k, operator: Exists, effect: NoExecute, tolerationSeconds: 300}]
  affinity:
    nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: test.csi/node, operator: Exists}]}]}}
    podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: test.csi/node, labelSelector: {matchLabels: {app: other}}}]}
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: test.csi/node, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: db}}}]
  containers: [{name: c, image: busybox, ports: [{hostPort: 80, containerPort: 80}], resources: {requests: {cpu: 100m, memory: 1Mi}}}]
  volumes: [{name: v, persistentVolumeClaim: {claimName: data}}, {name: w, ephemeral: {volumeClaimTemplate: {metadata: {labels: {a: b}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}}}]
status:
  phase: Running
  startTime: "2026-01-01T00:00:00Z"
  conditions: [{type: Ready, status: "True"}, {type: PodScheduled, status: "True"}]
  containerStatuses: [{name: c, ready: true, restartCount: 0, state: {running: {startedAt: "2026-01-01T00:00:00Z"}}}])"},
      {types::kJob, R"(
metadata: {name: once, namespace: default, uid: job, labels: {a: b},
  ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: nightly, uid: cron, controller: true}]}
spec:
  completions: 2
  parallelism: 1
  backoffLimit: 3
  activeDeadlineSeconds: 600
  ttlSecondsAfterFinished: 60
  completionMode: Indexed
  podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget, status: "True"}]}]}
  selector: {matchLabels: {job-name: once}}
  template: {metadata: {labels: {job-name: once}}, spec: {restartPolicy: Never, containers: [{name: c, image: busybox}]}}
status: {startTime: "2026-01-01T00:00:00Z", active: 1, conditions: [{type: Suspended, status: "False"}]})"},
      {types::kCronJob, R"(
metadata: {name: nightly, namespace: default, uid: cron, creationTimestamp: "2026-01-01T00:00:00Z"}
spec:
  schedule: "* * * * *"
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 100
  successfulJobsHistoryLimit: 1
  jobTemplate: {metadata: {labels: {a: b}}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: busybox}]}}}}
status: {lastScheduleTime: "2026-01-01T00:00:00Z", active: [{kind: Job, name: once, namespace: default, uid: job}]})"},
      {types::kDeployment, R"(
metadata: {name: web, namespace: default, uid: deployment, generation: 2, annotations: {x: "y"}}
spec:
  replicas: 1
  minReadySeconds: 1
  progressDeadlineSeconds: 60
  revisionHistoryLimit: 2
  selector: {matchLabels: {app: web}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 25%}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: busybox}]}}
status: {observedGeneration: 1, conditions: [{type: Progressing, status: "True", reason: ReplicaSetUpdated}]})"},
      {types::kReplicaSet, R"(
metadata: {name: web-1, namespace: default, uid: rs, labels: {app: web, pod-template-hash: "1"},
  annotations: {deployment.kubernetes.io/revision: "1"},
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: deployment, controller: true}]}
spec:
  replicas: 1
  selector: {matchLabels: {app: web, pod-template-hash: "1"}}
  template: {metadata: {labels: {app: web, pod-template-hash: "1"}}, spec: {containers: [{name: c, image: busybox}]}}
status: {replicas: 1, readyReplicas: 0})"},
      {types::kStatefulSet, R"(
metadata: {name: db, namespace: default, uid: set}
spec:
  replicas: 2
  serviceName: db
  podManagementPolicy: OrderedReady
  ordinals: {start: 1}
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Delete}
  updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}}
  selector: {matchLabels: {app: sdb}}
  template: {metadata: {labels: {app: sdb}}, spec: {containers: [{name: c, image: busybox}]}}
  volumeClaimTemplates: [{metadata: {name: data, labels: {a: b}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
status: {replicas: 1, currentRevision: db-1, updateRevision: db-2})"},
      {types::kDaemonSet, R"(
metadata: {name: agent, namespace: default, uid: ds, annotations: {deprecated.daemonset.template.generation: "1"}}
spec:
  selector: {matchLabels: {app: agent}}
  updateStrategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}
  template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: c, image: busybox}]}}
status: {currentNumberScheduled: 1})"},
      {types::kControllerRevision, R"(
metadata: {name: x, namespace: default, labels: {app: agent, controller-revision-hash: "1"},
  ownerReferences: [{apiVersion: apps/v1, kind: DaemonSet, name: agent, uid: ds, controller: true}]}
revision: 1
data: {spec: {template: {$patch: replace, metadata: {labels: {app: agent}}, spec: {containers: [{name: c, image: busybox}]}}}})"},
      {types::kCustomResourceDefinition, R"(
metadata: {name: things.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: things, singular: thing, kind: Thing}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
status: {conditions: [{type: Established, status: "True"}], storedVersions: [v1]})"},
      {types::kVolumeSnapshotClass,
       "{metadata: {name: snaps, annotations: {snapshot.storage.kubernetes.io/is-default-class: "
       "'true'}}, driver: test.csi, deletionPolicy: Delete, parameters: {a: b}}"},
      {types::kVolumeSnapshot, R"(
metadata: {name: snap, namespace: default, uid: snap, finalizers: [snapshot.storage.kubernetes.io/volumesnapshot-bound-protection]}
spec: {volumeSnapshotClassName: snaps, source: {persistentVolumeClaimName: data}}
status: {boundVolumeSnapshotContentName: snapcontent-snap, readyToUse: true, restoreSize: 1Gi, creationTime: "2026-01-01T00:00:00Z"})"},
      {types::kVolumeSnapshotContent, R"(
metadata: {name: snapcontent-snap, uid: content, annotations: {snapshot.storage.kubernetes.io/volumesnapshot-being-created: "yes"},
  finalizers: [snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection]}
spec:
  deletionPolicy: Delete
  driver: test.csi
  source: {volumeHandle: v}
  sourceVolumeMode: Filesystem
  volumeSnapshotClassName: snaps
  volumeSnapshotRef: {apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshot, name: snap, namespace: default, uid: snap}
status: {snapshotHandle: s, readyToUse: true, creationTime: 1767225600000000000, restoreSize: 1073741824})"},
  };
  return samples;
}

// What others only look at as an object among objects.
constexpr const char* kPlain = R"(
metadata: {name: plain, namespace: default, uid: plain, labels: {a: b}, annotations: {x: "y"}, finalizers: [example.com/keep],
  ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: deployment, controller: true, blockOwnerDeletion: true}]}
spec: {a: b}
status: {a: b})";

Json SampleOf(const ResourceType& type) {
  const auto sample = Samples().find(type);
  Json object = *ParseYaml(sample == Samples().end() ? kPlain : sample->second);
  Set(object, "apiVersion", type.api_version());
  Set(object, "kind", type.kind);
  if (!type.namespaced) Remove(object, "metadata.namespace");
  return object;
}

// All parts of a cluster over a server that believes everything, on virtual time.
class LackingWorld {
 public:
  explicit LackingWorld(Runtime& runtime)
      : runtime_(runtime), kube_(runtime), informers_(runtime, kube_), group_(runtime) {
    for (const auto& [type, sample] : Samples()) kube_.Put(type, SampleOf(type));
    controllers_ = controllers::StartControllers(runtime, group_, kube_, informers_, random_);
    sidecars::SidecarOptions options;
    options.driver_name = "test.csi";
    sidecars_ =
        sidecars::StartSidecars(runtime, group_, kube_, informers_, random_, driver_, options);
    informers_.StartAll(group_);
    Settle();
  }
  ~LackingWorld() {
    group_.Stop();
    group_.Join();
  }

  // Comes, changes, goes and comes back whole.
  void Show(const ResourceType& type, const Json& lacking) {
    const Json whole = SampleOf(type);
    kube_.Put(type, lacking);
    Settle();
    kube::DeleteOptions at_once;
    at_once.grace_period_seconds = 0;
    std::ignore = kube_.Delete(type, kube::KeyOf(whole), at_once);
    Settle();
    kube_.Put(type, lacking);
    kube_.Put(type, whole);
    Settle();
  }
  std::set<ResourceType> Watched() { return kube_.listed(); }
  // The scheduler and the first controllers still do their work.
  bool Alive() {
    Json set = *ParseYaml(R"(
metadata: {name: alive, namespace: default}
spec:
  replicas: 1
  selector: {matchLabels: {app: alive}}
  template: {metadata: {labels: {app: alive}}, spec: {containers: [{name: c, image: busybox}]}})");
    Set(set, "metadata.uid", "alive-" + std::to_string(++asked_));
    kube_.Put(types::kReplicaSet, set);
    for (int second = 0; second < 600; ++second) {
      // The node's heart beats.
      Json lease = SampleOf(types::kLease);
      Set(lease, "spec.renewTime", FormatRfc3339(runtime_.clock().Now()));
      kube_.Put(types::kLease, lease);
      kube_.Put(types::kNode, SampleOf(types::kNode));
      Settle();
      const auto pods = *kube_.List(types::kPod, "default");
      for (const Json& pod : pods.items) {
        const Json* owner = kube::ControllerOf(pod);
        if (owner != nullptr && StringAt(*owner, "uid") == kube::UidOf(set) &&
            !StringAt(pod, "spec.nodeName").empty())
          return true;
      }
    }
    return false;
  }

 private:
  void Settle() { EXPECT_TRUE(runtime_.SleepFor(std::chrono::seconds(1)).ok()); }

  Runtime& runtime_;
  kubelet::MemoryKube kube_;
  SeededRandom random_{7};
  FakeDriver driver_;
  kube::InformerSet informers_;
  TaskGroup group_;
  std::unique_ptr<controllers::Controllers> controllers_;
  std::unique_ptr<sidecars::Sidecars> sidecars_;
  int asked_ = 0;
};

std::set<ResourceType> WatchedKinds() {
  std::set<ResourceType> watched;
  FiberRuntime runtime(1);
  RunWell(runtime, [&] { watched = LackingWorld(runtime).Watched(); });
  return watched;
}

class LackingObjectsTest : public ::testing::TestWithParam<ResourceType> {};

TEST_P(LackingObjectsTest, NoneEndsTheProcess) {
  const ResourceType& type = GetParam();
  FiberRuntime runtime(1);
  RunWell(runtime, [&] {
    LackingWorld world(runtime);
    for (const auto& lacking : faults::LackingOneField(SampleOf(type))) {
      SCOPED_TRACE(type.kind + " with " + lacking.what);
      world.Show(type, lacking.object);
    }
    EXPECT_TRUE(world.Alive());
  });
}

INSTANTIATE_TEST_SUITE_P(, LackingObjectsTest, ::testing::ValuesIn(WatchedKinds()),
                         [](const auto& kind) { return kind.param.kind; });

TEST(LackingSamplesTest, EachSampleIsOfAKindThatIsWatched) {
  const auto watched = WatchedKinds();
  for (const auto& [type, sample] : Samples())
    EXPECT_TRUE(watched.contains(type) || type == types::kCsiDriver) << type.kind;
}

}  // namespace
}  // namespace thinsnap::testing
