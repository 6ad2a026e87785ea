#include "tests/unit/operator/journey.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/data/yaml.h"
#include "snapshotter/operator/operator.h"
#include "tests/faults/fault_object_store.h"
#include "tests/faults/words.h"

namespace thinsnap::backup {

namespace {

constexpr Duration kTick = std::chrono::milliseconds(200);
constexpr Duration kSlowTick = std::chrono::seconds(2);
constexpr Duration kRestartTakes = std::chrono::milliseconds(1500);
constexpr Duration kPatience = std::chrono::hours(1);

}  // namespace

JourneyCluster::Life::Life(JourneyCluster& owner, Runtime& runtime)
    : random(owner.random_.Stream("life " + std::to_string(++owner.lives_))),
      client(owner.cluster_->client(), owner.effects_, process),
      process(runtime) {
  open_store = [this, &owner](
                   const store::Location& location) -> Result<std::unique_ptr<store::ObjectStore>> {
    return std::unique_ptr<store::ObjectStore>(std::make_unique<faults::FaultObjectStore>(
        TRY(owner.storage_.Open(location)), owner.effects_, process));
  };
}

JourneyCluster::JourneyCluster(Runtime& runtime, Random& random, TestStorage& storage,
                               faults::Effects& effects)
    : runtime_(runtime),
      random_(random),
      server_random_(random.Stream("api server")),
      bytes_(random.Stream("volumes")),
      storage_(storage),
      effects_(effects) {
  cluster_ = std::make_unique<TestCluster>(runtime, *server_random_, storage);
  EXPECT_TRUE(cluster_->Start().ok());
  world_ = std::make_unique<World>(*cluster_, runtime, *bytes_, storage);
  StartOperator();
}

JourneyCluster::~JourneyCluster() {
  for (auto& [uid, pod] : pods_) {
    if (pod.life) pod.life->process.Kill();
  }
  if (operator_) operator_->process.Kill();
}

void JourneyCluster::StartOperator() {
  operator_ = std::make_unique<Life>(*this, runtime_);
  auto& life = *operator_;
  life.process.group().Spawn("operator", [this, &life] {
    RunOperator(runtime_, *life.random, life.client, life.open_store, life.process.group(),
                cluster_->options)
        .IgnoreError();  // it ends when it is killed
  });
}

void JourneyCluster::StartPod(const Json& job, Pod& pod) {
  pod.life = std::make_unique<Life>(*this, runtime_);
  pod.ended = false;
  pod.outcome = Error(Code::kCancelled, "killed");
  pod.life->process.group().Spawn(kube::NameOf(job), [this, &pod, job] {
    auto& life = *pod.life;
    VerbContext context{runtime_,        *life.random,    life.client,
                        cluster_->kinds, life.open_store, life.process.group()};
    auto outcome = TestCluster::RunVerb(context, job);
    if (!life.process.dead()) pod.outcome = std::move(outcome);
    pod.ended = true;
  });
}

void JourneyCluster::MoveJobs() {
  std::set<std::string> there;
  const auto now = runtime_.clock().MonoNow();
  for (const auto& job : cluster_->List(kube::types::kJob)) {
    if (StateOfJob(job) != JobState::kRunning || kube::IsDeleting(job)) continue;
    there.insert(kube::UidOf(job));
    auto& pod = pods_[kube::UidOf(job)];
    if (!pod.life) {
      if (now >= pod.next) StartPod(job, pod);
      continue;
    }
    if (!pod.ended) continue;
    pod.life.reset();
    if (pod.outcome.ok() || ++pod.failures > IntAt(job, "spec.backoffLimit")) {
      cluster_->EndJob(job, pod.outcome);
    } else {
      pod.next = now + std::chrono::seconds(10) * pod.failures;
    }
  }
  for (auto it = pods_.begin(); it != pods_.end();) {
    if (there.contains(it->first)) {
      ++it;
      continue;
    }
    if (it->second.life) it->second.life->process.Kill();
    it = pods_.erase(it);
  }
}

// What the controllers of a real cluster remove: dependents without their owner, contents without
// their VolumeSnapshot, the protection of claims.
void JourneyCluster::CollectGarbage() {
  const auto now = runtime_.clock().MonoNow();
  if (now < next_collection_) return;
  next_collection_ = now + std::chrono::seconds(5);
  std::set<std::string> uids;
  std::vector<std::pair<kube::ResourceType, Json>> dependents;
  for (const auto& type : cluster_->Types()) {
    for (auto& object : cluster_->List(type)) {
      uids.insert(kube::UidOf(object));
      if (!ArrayAt(object, "metadata.ownerReferences").empty() && !kube::IsDeleting(object))
        dependents.emplace_back(type, object);
      if (type == kube::types::kPersistentVolumeClaim && kube::IsDeleting(object)) {
        cluster_->Edit(type, kube::NamespaceOf(object), kube::NameOf(object),
                       [](Json& claim) { Remove(claim, "metadata.finalizers"); });
      }
      const auto& snapshot = StringAt(object, "spec.volumeSnapshotRef.name");
      if (type == kube::types::kVolumeSnapshotContent &&
          StringAt(object, "spec.deletionPolicy") == "Delete" &&
          !cluster_->Exists(kube::types::kVolumeSnapshot,
                            StringAt(object, "spec.volumeSnapshotRef.namespace"), snapshot)) {
        cluster_->Delete(type, "", kube::NameOf(object));
      }
    }
  }
  for (const auto& [type, object] : dependents) {
    const auto& owners = ArrayAt(object, "metadata.ownerReferences");
    if (std::none_of(owners.begin(), owners.end(),
                     [&](const Json& owner) { return uids.contains(StringAt(owner, "uid")); })) {
      cluster_->Delete(type, kube::NamespaceOf(object), kube::NameOf(object));
    }
  }
}

void JourneyCluster::Step() {
  const auto now = runtime_.clock().MonoNow();
  if (operator_ && operator_->process.dead()) {
    operator_.reset();
    restart_ = now + kRestartTakes;
  }
  if (!operator_ && now >= restart_) StartOperator();
  world_->Step();
  MoveJobs();
  CollectGarbage();
}

bool JourneyCluster::Until(const std::string& what, const std::function<bool()>& condition) {
  const auto deadline = runtime_.clock().MonoNow() + kPatience;
  while (!condition()) {
    if (runtime_.clock().MonoNow() > deadline) {
      ADD_FAILURE() << "never came to that: " << what << "\n" << Sessions();
      return false;
    }
    Step();
    EXPECT_TRUE(runtime_.SleepFor(kTick).ok());
  }
  return true;
}

std::string JourneyCluster::Sessions() {
  std::string text;
  const auto& kinds = cluster_->kinds;
  for (const auto* type : {&kinds.backup_session, &kinds.restore_session, &kinds.snapshot,
                           &kinds.repository, &kinds.backup_storage, &kube::types::kJob}) {
    for (const auto& object : cluster_->List(*type)) {
      const auto* status = Find(object, "status");
      text += type->kind + " " + kube::NameOf(object) + ": " +
              (status == nullptr ? "no status" : ToJson(*status)) + "\n";
    }
  }
  return text;
}

void JourneyCluster::Run(Duration duration) {
  const auto until = runtime_.clock().MonoNow() + duration;
  while (runtime_.clock().MonoNow() < until) {
    Step();
    EXPECT_TRUE(runtime_.SleepFor(kSlowTick).ok());
  }
}

std::string JourneyCluster::Describe() {
  std::vector<std::pair<kube::ResourceType, Json>> objects;
  faults::Words words;
  for (const auto& type : cluster_->Types()) {
    for (auto& object : cluster_->List(type)) {
      words.MaskObject(object);
      objects.emplace_back(type, std::move(object));
    }
  }
  for (const auto& [type, object] : objects)
    words.Put(type.kind + " " + kube::KeyOf(object).ToString(), object);
  return words.text();
}

std::string DescribeBucket(TestStorage& storage, const std::string& url) {
  faults::Words words;
  for (const auto& key : storage.Keys(url)) {
    // What no point and no repo.json names is garbage: a later collection takes it.
    if (key.find("/packs/") != std::string::npos || key.find("/keys/") != std::string::npos)
      continue;
    words.Line("bucket " + key);
    if (!key.ends_with(".yaml")) continue;
    auto view = ParseYaml(storage.Text(url, key));
    EXPECT_TRUE(view.ok()) << key;
    if (view.ok()) words.Put("bucket " + key, *view);
  }
  return words.text();
}

}  // namespace thinsnap::backup
