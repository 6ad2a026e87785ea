// PodGC: pods of nodes that no longer exist, and unscheduled pods that are being deleted, go at
// once: there is no kubelet that would let them go.
#include "simulator/controllers/parts.h"
#include "simulator/placement/pod_state.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::Requeue;

class PodGc final : public QueuePart {
 public:
  explicit PodGc(const Context& context)
      : QueuePart(context, "pod-garbage-collector"),
        pods_(For(types::kPod)),
        nodes_(For(types::kNode)) {
    queue_.WatchOwn(pods_);
    queue_.WatchMapped(nodes_, [this](const Json& node) {
      std::vector<ObjectKey> keys;
      for (const auto& pod : pods_.List()) {
        if (placement::NodeOf(*pod) == kube::NameOf(node)) keys.push_back(kube::KeyOf(*pod));
      }
      return keys;
    });
  }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    const auto pod = pods_.Get(key);
    if (!pod) return Requeue::Done();
    const auto node_name = placement::NodeOf(*pod);
    if (node_name.empty()) {
      if (kube::IsDeleting(*pod)) return Force(*pod);
      return Requeue::Done();
    }
    if (const auto node = nodes_.Get({"", node_name})) {
      if (kube::IsDeleting(*pod) && OutOfService(*node))
        return Lose(*pod, "PodGC: node is out of service");
      return Requeue::Done();
    }
    const auto live = client_.Get(types::kNode, {"", node_name});
    if (live.ok()) return Requeue::Done();  // the cache will tell us of it
    if (!live.Is(Code::kNotFound)) return live.error();
    return Lose(*pod, "PodGC: node no longer exists");
  }

  static bool OutOfService(const Json& node) {
    for (const Json& taint : ArrayAt(node, "spec.taints")) {
      if (StringAt(taint, "key") == "node.kubernetes.io/out-of-service")
        return !kube::ConditionIs(node, "Ready");
    }
    return false;
  }

  Result<Requeue> Lose(Json pod, const char* why) {
    if (!placement::IsTerminal(pod)) {
      Set(pod, "status.phase", "Failed");
      kube::SetCondition(pod, "DisruptionTarget", true, "DeletionByPodGC", why, context_.Now());
      auto updated = client_.Update(types::kPod, pod, "status");
      if (updated.Is(Code::kNotFound)) return Requeue::Done();
      pod = TRY(std::move(updated));
    }
    return Force(pod);
  }

  Result<Requeue> Force(const Json& pod) {
    kube::DeleteOptions options;
    options.grace_period_seconds = 0;
    options.uid = kube::UidOf(pod);
    const auto deleted = client_.Delete(types::kPod, kube::KeyOf(pod), options);
    if (!deleted.ok() && !deleted.Is(Code::kNotFound)) return deleted.error();
    return Requeue::Done();
  }

  kube::Informer& pods_;
  kube::Informer& nodes_;
};

}  // namespace

std::unique_ptr<Part> MakePodGc(const Context& context) { return std::make_unique<PodGc>(context); }

}  // namespace thinsnap::controllers
