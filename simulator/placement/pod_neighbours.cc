#include "simulator/placement/pod_neighbours.h"

#include <algorithm>
#include <map>

#include "base/kube/object.h"
#include "simulator/objects/selectors.h"
#include "simulator/placement/node_match.h"
#include "simulator/placement/pod_state.h"

namespace thinsnap::placement {

namespace {

constexpr char kRequired[] = "requiredDuringSchedulingIgnoredDuringExecution";
constexpr char kPreferred[] = "preferredDuringSchedulingIgnoredDuringExecution";

std::optional<std::string> LabelOf(const Json& object, const std::string& key) {
  const JsonObject* labels = FindObject(object, "metadata.labels");
  const Json* value = labels == nullptr ? nullptr : labels->if_contains(key);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return std::string(value->get_string());
}

// No selector selects nothing, an empty one everything.
bool Selects(const Json* selector, const Json& object) {
  if (selector == nullptr || !selector->is_object()) return false;
  const auto parsed = objects::LabelSelector::FromObject(*selector);
  return parsed.ok() && parsed->Matches(object);
}

// A term of the owner's (anti-)affinity, asked about another pod.
bool TermSelects(const ScheduleInput& input, const Json& term, const Json& owner, const Json& pod) {
  if (!Selects(Find(term, "labelSelector"), pod)) return false;
  const auto ns = kube::NamespaceOf(pod);
  const JsonArray& names = ArrayAt(term, "namespaces");
  const Json* selector = Find(term, "namespaceSelector");
  if (names.empty() && selector == nullptr) return ns == kube::NamespaceOf(owner);
  const bool named = std::any_of(names.begin(), names.end(), [&](const Json& name) {
    return name.is_string() && std::string_view(name.get_string()) == ns;
  });
  const auto object = input.namespaces.find(ns);
  return named || (object != input.namespaces.end() && Selects(selector, *object->second));
}

const Json* NodeNamed(const ScheduleInput& input, const std::string& name) {
  for (const auto& node : input.nodes) {
    if (kube::NameOf(*node) == name) return node.get();
  }
  return nullptr;
}

bool InSameDomain(const ScheduleInput& input, const std::string& key, const Json& pod,
                  const Json& node) {
  const Json* other = NodeNamed(input, NodeOf(pod));
  const auto here = LabelOf(node, key);
  return other != nullptr && here && LabelOf(*other, key) == here;
}

bool Counts(const Json& pod) { return !NodeOf(pod).empty() && !IsTerminal(pod); }

// A pod that the term selects stands in the node's domain.
bool StandsBeside(const ScheduleInput& input, const Json& term, const Json& node) {
  const auto key = StringAt(term, "topologyKey");
  return std::any_of(input.pods.begin(), input.pods.end(), [&](const auto& pod) {
    return Counts(*pod) && TermSelects(input, term, *input.pod, *pod) &&
           InSameDomain(input, key, *pod, node);
  });
}

std::string AffinityPath(const char* kind, const char* when) {
  return std::string("spec.affinity.") + kind + "." + when;
}

std::optional<std::string> WhyNotAffinity(const ScheduleInput& input, const Json& node) {
  const Json& pod = *input.pod;
  for (const Json& term : ArrayAt(pod, AffinityPath("podAffinity", kRequired))) {
    if (StandsBeside(input, term, node)) continue;
    // The first of a group that wants to be together may stand anywhere.
    const bool any = std::any_of(input.pods.begin(), input.pods.end(), [&](const auto& other) {
      return Counts(*other) && TermSelects(input, term, pod, *other);
    });
    if (any || !TermSelects(input, term, pod, pod) || !LabelOf(node, StringAt(term, "topologyKey")))
      return "node(s) didn't match pod affinity rules";
  }
  for (const Json& term : ArrayAt(pod, AffinityPath("podAntiAffinity", kRequired))) {
    if (StandsBeside(input, term, node)) return "node(s) didn't match pod anti-affinity rules";
  }
  for (const auto& other : input.pods) {
    if (!Counts(*other)) continue;
    for (const Json& term : ArrayAt(*other, AffinityPath("podAntiAffinity", kRequired))) {
      if (TermSelects(input, term, *other, pod) &&
          InSameDomain(input, StringAt(term, "topologyKey"), *other, node)) {
        return "node(s) didn't satisfy existing pods anti-affinity rules";
      }
    }
  }
  return std::nullopt;
}

// Pods of each domain that the constraint counts; domains of nodes on which the pod may stand.
std::map<std::string, std::int64_t> CountDomains(const ScheduleInput& input,
                                                 const Json& constraint) {
  const auto key = StringAt(constraint, "topologyKey");
  std::map<std::string, std::int64_t> domains;
  for (const auto& node : input.nodes) {
    const auto domain = LabelOf(*node, key);
    if (domain && PodMatchesNode(*input.pod, *node)) domains.try_emplace(*domain, 0);
  }
  for (const auto& pod : input.pods) {
    if (!Counts(*pod) || kube::IsDeleting(*pod) ||
        kube::NamespaceOf(*pod) != kube::NamespaceOf(*input.pod) ||
        !Selects(Find(constraint, "labelSelector"), *pod)) {
      continue;
    }
    const Json* node = NodeNamed(input, NodeOf(*pod));
    const auto domain = node == nullptr ? std::nullopt : LabelOf(*node, key);
    if (domain && domains.contains(*domain)) ++domains[*domain];
  }
  return domains;
}

std::optional<std::string> WhyNotSpread(const ScheduleInput& input, const Json& node) {
  std::string sorry = "node(s) didn't match pod topology spread constraints";
  for (const Json& constraint : ArrayAt(*input.pod, "spec.topologySpreadConstraints")) {
    if (StringAt(constraint, "whenUnsatisfiable", "DoNotSchedule") != "DoNotSchedule") continue;
    const auto here = LabelOf(node, StringAt(constraint, "topologyKey"));
    if (!here) return sorry + " (missing required label)";
    const auto domains = CountDomains(input, constraint);
    std::int64_t least = domains.empty() ? 0 : INT64_MAX;
    for (const auto& [domain, count] : domains) least = std::min(least, count);
    if (static_cast<std::int64_t>(domains.size()) < IntAt(constraint, "minDomains", 1)) least = 0;
    const auto present = domains.find(*here);
    const std::int64_t self = Selects(Find(constraint, "labelSelector"), *input.pod) ? 1 : 0;
    const std::int64_t count = (present == domains.end() ? 0 : present->second) + self;
    if (count - least > IntAt(constraint, "maxSkew", 1)) return sorry;
  }
  return std::nullopt;
}

// A claim ReadWriteOncePod that another pod uses already.
bool ClaimIsTaken(const ScheduleInput& input) {
  for (const PodClaim& claim : input.claims) {
    const JsonArray& modes = ArrayAt(*claim.claim, "spec.accessModes");
    const bool alone = std::any_of(modes.begin(), modes.end(), [](const Json& mode) {
      return mode.is_string() && mode.get_string() == "ReadWriteOncePod";
    });
    if (!alone) continue;
    const auto name = kube::NameOf(*claim.claim);
    for (const auto& pod : input.pods) {
      if (!Counts(*pod) || kube::NamespaceOf(*pod) != kube::NamespaceOf(*input.pod)) continue;
      const auto used = ClaimsOf(*pod);
      if (std::find(used.begin(), used.end(), name) != used.end()) return true;
    }
  }
  return false;
}

}  // namespace

std::optional<std::string> WhyNotBeside(const ScheduleInput& input, const Json& node) {
  if (ClaimIsTaken(input)) {
    return "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod "
           "access mode";
  }
  if (auto why = WhyNotSpread(input, node)) return why;
  return WhyNotAffinity(input, node);
}

std::int64_t NeighbourWeight(const ScheduleInput& input, const Json& node) {
  std::int64_t weight = 0;
  for (const auto& [kind, sign] : {std::pair("podAffinity", 1), std::pair("podAntiAffinity", -1)}) {
    for (const Json& preferred : ArrayAt(*input.pod, AffinityPath(kind, kPreferred))) {
      const Json* term = Find(preferred, "podAffinityTerm");
      if (term != nullptr && StandsBeside(input, *term, node))
        weight += sign * IntAt(preferred, "weight");
    }
  }
  for (const Json& constraint : ArrayAt(*input.pod, "spec.topologySpreadConstraints")) {
    if (StringAt(constraint, "whenUnsatisfiable") != "ScheduleAnyway") continue;
    const auto here = LabelOf(node, StringAt(constraint, "topologyKey"));
    const auto domains = CountDomains(input, constraint);
    const auto present = here ? domains.find(*here) : domains.end();
    if (present != domains.end()) weight -= present->second;
  }
  return weight;
}

}  // namespace thinsnap::placement
