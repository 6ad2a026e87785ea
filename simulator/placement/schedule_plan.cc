#include "simulator/placement/schedule_plan.h"

#include <algorithm>
#include <tuple>

#include "base/kube/object.h"
#include "simulator/placement/node_match.h"
#include "simulator/placement/pod_neighbours.h"
#include "simulator/placement/pod_state.h"
#include "simulator/placement/volume_match.h"
#include "simulator/schema/quantity.h"

namespace thinsnap::placement {

namespace {

using schema::Quantity;

Quantity QuantityIn(const Json& object, std::string_view path, const char* resource) {
  const JsonObject* amounts = FindObject(object, path);
  const Json* amount = amounts == nullptr ? nullptr : amounts->if_contains(resource);
  if (amount == nullptr) return {};
  if (amount->is_int64()) return Quantity::FromInteger(amount->get_int64());
  if (!amount->is_string()) return {};
  return Quantity::Parse(amount->get_string()).ValueOr(Quantity());
}

// Containers add up; init containers run one after the other.
Quantity Requests(const Json& pod, const char* resource) {
  Quantity sum, largest;
  for (const Json& container : ArrayAt(pod, "spec.containers")) {
    sum = sum + QuantityIn(container, "resources.requests", resource);
  }
  for (const Json& container : ArrayAt(pod, "spec.initContainers")) {
    largest = std::max(largest, QuantityIn(container, "resources.requests", resource));
  }
  return std::max(sum, largest);
}

std::int64_t PodsOn(const ScheduleInput& input, const std::string& node) {
  return std::count_if(input.pods.begin(), input.pods.end(),
                       [&](const auto& pod) { return NodeOf(*pod) == node && !IsTerminal(*pod); });
}

std::optional<std::string> WhyNotResources(const ScheduleInput& input, const Json& node) {
  if (FindObject(node, "status.allocatable") == nullptr) return std::nullopt;
  const auto name = kube::NameOf(node);
  const Quantity room = QuantityIn(node, "status.allocatable", "pods");
  if (!room.IsZero() && PodsOn(input, name) >= room.Value()) return "Too many pods";
  for (const char* resource : {"cpu", "memory"}) {
    const Quantity wanted = Requests(*input.pod, resource);
    if (wanted.IsZero()) continue;
    Quantity used = wanted;
    for (const auto& pod : input.pods) {
      if (NodeOf(*pod) == name && !IsTerminal(*pod)) used = used + Requests(*pod, resource);
    }
    if (used > QuantityIn(node, "status.allocatable", resource))
      return std::string("Insufficient ") + resource;
  }
  return std::nullopt;
}

std::optional<std::string> WhyNotClaim(const ScheduleInput& input, const PodClaim& claim,
                                       const Json& node) {
  if (claim.volume) {
    if (VolumeReachableFrom(*claim.volume, node)) return std::nullopt;
    return "node(s) didn't match PersistentVolume's node affinity";
  }
  if (!claim.storage_class) return std::nullopt;
  if (FindVolumeFor(*claim.claim, input.volumes, &node, false)) return std::nullopt;
  const auto provisioner = StringAt(*claim.storage_class, "provisioner");
  if (provisioner == "kubernetes.io/no-provisioner")
    return "node(s) didn't find available persistent volumes to bind";
  if (!MatchesAllowedTopologies(*claim.storage_class, node)) {
    return "node(s) did not match the storage class's allowed topologies";
  }
  if (input.csi_provisioners.contains(provisioner)) {
    const auto drivers = input.drivers.find(kube::NameOf(node));
    if (drivers == input.drivers.end() || !drivers->second.contains(provisioner)) {
      return "node(s) had no CSI driver " + provisioner;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> WhyNot(const ScheduleInput& input, const Json& node) {
  const Json& pod = *input.pod;
  if (BoolAt(node, "spec.unschedulable") &&
      !Tolerates(pod,
                 Json{{"key", "node.kubernetes.io/unschedulable"}, {"effect", "NoSchedule"}})) {
    return "node(s) were unschedulable";
  }
  if (!PodMatchesNode(pod, node)) return "node(s) didn't match Pod's node affinity/selector";
  if (const auto taint = UntoleratedTaint(pod, node))
    return "node(s) had untolerated taint " + *taint;
  if (auto why = WhyNotResources(input, node)) return why;
  for (const auto& claim : input.claims) {
    if (auto why = WhyNotClaim(input, claim, node)) return why;
  }
  return WhyNotBeside(input, node);
}

SchedulePlan PlanSchedule(const ScheduleInput& input) {
  std::map<std::string, int> reasons;
  // Lower is better: refused by a provisioner, preferences, pods, name.
  std::optional<std::tuple<int, std::int64_t, std::int64_t, std::string>> best;
  for (const auto& node : input.nodes) {
    if (const auto why = WhyNot(input, *node)) {
      ++reasons[*why];
      continue;
    }
    const auto name = kube::NameOf(*node);
    int refused = 0;
    for (const auto& claim : input.claims) refused += claim.refused_nodes.contains(name) ? 1 : 0;
    std::int64_t dislike = -PreferredNodeWeight(*input.pod, *node) - NeighbourWeight(input, *node);
    for (const Json& taint : ArrayAt(*node, "spec.taints")) {
      if (StringAt(taint, "effect") == "PreferNoSchedule" && !Tolerates(*input.pod, taint))
        dislike += 1000;
    }
    const std::tuple candidate(refused, dislike, PodsOn(input, name), name);
    if (!best || candidate < *best) best = candidate;
  }
  if (best) return {std::get<3>(*best), ""};
  const auto total = std::to_string(input.nodes.size());
  if (input.nodes.empty()) return {"", "no nodes available to schedule pods"};
  std::string message = "0/" + total + " nodes are available: ";
  bool first = true;
  for (const auto& [reason, count] : reasons) {
    message += (first ? "" : ", ") + std::to_string(count) + " " + reason;
    first = false;
  }
  return {"", message + "."};
}

}  // namespace thinsnap::placement
