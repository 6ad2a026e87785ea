// The DaemonSet controller: one pod on each node that may have it; a new template replaces them one
// node at a time.
#include <algorithm>
#include <map>

#include "simulator/controllers/owned.h"
#include "simulator/controllers/parts.h"
#include "simulator/controllers/revisions.h"
#include "simulator/placement/node_match.h"
#include "simulator/placement/pod_state.h"
#include "simulator/workloads/workload.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::Requeue;

// Daemons stay where a node is in trouble: it is often they who mend it.
Json WithDaemonTolerations(Json pod) {
  JsonArray tolerations = ArrayAt(pod, "spec.tolerations");
  static constexpr const char* kTaints[][2] = {
      {"not-ready", "NoExecute"},      {"unreachable", "NoExecute"},
      {"disk-pressure", "NoSchedule"}, {"memory-pressure", "NoSchedule"},
      {"pid-pressure", "NoSchedule"},  {"unschedulable", "NoSchedule"}};
  for (const auto& [key, effect] : kTaints) {
    tolerations.emplace_back(JsonObject{{"key", std::string("node.kubernetes.io/") + key},
                                        {"operator", "Exists"},
                                        {"effect", effect}});
  }
  Set(pod, "spec.tolerations", std::move(tolerations));
  return pod;
}

// The scheduler still has the last word, but on one node only.
void PinTo(Json& pod, const std::string& node) {
  Json field =
      JsonObject{{"key", "metadata.name"}, {"operator", "In"}, {"values", JsonArray{Json(node)}}};
  constexpr char kPath[] =
      "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
  JsonArray terms = ArrayAt(pod, kPath);
  if (terms.empty()) terms.emplace_back(JsonObject());
  for (Json& term : terms) Set(term, "matchFields", JsonArray{field});
  Set(pod, kPath, std::move(terms));
}

// The node of a pod that may not be bound yet.
std::string TargetOf(const Json& pod) {
  if (auto node = placement::NodeOf(pod); !node.empty()) return node;
  for (const Json& term :
       ArrayAt(pod,
               "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
               "nodeSelectorTerms")) {
    for (const Json& field : ArrayAt(term, "matchFields")) {
      const JsonArray& values = ArrayAt(field, "values");
      if (StringAt(field, "key") == "metadata.name" && values.size() == 1 &&
          values.front().is_string()) {
        return std::string(values.front().get_string());
      }
    }
  }
  return "";
}

class DaemonSetController final : public QueuePart {
 public:
  explicit DaemonSetController(const Context& context)
      : QueuePart(context, "daemonset-controller"),
        sets_(For(types::kDaemonSet)),
        nodes_(For(types::kNode)) {
    queue_.WatchOwn(sets_);
    queue_.WatchOwned(For(types::kPod), "DaemonSet");
    nodes_.AddHandler([this](const kube::ObjectPtr& old, const kube::ObjectPtr& current) {
      // Heartbeats change nothing.
      if (old && current && ValueAt(*old, "spec") == ValueAt(*current, "spec") &&
          ValueAt(*old, "metadata.labels") == ValueAt(*current, "metadata.labels")) {
        return;
      }
      for (const auto& set : sets_.List()) queue_.Add(kube::KeyOf(*set));
    });
  }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    auto live = client_.Get(types::kDaemonSet, key);
    if (live.Is(Code::kNotFound)) return Requeue::Done();
    const Json set = TRY(std::move(live));
    if (kube::IsDeleting(set)) return Requeue::Done();
    const auto pods = TRY(ListOwned(client_, types::kPod, set));
    const auto revisions = TRY(SyncRevisions(client_, set, "", pods));
    const auto revision =
        revisions.update.substr(key.name.size() + 1);  // the label holds the hash alone

    const Json* pod_template = Find(set, "spec.template");
    Json model = WithDaemonTolerations(
        placement::PodFromTemplate(pod_template == nullptr ? Json() : *pod_template, set));
    kube::SetLabel(model, "controller-revision-hash", revision);
    std::map<std::string, std::vector<const Json*>> by_node;
    for (const Json& pod : pods) by_node[TargetOf(pod)].push_back(&pod);

    std::optional<Duration> again;
    Json status = NewStatus(set, model, by_node, revision, &again);
    TRY(WriteStatus(client_, types::kDaemonSet, set, std::move(status)));
    TRY(Manage(set, model, by_node));
    TRY(Roll(set, model, by_node, revision));
    return again ? Requeue::After(*again) : Requeue::Done();
  }

  static bool Wants(const Json& model, const Json& node) {
    return placement::PodMatchesNode(model, node) && !placement::UntoleratedTaint(model, node);
  }
  // A pod that is there may stay until a taint drives it out.
  static bool Keeps(const Json& model, const Json& node) {
    return placement::PodMatchesNode(model, node) &&
           !placement::UntoleratedTaint(model, node, true);
  }

  using PodsByNode = std::map<std::string, std::vector<const Json*>>;

  Status Manage(const Json& set, const Json& model, const PodsByNode& by_node) {
    for (const auto& [name, pods] : by_node) {
      const auto node = nodes_.Get({"", name});
      bool first = true;
      for (const Json* pod : pods) {
        if (kube::IsDeleting(*pod)) continue;
        const bool ended = placement::IsTerminal(*pod);
        const bool stays = node && Keeps(model, *node) && first && !ended;
        if (!stays) TRY(DeleteOwnedPod(context_, events_, set, *pod));
        if (!ended) first = false;
      }
    }
    for (const auto& node : nodes_.List()) {
      const auto name = kube::NameOf(*node);
      if (by_node.contains(name) || !Wants(model, *node)) continue;
      Json pod = model;
      PinTo(pod, name);
      TRY(CreateOwnedPod(context_, events_, set, std::move(pod), kube::NameOf(set)));
    }
    return {};
  }

  Status Roll(const Json& set, const Json& model, const PodsByNode& by_node,
              const std::string& revision) {
    if (StringAt(set, "spec.updateStrategy.type", "RollingUpdate") == "OnDelete") return {};
    const auto nodes = nodes_.List();
    const auto total = std::count_if(nodes.begin(), nodes.end(),
                                     [&](const auto& node) { return Wants(model, *node); });
    auto room = std::max<std::int64_t>(
        workloads::ScaledValue(Find(set, "spec.updateStrategy.rollingUpdate.maxUnavailable"), total,
                               true, 1),
        1);
    std::vector<const Json*> old;
    for (const auto& node : nodes) {
      const auto found = by_node.find(kube::NameOf(*node));
      if (!Wants(model, *node)) continue;
      const bool ready = found != by_node.end() && placement::IsActive(*found->second.front()) &&
                         placement::IsReady(*found->second.front());
      const bool stale =
          found != by_node.end() && placement::IsActive(*found->second.front()) &&
          kube::LabelOf(*found->second.front(), "controller-revision-hash") != revision;
      if (stale && !ready) TRY(DeleteOwnedPod(context_, events_, set, *found->second.front()));
      if (!ready) --room;
      if (stale && ready) old.push_back(found->second.front());
    }
    for (std::size_t i = 0; i < old.size() && room > 0; ++i, --room) {
      TRY(DeleteOwnedPod(context_, events_, set, *old[i]));
    }
    return {};
  }

  Json NewStatus(const Json& set, const Json& model, const PodsByNode& by_node,
                 const std::string& revision, std::optional<Duration>* again) const {
    std::int64_t desired = 0, current = 0, misplaced = 0, ready = 0, available = 0, updated = 0;
    for (const auto& node : nodes_.List()) {
      const bool wanted = Wants(model, *node);
      desired += wanted ? 1 : 0;
      const auto found = by_node.find(kube::NameOf(*node));
      if (found == by_node.end()) continue;
      if (!wanted) {
        ++misplaced;
        continue;
      }
      ++current;
      const Json& pod = *found->second.front();
      ready += placement::IsReady(pod) ? 1 : 0;
      available +=
          placement::IsAvailable(pod, IntAt(set, "spec.minReadySeconds"), context_.Now(), again)
              ? 1
              : 0;
      updated += kube::LabelOf(pod, "controller-revision-hash") == revision ? 1 : 0;
    }
    Json status = JsonObject{{"currentNumberScheduled", current},
                             {"numberMisscheduled", misplaced},
                             {"desiredNumberScheduled", desired},
                             {"numberReady", ready},
                             {"observedGeneration", IntAt(set, "metadata.generation")}};
    if (updated > 0) Set(status, "updatedNumberScheduled", updated);
    if (available > 0) Set(status, "numberAvailable", available);
    if (desired > available) Set(status, "numberUnavailable", desired - available);
    return status;
  }

  kube::Informer& sets_;
  kube::Informer& nodes_;
};

}  // namespace

std::unique_ptr<Part> MakeDaemonSetController(const Context& context) {
  return std::make_unique<DaemonSetController>(context);
}

}  // namespace thinsnap::controllers
