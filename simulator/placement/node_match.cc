#include "simulator/placement/node_match.h"

#include <algorithm>
#include <charconv>

#include "base/kube/object.h"

namespace thinsnap::placement {

namespace {

std::optional<std::int64_t> ToInteger(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// `actual` is null where the node has no such label.
bool MatchesRequirement(const Json& requirement, const std::string* actual) {
  const auto op = StringAt(requirement, "operator");
  const JsonArray& values = ArrayAt(requirement, "values");
  const bool listed =
      actual != nullptr && std::any_of(values.begin(), values.end(), [&](const Json& value) {
        return value.is_string() && std::string_view(value.get_string()) == *actual;
      });
  if (op == "In") return listed;
  if (op == "NotIn") return !listed;
  if (op == "Exists") return actual != nullptr;
  if (op == "DoesNotExist") return actual == nullptr;
  if (actual == nullptr || values.size() != 1 || !values.front().is_string()) return false;
  const auto have = ToInteger(*actual);
  const auto bound = ToInteger(values.front().get_string());
  if (!have || !bound) return false;
  return op == "Gt" ? *have > *bound : op == "Lt" && *have < *bound;
}

std::optional<std::string> NodeLabel(const Json& node, std::string_view key) {
  const JsonObject* labels = FindObject(node, "metadata.labels");
  const Json* value = labels == nullptr ? nullptr : labels->if_contains(key);
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return std::string(value->get_string());
}

}  // namespace

bool MatchesNodeSelectorTerm(const Json& term, const Json& node) {
  const JsonArray& expressions = ArrayAt(term, "matchExpressions");
  const JsonArray& fields = ArrayAt(term, "matchFields");
  if (expressions.empty() && fields.empty()) return false;
  const auto by_label = [&](const Json& requirement) {
    const auto label = NodeLabel(node, StringAt(requirement, "key"));
    return MatchesRequirement(requirement, label ? &*label : nullptr);
  };
  const auto by_field = [&](const Json& requirement) {
    const auto name = kube::NameOf(node);
    return StringAt(requirement, "key") == "metadata.name" &&
           MatchesRequirement(requirement, &name);
  };
  return std::all_of(expressions.begin(), expressions.end(), by_label) &&
         std::all_of(fields.begin(), fields.end(), by_field);
}

bool MatchesNodeSelector(const Json& selector, const Json& node) {
  const JsonArray& terms = ArrayAt(selector, "nodeSelectorTerms");
  return std::any_of(terms.begin(), terms.end(),
                     [&](const Json& term) { return MatchesNodeSelectorTerm(term, node); });
}

bool PodMatchesNode(const Json& pod, const Json& node) {
  if (const JsonObject* wanted = FindObject(pod, "spec.nodeSelector")) {
    for (const auto& [key, value] : *wanted) {
      const auto label = NodeLabel(node, key);
      if (!label || !value.is_string() || std::string_view(value.get_string()) != *label)
        return false;
    }
  }
  const Json* required =
      Find(pod, "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution");
  return required == nullptr || !required->is_object() || MatchesNodeSelector(*required, node);
}

std::int64_t PreferredNodeWeight(const Json& pod, const Json& node) {
  std::int64_t weight = 0;
  for (const Json& preferred :
       ArrayAt(pod, "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution")) {
    const Json* term = Find(preferred, "preference");
    if (term != nullptr && MatchesNodeSelectorTerm(*term, node))
      weight += IntAt(preferred, "weight");
  }
  return weight;
}

bool Tolerates(const Json& pod, const Json& taint) {
  const JsonArray& tolerations = ArrayAt(pod, "spec.tolerations");
  return std::any_of(tolerations.begin(), tolerations.end(), [&](const Json& toleration) {
    const auto effect = StringAt(toleration, "effect");
    if (!effect.empty() && effect != StringAt(taint, "effect")) return false;
    const auto key = StringAt(toleration, "key");
    const bool exists = StringAt(toleration, "operator", "Equal") == "Exists";
    if (key.empty()) return exists;
    return key == StringAt(taint, "key") &&
           (exists || StringAt(toleration, "value") == StringAt(taint, "value"));
  });
}

std::optional<std::string> UntoleratedTaint(const Json& pod, const Json& node,
                                            bool no_execute_only) {
  for (const Json& taint : ArrayAt(node, "spec.taints")) {
    const auto effect = StringAt(taint, "effect");
    if (effect == "PreferNoSchedule" || (no_execute_only && effect != "NoExecute")) continue;
    if (!Tolerates(pod, taint))
      return "{" + StringAt(taint, "key") + ": " + StringAt(taint, "value") + "}";
  }
  return std::nullopt;
}

bool MatchesAllowedTopologies(const Json& storage_class, const Json& node) {
  const JsonArray& terms = ArrayAt(storage_class, "allowedTopologies");
  return terms.empty() || std::any_of(terms.begin(), terms.end(), [&](const Json& term) {
           const JsonArray& expressions = ArrayAt(term, "matchLabelExpressions");
           return std::all_of(expressions.begin(), expressions.end(), [&](const Json& expression) {
             const auto label = NodeLabel(node, StringAt(expression, "key"));
             const JsonArray& values = ArrayAt(expression, "values");
             return label && std::any_of(values.begin(), values.end(), [&](const Json& value) {
                      return value.is_string() && std::string_view(value.get_string()) == *label;
                    });
           });
         });
}

}  // namespace thinsnap::placement
