// The Deployment controller: one ReplicaSet for each template it ever had; PlanDeployment says how
// their sizes move.
#include <algorithm>

#include "simulator/controllers/owned.h"
#include "simulator/controllers/parts.h"
#include "simulator/placement/pod_state.h"
#include "simulator/workloads/deployment_plan.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::Requeue;

class DeploymentController final : public QueuePart {
 public:
  explicit DeploymentController(const Context& context)
      : QueuePart(context, "deployment-controller"), sets_(For(types::kReplicaSet)) {
    queue_.WatchOwn(For(types::kDeployment));
    queue_.WatchOwned(sets_, "Deployment");
    // Recreate waits for the last pod of the old ReplicaSets.
    queue_.WatchMapped(For(types::kPod), [this](const Json& pod) {
      const Json* owner = kube::ControllerOf(pod);
      if (owner == nullptr || StringAt(*owner, "kind") != "ReplicaSet")
        return std::vector<ObjectKey>{};
      const auto set = sets_.Get({kube::NamespaceOf(pod), StringAt(*owner, "name")});
      const Json* deployment = set ? kube::ControllerOf(*set) : nullptr;
      if (deployment == nullptr || StringAt(*deployment, "kind") != "Deployment")
        return std::vector<ObjectKey>{};
      return std::vector<ObjectKey>{{kube::NamespaceOf(pod), StringAt(*deployment, "name")}};
    });
  }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    auto live = client_.Get(types::kDeployment, key);
    if (live.Is(Code::kNotFound)) return Requeue::Done();
    Json deployment = TRY(std::move(live));
    auto sets = TRY(ListOwned(client_, types::kReplicaSet, deployment));
    std::optional<Duration> again;
    if (!kube::IsDeleting(deployment)) {
      const bool left = TRY(OldPodsLeft(deployment, sets));
      TRY(Apply(deployment, sets, workloads::PlanDeployment(deployment, sets, left)));
    }
    Json status = workloads::DeploymentStatus(deployment, sets, context_.Now(), &again);
    TRY(WriteStatus(client_, types::kDeployment, std::move(deployment), std::move(status)));
    return again ? Requeue::After(*again) : Requeue::Done();
  }

  Result<bool> OldPodsLeft(const Json& deployment, const std::vector<Json>& sets) {
    if (StringAt(deployment, "spec.strategy.type") != "Recreate") return false;
    const Json* newest = workloads::NewReplicaSet(deployment, sets);
    for (const Json& set : sets) {
      if (&set == newest) continue;
      const auto pods = TRY(ListOwned(client_, types::kPod, set));
      if (std::any_of(pods.begin(), pods.end(),
                      [](const Json& pod) { return !placement::IsTerminal(pod); }))
        return true;
    }
    return false;
  }

  // Leaves in `deployment` and `sets` what the server then has.
  Status Apply(Json& deployment, std::vector<Json>& sets, const workloads::DeploymentPlan& plan) {
    const Json* newest = workloads::NewReplicaSet(deployment, sets);
    if (plan.create_new) {
      auto created =
          client_.Create(types::kReplicaSet,
                         workloads::MakeReplicaSet(deployment, plan.new_replicas, plan.revision));
      if (!created.ok()) {
        events_.Emit(deployment, "Warning", "ReplicaSetCreateError",
                     "Failed to create new replica set: " + created.error().message());
        return std::move(created).error();
      }
      Told(deployment, *created, 0, plan.new_replicas);
      sets.push_back(std::move(*created));
      newest = &sets.back();
    } else if (newest != nullptr) {
      TRY(Resize(deployment, sets[static_cast<std::size_t>(newest - sets.data())],
                 plan.new_replicas, plan.revision));
    }
    if (newest != nullptr && workloads::RevisionOf(deployment) != plan.revision) {
      kube::SetAnnotation(deployment, workloads::kRevision, std::to_string(plan.revision));
      deployment = TRY(client_.Update(types::kDeployment, deployment));
    }
    for (Json& set : sets) {
      const auto wanted = plan.scale.find(kube::NameOf(set));
      if (wanted != plan.scale.end())
        TRY(Resize(deployment, set, wanted->second, workloads::RevisionOf(set)));
    }
    for (const auto& name : plan.forget) {
      const auto deleted =
          client_.Delete(types::kReplicaSet, {kube::NamespaceOf(deployment), name});
      if (!deleted.ok() && !deleted.Is(Code::kNotFound)) return deleted.error();
    }
    return {};
  }

  Status Resize(const Json& deployment, Json& set, std::int64_t replicas, std::int64_t revision) {
    const auto before = IntAt(set, "spec.replicas", 1);
    if (before == replicas && workloads::RevisionOf(set) == revision) return {};
    Set(set, "spec.replicas", replicas);
    kube::SetAnnotation(set, workloads::kRevision, std::to_string(revision));
    set = TRY(client_.Update(types::kReplicaSet, set));
    if (before != replicas) Told(deployment, set, before, replicas);
    return {};
  }

  void Told(const Json& deployment, const Json& set, std::int64_t from, std::int64_t to) {
    events_.Emit(deployment, "Normal", "ScalingReplicaSet",
                 std::string("Scaled ") + (to >= from ? "up" : "down") + " replica set " +
                     kube::NameOf(set) + " from " + std::to_string(from) + " to " +
                     std::to_string(to));
  }

  kube::Informer& sets_;
};

}  // namespace

std::unique_ptr<Part> MakeDeploymentController(const Context& context) {
  return std::make_unique<DeploymentController>(context);
}

}  // namespace thinsnap::controllers
