// The scheduler: one pod at a time. A pod whose claims wait for a consumer selects their node first
// (an annotation on each claim) and is bound when its volumes are. When the provisioner takes the
// annotation away, another node is tried.
#include <map>
#include <mutex>
#include <set>

#include "base/core/guarded.h"
#include "simulator/controllers/parts.h"
#include "simulator/placement/pod_state.h"
#include "simulator/placement/schedule_plan.h"
#include "simulator/placement/volume_match.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::ObjectPtr;
using kube::Requeue;

// So long a node that refused a claim is the last choice.
constexpr Duration kRefusalMemory = std::chrono::minutes(5);
// The real one backs off so long before it tries again; provisioners write an old claim into their
// cache meanwhile and would not see a faster choice.
constexpr Duration kRefusalPause = std::chrono::seconds(1);

class Scheduler final : public QueuePart {
 public:
  explicit Scheduler(const Context& context)
      : QueuePart(context, "default-scheduler"),
        pods_(For(types::kPod)),
        nodes_(For(types::kNode)),
        claims_(For(types::kPersistentVolumeClaim)),
        volumes_(For(types::kPersistentVolume)),
        classes_(For(types::kStorageClass)),
        csi_nodes_(For(types::kCsiNode)),
        csi_drivers_(For(types::kCsiDriver)),
        namespaces_(For(types::kNamespace)) {
    queue_.WatchOwn(pods_);
    pods_.AddHandler([this](const ObjectPtr& old, const ObjectPtr& current) {
      // Room is made by a pod that ends; company by one that gets its node.
      const bool ends =
          old && (!current || (placement::IsTerminal(*current) && !placement::IsTerminal(*old)));
      const bool comes = current && !placement::NodeOf(*current).empty() &&
                         (!old || placement::NodeOf(*old).empty());
      if (ends || comes) AddPending("");
    });
    for (auto* informer : {&nodes_, &volumes_, &classes_, &csi_drivers_}) {
      informer->AddHandler([this](const ObjectPtr&, const ObjectPtr&) { AddPending(""); });
    }
    csi_nodes_.AddHandler([this](const ObjectPtr&, const ObjectPtr&) { AddPending(""); });
    claims_.AddHandler([this](const ObjectPtr& old, const ObjectPtr& current) {
      if (old && current) NoteRefusal(*old, *current);
      AddPending(kube::NamespaceOf(current ? *current : *old));
    });
  }

 private:
  // Where a pod will be, which its object does not say yet: it counts as a neighbour there.
  struct Assumed {
    std::string node;
    enum State : std::uint8_t { kWaits, kBound } state;  // kWaits: for its volumes on that node
  };

  static bool IsOurs(const Json& pod) {
    return placement::NodeOf(pod).empty() && placement::IsActive(pod) &&
           StringAt(pod, "spec.schedulerName", "default-scheduler") == "default-scheduler";
  }

  void AddPending(const std::string& ns) {
    for (const auto& pod : pods_.List(ns)) {
      if (IsOurs(*pod)) queue_.Add(kube::KeyOf(*pod));
    }
  }

  // The provisioner gives the claim back by removing the selected node.
  void NoteRefusal(const Json& old, const Json& current) {
    const auto node = kube::AnnotationOf(old, placement::kSelectedNode);
    if (node.empty() || !kube::AnnotationOf(current, placement::kSelectedNode).empty()) return;
    if (!StringAt(current, "spec.volumeName").empty()) return;
    std::lock_guard lock(mutex_);
    refusals_[kube::UidOf(current)][node] = context_.runtime.clock().MonoNow() + kRefusalMemory;
  }

  std::set<std::string> RefusedNodes(const std::string& claim_uid) {
    const MonoTime now = context_.runtime.clock().MonoNow();
    std::lock_guard lock(mutex_);
    std::set<std::string> nodes;
    const auto known = refusals_.find(claim_uid);
    if (known == refusals_.end()) return nodes;
    std::erase_if(known->second, [&](const auto& entry) { return entry.second <= now; });
    for (const auto& [node, until] : known->second) nodes.insert(node);
    if (known->second.empty()) refusals_.erase(known);
    return nodes;
  }

  // When the pod's claims may be given another node.
  MonoTime RetryAt(const placement::ScheduleInput& input) {
    std::lock_guard lock(mutex_);
    MonoTime at{};
    for (const auto& claim : input.claims) {
      const auto known = refusals_.find(kube::UidOf(*claim.claim));
      if (known == refusals_.end() || claim.volume) continue;
      for (const auto& [node, until] : known->second) {
        at = std::max(at, until - kRefusalMemory + kRefusalPause);
      }
    }
    return at;
  }

  Result<Requeue> Reconcile(const ObjectKey& key) override {
    const ObjectPtr pod = pods_.Get(key);
    if (!pod || !IsOurs(*pod)) return Requeue::Done();
    if (const auto known = assumed_.find(kube::UidOf(*pod)); known != assumed_.end()) {
      if (known->second.state == Assumed::kBound) return Requeue::Done();  // the cache is behind
      assumed_.erase(known);  // decided anew, and no neighbour of itself
    }
    placement::ScheduleInput input = View(pod);
    if (const auto trouble = LookAtClaims(*pod, input))
      return Fail(*pod,
                  "0/" + std::to_string(input.nodes.size()) + " nodes are available: " + *trouble);

    const std::string selected = SelectedNode(input);
    if (!selected.empty()) {
      const ObjectPtr node = nodes_.Get({"", selected});
      if (node && !placement::WhyNot(input, *node)) {
        assumed_[kube::UidOf(*pod)] = {selected, Assumed::kWaits};
        return Requeue::Done();
      }
    }
    const MonoTime now = context_.runtime.clock().MonoNow();
    if (const MonoTime at = RetryAt(input); at > now) return Requeue::After(at - now);
    const placement::SchedulePlan plan = placement::PlanSchedule(input);
    if (plan.node.empty()) return Fail(*pod, plan.message);
    if (TRY(SelectNode(input, plan.node))) {
      assumed_[kube::UidOf(*pod)] = {plan.node, Assumed::kWaits};
      return Requeue::Done();
    }
    return Bind(*pod, plan.node);
  }

  placement::ScheduleInput View(const ObjectPtr& pod) {
    placement::ScheduleInput input{pod, nodes_.List(), {}, {}, volumes_.List(), {}, {}, {}};
    std::map<std::string, Assumed> still_assumed;
    for (const auto& other : pods_.List()) {
      const auto assumed = assumed_.find(kube::UidOf(*other));
      if (assumed == assumed_.end() || !placement::NodeOf(*other).empty()) {
        input.pods.push_back(other);
      } else {
        still_assumed.insert(*assumed);
        Json placed = *other;
        Set(placed, "spec.nodeName", Json(assumed->second.node));
        input.pods.push_back(std::make_shared<const Json>(std::move(placed)));
      }
    }
    assumed_ = std::move(still_assumed);
    for (const auto& csi_node : csi_nodes_.List()) {
      auto& drivers = input.drivers[kube::NameOf(*csi_node)];
      for (const Json& driver : ArrayAt(*csi_node, "spec.drivers"))
        drivers.insert(StringAt(driver, "name"));
    }
    for (const auto& driver : csi_drivers_.List())
      input.csi_provisioners.insert(kube::NameOf(*driver));
    for (const auto& ns : namespaces_.List()) input.namespaces[kube::NameOf(*ns)] = ns;
    return input;
  }

  // Fills in the claims; what is wrong with them whatever the node is returned.
  std::optional<std::string> LookAtClaims(const Json& pod, placement::ScheduleInput& input) {
    for (const auto& name : placement::ClaimsOf(pod)) {
      placement::PodClaim claim;
      claim.claim = claims_.Get({kube::NamespaceOf(pod), name});
      if (!claim.claim) return "persistentvolumeclaim \"" + name + "\" not found.";
      if (kube::IsDeleting(*claim.claim))
        return "persistentvolumeclaim \"" + name + "\" is being deleted.";
      if (StringAt(*claim.claim, "status.phase") == "Lost") {
        return "persistentvolumeclaim \"" + name + "\" bound to non-existent persistentvolume \"" +
               StringAt(*claim.claim, "spec.volumeName") + "\".";
      }
      if (placement::IsFullyBound(*claim.claim)) {
        claim.volume = volumes_.Get({"", StringAt(*claim.claim, "spec.volumeName")});
        if (!claim.volume)
          return "persistentvolume \"" + StringAt(*claim.claim, "spec.volumeName") +
                 "\" not found.";
      } else {
        claim.storage_class = classes_.Get({"", placement::StorageClassOf(*claim.claim)});
        if (!claim.storage_class || !placement::BindsLate(*claim.storage_class)) {
          return "pod has unbound immediate PersistentVolumeClaims.";
        }
        claim.refused_nodes = RefusedNodes(kube::UidOf(*claim.claim));
      }
      input.claims.push_back(std::move(claim));
    }
    return std::nullopt;
  }

  // The node that all unbound claims were given; "" if there is none or they differ.
  static std::string SelectedNode(const placement::ScheduleInput& input) {
    std::string node;
    bool any = false;
    for (const auto& claim : input.claims) {
      if (claim.volume) continue;
      const auto selected = kube::AnnotationOf(*claim.claim, placement::kSelectedNode);
      if (selected.empty() || (any && selected != node)) return "";
      node = selected;
      any = true;
    }
    return node;
  }

  // Returns whether there is something to wait for.
  Result<bool> SelectNode(const placement::ScheduleInput& input, const std::string& node) {
    bool waiting = false;
    for (const auto& claim : input.claims) {
      if (claim.volume) continue;
      waiting = true;
      if (kube::AnnotationOf(*claim.claim, placement::kSelectedNode) == node) continue;
      Json changed = *claim.claim;
      kube::SetAnnotation(changed, placement::kSelectedNode, node);
      TRY(client_.Update(types::kPersistentVolumeClaim, changed));
    }
    return waiting;
  }

  Result<Requeue> Bind(const Json& pod, const std::string& node) {
    const auto key = kube::KeyOf(pod);
    const Json binding{
        {"apiVersion", "v1"},
        {"kind", "Binding"},
        {"metadata", {{"name", key.name}, {"namespace", key.ns}, {"uid", kube::UidOf(pod)}}},
        {"target", {{"kind", "Node"}, {"apiVersion", "v1"}, {"name", node}}}};
    auto bound = client_.CreateSubresource(types::kPod, key, "binding", binding);
    if (bound.Is(Code::kNotFound)) return Requeue::Done();
    if (!bound.ok()) return std::move(bound).error();
    assumed_[kube::UidOf(pod)] = {node, Assumed::kBound};
    events_.Emit(pod, "Normal", "Scheduled",
                 "Successfully assigned " + key.ToString() + " to " + node);
    return Requeue::Done();
  }

  Result<Requeue> Fail(Json pod, const std::string& message) {
    if (const Json* known = kube::FindCondition(pod, "PodScheduled");
        known != nullptr && StringAt(*known, "message") == message) {
      return Requeue::Done();
    }
    events_.Emit(pod, "Warning", "FailedScheduling", message);
    kube::SetCondition(pod, "PodScheduled", false, "Unschedulable", message, context_.Now());
    auto updated = client_.Update(types::kPod, pod, "status");
    if (!updated.ok() && !updated.Is(Code::kNotFound)) return std::move(updated).error();
    return Requeue::Done();
  }

  kube::Informer& pods_;
  kube::Informer& nodes_;
  kube::Informer& claims_;
  kube::Informer& volumes_;
  kube::Informer& classes_;
  kube::Informer& csi_nodes_;
  kube::Informer& csi_drivers_;
  kube::Informer& namespaces_;
  std::map<std::string, Assumed> assumed_;  // by the pod's uid; touched by the one worker only

  std::mutex mutex_;
  std::map<std::string, std::map<std::string, MonoTime>> refusals_
      GUARDED_BY(mutex_);  // claim uid -> node -> until
};

}  // namespace

std::unique_ptr<Part> MakeScheduler(const Context& context) {
  return std::make_unique<Scheduler>(context);
}

}  // namespace thinsnap::controllers
