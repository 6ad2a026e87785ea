// Controllers and sidecars, killed after each of their writes and calls, cut off at each, shown old
// caches after each: no claim gets two volumes, no Job too many pods, and nothing is left behind.
#include <algorithm>
#include <gtest/gtest.h>

#include "base/data/yaml.h"
#include "base/kube/object.h"
#include "simulator/apiserver/api_server.h"
#include "simulator/controllers/start.h"
#include "simulator/sidecars/crds.h"
#include "simulator/sidecars/start.h"
#include "tests/faults/effects.h"
#include "tests/faults/fault_kube_client.h"
#include "tests/faults/words.h"
#include "tests/unit/sidecars/fake_driver.h"

namespace thinsnap::testing {
namespace {

namespace types = kube::types;
using faults::Effects;
using faults::Fault;
using faults::Process;
using kube::ObjectKey;
using kube::ResourceType;

constexpr Duration kTick = std::chrono::milliseconds(200);
constexpr Duration kPatience = std::chrono::hours(1);

// The driver as a process calls it: each call is an effect.
class FaultDriver final : public proto::CsiService {
 public:
  FaultDriver(proto::CsiService& inner, Effects& effects, Process& process)
      : inner_(inner), effects_(effects), process_(process) {}

#define THINSNAP_PASS_ON(verb)                                                           \
  Result<csi::v1::verb##Response> verb(const proto::Call& call,                          \
                                       const csi::v1::verb##Request& request) override { \
    return inner_.verb(call, request);                                                   \
  }
#define THINSNAP_EFFECT(verb)                                                            \
  Result<csi::v1::verb##Response> verb(const proto::Call& call,                          \
                                       const csi::v1::verb##Request& request) override { \
    return Travelled(faults::Perform<csi::v1::verb##Response>(                           \
        effects_, process_, #verb, [&] { return inner_.verb(call, request); }));         \
  }
  THINSNAP_PASS_ON(GetPluginInfo)
  THINSNAP_PASS_ON(GetPluginCapabilities)
  THINSNAP_PASS_ON(Probe)
  THINSNAP_PASS_ON(ControllerGetCapabilities)
  THINSNAP_PASS_ON(ListSnapshots)
  THINSNAP_EFFECT(CreateVolume)
  THINSNAP_EFFECT(DeleteVolume)
  THINSNAP_EFFECT(CreateSnapshot)
  THINSNAP_EFFECT(DeleteSnapshot)
  THINSNAP_EFFECT(ControllerExpandVolume)
#undef THINSNAP_PASS_ON
#undef THINSNAP_EFFECT

 private:
  template <typename T>
  static Result<T> Travelled(Result<T> answer) {
    if (!answer.Is(Code::kUnknownOutcome)) return answer;
    return Error(Code::kUnavailable, answer.error().message());
  }

  proto::CsiService& inner_;
  Effects& effects_;
  Process& process_;
};

class CrashCluster {
 public:
  CrashCluster(Runtime& runtime, Effects& effects) : runtime_(runtime), effects_(effects) {
    apiserver::Options options;
    options.without_http = true;
    options.service_accounts = false;  // or each pod has a volume of a name of its own
    server_ = *apiserver::ApiServer::Start(runtime_, *server_random_, options);
    client_ = apiserver::MakeInProcessKubeClient(*server_, "test");
    EXPECT_TRUE(sidecars::InstallCrds(runtime_, *client_, sidecars::SnapshotCrds()).ok());
    driver_.set_polls_until_ready(2);
    Apply(types::kNode, "{metadata: {name: a, labels: {test.csi/node: a}}}");
    Apply(types::kCsiNode,
          "{metadata: {name: a}, spec: {drivers: [{name: test.csi, nodeID: a, topologyKeys: "
          "[test.csi/node]}]}}");
    auto node = *client_->Get(types::kNode, {"", "a"});
    kube::SetCondition(node, "Ready", true, "KubeletReady", "", runtime_.clock().Now());
    EXPECT_TRUE(client_->Update(types::kNode, node, "status").ok());
    Apply(types::kStorageClass,
          "{metadata: {name: fast}, provisioner: test.csi, allowVolumeExpansion: true}");
    Apply(types::kVolumeSnapshotClass,
          "{metadata: {name: snaps}, driver: test.csi, deletionPolicy: Delete}");
  }
  ~CrashCluster() {
    if (life_) life_->process.Kill();
    server_->Stop();
  }

  void Apply(const ResourceType& type, const std::string& yaml) {
    auto object = *ParseYaml(yaml);
    if (type.namespaced) Set(object, "metadata.namespace", "default");
    const auto made = client_->Create(type, object);
    EXPECT_TRUE(made.ok()) << made.error().ToString();
  }
  void Claim(const std::string& name, const std::string& source = "") {
    Apply(types::kPersistentVolumeClaim,
          "{metadata: {name: " + name +
              "}, spec: {accessModes: [ReadWriteOnce], storageClassName: fast, resources: "
              "{requests: {storage: 1Gi}}" +
              source + "}}");
  }
  void Edit(const ResourceType& type, const std::string& name,
            const std::function<void(Json&)>& change) {
    auto object = *client_->Get(type, {"default", name});
    change(object);
    const auto updated = client_->Update(type, object);
    EXPECT_TRUE(updated.ok()) << updated.error().ToString();
  }
  void Delete(const ResourceType& type, const std::string& name) {
    kube::DeleteOptions options;
    options.propagation_policy = "Background";
    EXPECT_TRUE(client_->Delete(type, {"default", name}, options).ok());
  }
  std::vector<Json> List(const ResourceType& type) { return client_->List(type, "")->items; }
  bool All(const ResourceType& type, std::size_t count, const std::string& path,
           const std::string& value) {
    const auto objects = List(type);
    return objects.size() == count &&
           std::all_of(objects.begin(), objects.end(), [&](const Json& object) {
             const auto* found = Find(object, path);
             if (found == nullptr) return false;
             return (found->is_string() ? StringAt(object, path) : ToJson(*found)) == value;
           });
  }

  bool Until(const std::string& what, const std::function<bool()>& condition) {
    const auto deadline = runtime_.clock().MonoNow() + kPatience;
    while (!condition()) {
      if (runtime_.clock().MonoNow() > deadline) {
        ADD_FAILURE() << "never came to that: " << what << "\n" << Describe();
        return false;
      }
      Step();
    }
    return true;
  }
  // Things that nobody waits for come to their end.
  std::string End() {
    const auto until = runtime_.clock().MonoNow() + std::chrono::minutes(2);
    while (runtime_.clock().MonoNow() < until) Step();
    effects_.End();
    return Describe();
  }
  std::string Describe() {
    faults::Words words;
    std::vector<std::pair<std::string, Json>> objects;
    for (const auto* type :
         {&types::kPersistentVolumeClaim, &types::kPersistentVolume, &types::kVolumeSnapshot,
          &types::kVolumeSnapshotContent, &types::kJob, &types::kCronJob, &types::kStatefulSet,
          &types::kDeployment, &types::kReplicaSet, &types::kPod}) {
      for (auto& object : List(*type)) {
        words.MaskObject(object);
        objects.emplace_back(type->kind, std::move(object));
      }
    }
    for (const auto& [kind, object] : objects)
      words.Put(kind + " " + kube::KeyOf(object).ToString(), object);
    for (const auto& id : driver_.volumes()) words.Line("driver's " + id);
    for (const auto& id : driver_.snapshots()) words.Line("driver's " + id);
    return words.text();
  }

  Effects& effects() { return effects_; }
  FakeDriver& driver() { return driver_; }

 private:
  struct Life {
    Life(CrashCluster& owner, Runtime& runtime)
        : random(owner.random_.Stream("life " + std::to_string(++owner.lives_))),
          client(*owner.client_, owner.effects_, process),
          csi(owner.driver_, owner.effects_, process),
          informers(runtime, client),
          process(runtime) {
      auto& group = process.group();
      controllers::ControllerOptions options;
      options.node_grace = std::chrono::hours(24);
      controllers =
          controllers::StartControllers(runtime, group, client, informers, *random, options);
      sidecars::SidecarOptions sidecar_options;
      sidecar_options.driver_name = "test.csi";
      sidecars =
          sidecars::StartSidecars(runtime, group, client, informers, *random, csi, sidecar_options);
      informers.StartAll(group);
    }
    ~Life() {
      process.Kill();
      process.Join();
    }
    const std::unique_ptr<Random> random;  // its own: what it draws shifts nobody else's
    faults::FaultKubeClient client;
    FaultDriver csi;
    kube::InformerSet informers;
    Process process;
    std::unique_ptr<controllers::Controllers> controllers;
    std::unique_ptr<sidecars::Sidecars> sidecars;
  };

  void Step() {
    if (life_ && life_->process.dead()) {
      life_.reset();
      EXPECT_TRUE(runtime_.SleepFor(std::chrono::milliseconds(1500)).ok());
    }
    if (!life_) life_ = std::make_unique<Life>(*this, runtime_);
    MovePods();
    EXPECT_TRUE(runtime_.SleepFor(kTick).ok());
  }
  // A kubelet in its plainest form: pods of Jobs end at once, all others run.
  void MovePods() {
    for (auto& pod : List(types::kPod)) {
      if (StringAt(pod, "spec.nodeName").empty()) continue;
      if (kube::IsDeleting(pod)) {
        kube::DeleteOptions options;
        options.grace_period_seconds = 0;
        EXPECT_TRUE(client_->Delete(types::kPod, kube::KeyOf(pod), options).ok());
        continue;
      }
      if (StringAt(pod, "status.phase", "Pending") != "Pending") continue;
      const bool ends = StringAt(pod, "spec.restartPolicy") == "Never";
      Set(pod, "status.phase", ends ? "Succeeded" : "Running");
      kube::SetCondition(pod, "Ready", !ends, "", "", runtime_.clock().Now());
      EXPECT_TRUE(client_->Update(types::kPod, pod, "status").ok());
    }
  }

  Runtime& runtime_;
  Effects& effects_;
  SeededRandom random_{3};
  const std::unique_ptr<Random> server_random_ = random_.Stream("api server");
  int lives_ = 0;
  FakeDriver driver_;
  std::unique_ptr<apiserver::ApiServer> server_;
  std::unique_ptr<kube::KubeClient> client_;
  std::unique_ptr<Life> life_;
};

void SweepCluster(const std::function<std::string(CrashCluster&)>& journey) {
  faults::Sweep(1,
                {Fault::kCrash, Fault::kNotDone, Fault::kAnswerLost, Fault::kStale, Fault::kUnread},
                [&](FiberRuntime& runtime, Effects& effects) {
                  CrashCluster cluster(runtime, effects);
                  return journey(cluster);
                });
}

bool Provision(CrashCluster& cluster) {
  cluster.Claim("data");
  return cluster.Until("the claim is bound", [&] {
    return cluster.All(types::kPersistentVolumeClaim, 1, "status.phase", "Bound");
  });
}

bool Snapshot(CrashCluster& cluster) {
  cluster.Apply(types::kVolumeSnapshot,
                "{metadata: {name: snap}, spec: {volumeSnapshotClassName: snaps, source: "
                "{persistentVolumeClaimName: data}}}");
  return cluster.Until("the snapshot is ready", [&] {
    return cluster.All(types::kVolumeSnapshot, 1, "status.readyToUse", "true");
  });
}

TEST(SidecarsCrashTest, ClaimsAreProvisionedAndGrow) {
  SweepCluster([](CrashCluster& cluster) -> std::string {
    cluster.effects().Begin();
    if (!Provision(cluster)) return "";
    cluster.Edit(types::kPersistentVolumeClaim, "data",
                 [](Json& claim) { Set(claim, "spec.resources.requests.storage", "2Gi"); });
    if (!cluster.Until("the volume has grown", [&] {
          return cluster.All(types::kPersistentVolume, 1, "spec.capacity.storage", "2Gi");
        })) {
      return "";
    }
    return cluster.End();
  });
}

TEST(SidecarsCrashTest, ASnapshotIsCutAndRestored) {
  SweepCluster([](CrashCluster& cluster) -> std::string {
    if (!Provision(cluster)) return "";
    cluster.effects().Begin();
    if (!Snapshot(cluster)) return "";
    cluster.Claim("restored",
                  ", dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: "
                  "snap}");
    if (!cluster.Until("the claims are bound", [&] {
          return cluster.All(types::kPersistentVolumeClaim, 2, "status.phase", "Bound");
        })) {
      return "";
    }
    return cluster.End();
  });
}

TEST(SidecarsCrashTest, AClaimIsClonedAndLetGo) {
  SweepCluster([](CrashCluster& cluster) -> std::string {
    if (!Provision(cluster)) return "";
    cluster.effects().Begin();
    cluster.Claim("copy", ", dataSource: {kind: PersistentVolumeClaim, name: data}");
    if (!cluster.Until("the claims are bound", [&] {
          return cluster.All(types::kPersistentVolumeClaim, 2, "status.phase", "Bound");
        })) {
      return "";
    }
    return cluster.End();
  });
}

TEST(SidecarsCrashTest, NothingIsLeftOfWhatIsDeleted) {
  SweepCluster([](CrashCluster& cluster) -> std::string {
    if (!Provision(cluster) || !Snapshot(cluster)) return "";
    cluster.effects().Begin();
    cluster.Delete(types::kVolumeSnapshot, "snap");
    cluster.Delete(types::kPersistentVolumeClaim, "data");
    if (!cluster.Until("everything is gone", [&] { return cluster.Describe().empty(); })) return "";
    return cluster.End() + "gone\n";
  });
}

TEST(ControllersCrashTest, AJobRunsAsManyPodsAsItNeeds) {
  SweepCluster([](CrashCluster& cluster) -> std::string {
    cluster.effects().Begin();
    cluster.Apply(types::kJob,
                  "{metadata: {name: work}, spec: {completions: 2, parallelism: 2, template: "
                  "{spec: {restartPolicy: Never, containers: [{name: main, image: busybox}]}}}}");
    if (!cluster.Until("the Job is complete", [&] {
          return cluster.All(types::kJob, 1, "status.succeeded", "2") &&
                 kube::ConditionIs(cluster.List(types::kJob)[0], "Complete");
        })) {
      return "";
    }
    return cluster.End();
  });
}

TEST(ControllersCrashTest, ACronJobRunsOnceAtItsTime) {
  SweepCluster([](CrashCluster& cluster) -> std::string {
    cluster.effects().Begin();
    cluster.Apply(types::kCronJob,
                  "{metadata: {name: beat}, spec: {schedule: '*/30 * * * *', jobTemplate: {spec: "
                  "{template: {spec: {restartPolicy: Never, containers: [{name: main, image: "
                  "busybox}]}}}}}}");
    if (!cluster.Until("a Job is complete", [&] {
          const auto jobs = cluster.List(types::kJob);
          return !jobs.empty() && kube::ConditionIs(jobs[0], "Complete");
        })) {
      return "";
    }
    return cluster.End();
  });
}

TEST(ControllersCrashTest, AStatefulSetKeepsItsNamesAndClaims) {
  SweepCluster([](CrashCluster& cluster) -> std::string {
    cluster.effects().Begin();
    cluster.Apply(
        types::kStatefulSet,
        "{metadata: {name: db}, spec: {serviceName: db, replicas: 2, selector: {matchLabels: {app: "
        "db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: main, image: "
        "busybox}]}}, volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: "
        "[ReadWriteOnce], storageClassName: fast, resources: {requests: {storage: 1Gi}}}}]}}");
    if (!cluster.Until("both run", [&] {
          return cluster.All(types::kPod, 2, "status.phase", "Running") &&
                 cluster.All(types::kStatefulSet, 1, "status.readyReplicas", "2");
        })) {
      return "";
    }
    return cluster.End();
  });
}

}  // namespace
}  // namespace thinsnap::testing
