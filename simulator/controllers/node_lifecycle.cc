// Node lifecycle: a node whose Lease is no longer renewed is Unknown and tainted; its pods are not
// Ready and are evicted when their tolerations end. A cordoned node is tainted too. The time
// without renewal is measured by our own clock, so that a cluster that was stopped for a day does
// not begin with dead nodes.
#include <map>
#include <vector>

#include "simulator/controllers/parts.h"
#include "simulator/placement/node_match.h"
#include "simulator/placement/pod_state.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::ObjectPtr;
using kube::Requeue;

constexpr char kLeaseNamespace[] = "kube-node-lease";
constexpr char kUnreachable[] = "node.kubernetes.io/unreachable";
constexpr char kNotReady[] = "node.kubernetes.io/not-ready";
constexpr char kUnschedulable[] = "node.kubernetes.io/unschedulable";

// Brings the taints of this key into the node, or takes them out. Returns whether that changed
// anything.
bool SetTaints(Json& node, const std::string& key, const std::vector<const char*>& effects,
               bool wanted, WallTime now) {
  JsonArray taints;
  std::size_t present = 0;
  for (const Json& taint : ArrayAt(node, "spec.taints")) {
    if (StringAt(taint, "key") == key) {
      ++present;
      if (!wanted) continue;
    }
    taints.push_back(taint);
  }
  if (wanted ? present >= effects.size() : present == 0) return false;
  for (const char* effect : effects) {
    if (!wanted) break;
    taints.emplace_back(Json{{"key", key}, {"effect", effect}, {"timeAdded", FormatRfc3339(now)}});
  }
  if (taints.empty()) {
    Remove(node, "spec.taints");
  } else {
    Set(node, "spec.taints", std::move(taints));
  }
  return true;
}

// When the pod must leave because of the node's NoExecute taints; nullopt: never.
std::optional<WallTime> EvictionTime(const Json& pod, const Json& node, WallTime now) {
  std::optional<WallTime> leave;
  for (const Json& taint : ArrayAt(node, "spec.taints")) {
    if (StringAt(taint, "effect") != "NoExecute") continue;
    const WallTime since = placement::TimeAt(taint, "timeAdded").value_or(now);
    std::optional<WallTime> end = since;
    for (const Json& toleration : ArrayAt(pod, "spec.tolerations")) {
      if (!placement::Tolerates(Json{{"spec", {{"tolerations", JsonArray{toleration}}}}}, taint))
        continue;
      const Json* limit = Find(toleration, "tolerationSeconds");
      end = limit != nullptr && limit->is_int64()
                ? std::optional(since + std::chrono::seconds(limit->get_int64()))
                : std::nullopt;
      break;
    }
    if (end && (!leave || *end < *leave)) leave = end;
  }
  return leave;
}

class NodeLifecycle final : public QueuePart {
 public:
  NodeLifecycle(const Context& context, Duration grace)
      : QueuePart(context, "node-controller"),
        grace_(grace),
        nodes_(For(types::kNode)),
        leases_(For(types::kLease)),
        pods_(For(types::kPod)) {
    queue_.WatchOwn(nodes_);
    queue_.WatchMapped(leases_, [](const Json& lease) {
      if (kube::NamespaceOf(lease) != kLeaseNamespace) return std::vector<ObjectKey>{};
      return std::vector<ObjectKey>{{"", kube::NameOf(lease)}};
    });
    // A pod may land on a tainted node.
    queue_.WatchMapped(pods_, [this](const Json& pod) {
      const ObjectPtr node = nodes_.Get({"", placement::NodeOf(pod)});
      if (!node || ArrayAt(*node, "spec.taints").empty()) return std::vector<ObjectKey>{};
      return std::vector<ObjectKey>{kube::KeyOf(*node)};
    });
  }

 private:
  struct Renewal {
    std::string text;
    MonoTime seen;
  };

  Result<Requeue> Reconcile(const ObjectKey& key) override {
    const ObjectPtr cached = nodes_.Get(key);
    if (!cached) {
      renewals_.erase(key.name);
      return Requeue::Done();
    }
    const auto lease = leases_.Get({kLeaseNamespace, key.name});
    Duration silent = SilentFor(key.name, lease ? StringAt(*lease, "spec.renewTime") : "");
    if (silent >= grace_ && !kube::ConditionIs(*cached, "Ready", "Unknown")) {
      // The node's own word may be in its cache before the Lease is in ours.
      const auto live = client_.Get(types::kLease, {kLeaseNamespace, key.name});
      if (!live.ok() && !live.Is(Code::kNotFound)) return live.error();
      silent = SilentFor(key.name, live.ok() ? StringAt(*live, "spec.renewTime") : "");
    }
    const bool lost = silent >= grace_;
    Json node = *cached;
    if (lost) node = TRY(MarkUnknown(std::move(node)));
    // In each pass, not in the one that marks the node alone: it may not have come to all of them.
    const Status marked = lost ? MarkPodsUnready(key.name) : Status();
    node = TRY(Taint(std::move(node), lost));
    const auto eviction = TRY(Evict(node));
    TRY(marked);
    Duration again = lost ? grace_ : grace_ - silent;
    if (eviction) again = std::min(again, *eviction);
    return Requeue::After(std::max<Duration>(again, std::chrono::milliseconds(100)));
  }

  // Since we saw the Lease change. A node without a Lease is as old as our first look at it.
  Duration SilentFor(const std::string& name, const std::string& text) {
    const MonoTime now = context_.runtime.clock().MonoNow();
    const auto [entry, fresh] = renewals_.try_emplace(name, Renewal{text, now});
    if (!fresh && entry->second.text != text) entry->second = {text, now};
    return now - entry->second.seen;
  }

  Result<Json> MarkUnknown(Json node) {
    const auto now = context_.Now();
    bool changed = false;
    for (const char* type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}) {
      changed |= SetUnknown(node, type, now);
    }
    if (!changed) return node;
    node = TRY(client_.Update(types::kNode, node, "status"));
    events_.Emit(node, "Normal", "NodeNotReady",
                 "Node " + kube::NameOf(node) + " status is now: NodeNotReady");
    return node;
  }

  // All that let themselves be marked; the error is that of one that did not.
  Status MarkPodsUnready(const std::string& node) {
    Status outcome;
    for (const auto& pod : pods_.List()) {
      if (placement::NodeOf(*pod) != node || !placement::IsReady(*pod)) continue;
      Json unready = *pod;
      kube::SetCondition(unready, "Ready", false, "NodeNotReady", "", context_.Now());
      auto updated = client_.Update(types::kPod, unready, "status");
      if (!updated.ok() && !updated.Is(Code::kNotFound)) outcome = std::move(updated).error();
    }
    return outcome;
  }

  static bool SetUnknown(Json& node, const char* type, WallTime now) {
    if (kube::ConditionIs(node, type, "Unknown")) return false;
    JsonArray conditions = ArrayAt(node, "status.conditions");
    Json condition{{"type", type},
                   {"status", "Unknown"},
                   {"lastHeartbeatTime", FormatRfc3339(now)},
                   {"lastTransitionTime", FormatRfc3339(now)},
                   {"reason", "NodeStatusUnknown"},
                   {"message", "Kubelet stopped posting node status."}};
    bool found = false;
    for (Json& present : conditions) {
      if (StringAt(present, "type") != type) continue;
      present = condition;
      found = true;
    }
    if (!found) conditions.push_back(std::move(condition));
    Set(node, "status.conditions", std::move(conditions));
    return true;
  }

  Result<Json> Taint(Json node, bool lost) {
    const auto now = context_.Now();
    const bool unknown = lost || kube::ConditionIs(node, "Ready", "Unknown");
    const bool not_ready = !unknown && kube::ConditionIs(node, "Ready", "False");
    const bool cordoned = BoolAt(node, "spec.unschedulable");
    bool changed = SetTaints(node, kUnreachable, {"NoSchedule", "NoExecute"}, unknown, now);
    changed |= SetTaints(node, kNotReady, {"NoSchedule", "NoExecute"}, not_ready, now);
    changed |= SetTaints(node, kUnschedulable, {"NoSchedule"}, cordoned, now);
    if (!changed) return node;
    return client_.Update(types::kNode, node);
  }

  // Returns the time until the next pod must leave.
  Result<std::optional<Duration>> Evict(const Json& node) {
    std::optional<Duration> next;
    const auto now = context_.Now();
    for (const auto& pod : pods_.List()) {
      if (placement::NodeOf(*pod) != kube::NameOf(node) || kube::IsDeleting(*pod)) continue;
      const auto leave = EvictionTime(*pod, node, now);
      if (!leave) continue;
      if (*leave > now) {
        next = next ? std::min(*next, *leave - now) : *leave - now;
        continue;
      }
      events_.Emit(*pod, "Normal", "TaintManagerEviction",
                   "Marking for deletion Pod " + kube::KeyOf(*pod).ToString());
      kube::DeleteOptions options;
      options.uid = kube::UidOf(*pod);
      const auto deleted = client_.Delete(types::kPod, kube::KeyOf(*pod), options);
      if (!deleted.ok() && !deleted.Is(Code::kNotFound)) return deleted.error();
    }
    return next;
  }

  const Duration grace_;
  kube::Informer& nodes_;
  kube::Informer& leases_;
  kube::Informer& pods_;
  std::map<std::string, Renewal> renewals_;  // touched by the one worker only
};

}  // namespace

std::unique_ptr<Part> MakeNodeLifecycle(const Context& context, Duration grace) {
  return std::make_unique<NodeLifecycle>(context, grace);
}

}  // namespace thinsnap::controllers
