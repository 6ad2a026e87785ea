// The ReplicaSet controller: as many active pods as it says. Pods are listed afresh in every pass,
// so no memory of expected pods is needed.
#include <algorithm>

#include "simulator/controllers/owned.h"
#include "simulator/controllers/parts.h"
#include "simulator/placement/pod_state.h"
#include "simulator/workloads/workload.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::Requeue;

class ReplicaSetController final : public QueuePart {
 public:
  explicit ReplicaSetController(const Context& context)
      : QueuePart(context, "replicaset-controller") {
    queue_.WatchOwn(For(types::kReplicaSet));
    queue_.WatchOwned(For(types::kPod), "ReplicaSet");
  }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    auto live = client_.Get(types::kReplicaSet, key);
    if (live.Is(Code::kNotFound)) return Requeue::Done();
    const Json set = TRY(std::move(live));
    const auto pods = TRY(ListOwned(client_, types::kPod, set));
    std::vector<const Json*> active;
    for (const Json& pod : pods) {
      if (placement::IsActive(pod)) active.push_back(&pod);
    }
    // The status is of before the change: what the change brings calls us again.
    std::optional<Duration> again;
    const Json status = NewStatus(set, active, &again);
    const auto managed = kube::IsDeleting(set) ? Status() : Scale(set, active);
    Json failed = status;
    if (!managed.ok() && !managed.Is(Code::kCancelled)) {
      Set(failed, "conditions",
          JsonArray{Json(JsonObject{{"type", "ReplicaFailure"},
                                    {"status", "True"},
                                    {"lastTransitionTime", FormatRfc3339(context_.Now())},
                                    {"reason", "FailedCreate"},
                                    {"message", managed.error().message()}})});
    }
    const auto* before = FindArray(set, "status.conditions");
    // Only the time differs: no new write.
    if (before != nullptr && !before->empty() && !managed.ok() &&
        StringAt(before->front(), "message") == managed.error().message()) {
      Set(failed, "conditions", *before);
    }
    TRY(WriteStatus(client_, types::kReplicaSet, set, failed));
    if (!managed.ok()) return managed.error();
    return again ? Requeue::After(*again) : Requeue::Done();
  }

  Json NewStatus(const Json& set, const std::vector<const Json*>& active,
                 std::optional<Duration>* again) const {
    const auto min_ready = IntAt(set, "spec.minReadySeconds");
    std::int64_t ready = 0, available = 0;
    for (const Json* pod : active) {
      ready += placement::IsReady(*pod) ? 1 : 0;
      available += placement::IsAvailable(*pod, min_ready, context_.Now(), again) ? 1 : 0;
    }
    Json status = JsonObject{{"replicas", static_cast<std::int64_t>(active.size())}};
    if (!active.empty())
      Set(status, "fullyLabeledReplicas", static_cast<std::int64_t>(active.size()));
    if (ready > 0) Set(status, "readyReplicas", ready);
    if (available > 0) Set(status, "availableReplicas", available);
    Set(status, "observedGeneration", IntAt(set, "metadata.generation"));
    return status;
  }

  Status Scale(const Json& set, std::vector<const Json*> active) {
    const auto wanted = IntAt(set, "spec.replicas", 1);
    const auto have = static_cast<std::int64_t>(active.size());
    if (have > wanted) {
      workloads::SortForRemoval(active);
      for (std::int64_t i = 0; i < have - wanted; ++i) {
        TRY(DeleteOwnedPod(context_, events_, set, *active[static_cast<std::size_t>(i)]));
      }
    }
    const Json* pod_template = Find(set, "spec.template");
    for (std::int64_t i = have; i < wanted && pod_template != nullptr; ++i) {
      TRY(CreateOwnedPod(context_, events_, set, placement::PodFromTemplate(*pod_template, set),
                         kube::NameOf(set)));
    }
    return {};
  }
};

}  // namespace

std::unique_ptr<Part> MakeReplicaSetController(const Context& context) {
  return std::make_unique<ReplicaSetController>(context);
}

}  // namespace thinsnap::controllers
