#include "snapshotter/api/policy.h"

#include <algorithm>
#include <string_view>

#include "base/data/json.h"
#include "base/kube/object.h"

namespace thinsnap::backup {

namespace {

bool MatchesExpression(const Json& expression, const Json& object) {
  const auto key = StringAt(expression, "key");
  const auto op = StringAt(expression, "operator");
  const auto* labels = FindObject(object, "metadata.labels");
  const auto* value = labels == nullptr ? nullptr : labels->if_contains(key);
  if (op == "Exists") return value != nullptr;
  if (op == "DoesNotExist") return value == nullptr;
  bool listed = false;
  if (value != nullptr) {
    for (const auto& wanted : ArrayAt(expression, "values")) listed = listed || wanted == *value;
  }
  if (op == "In") return listed;
  if (op == "NotIn") return !listed;
  return false;
}

}  // namespace

bool MatchesSelector(const Json& selector, const Json& object) {
  if (const auto* labels = FindObject(selector, "matchLabels")) {
    for (const auto& [key, value] : *labels) {
      if (!value.is_string() || kube::LabelOf(object, key) != std::string_view(value.get_string()))
        return false;
      const auto* present = FindObject(object, "metadata.labels");
      if (present == nullptr || !present->contains(key)) return false;
    }
  }
  const auto& expressions = ArrayAt(selector, "matchExpressions");
  return std::all_of(expressions.begin(), expressions.end(),
                     [&](const Json& expression) { return MatchesExpression(expression, object); });
}

bool MayUse(const Json& owner, const std::string& from_namespace, const Json* namespace_object) {
  if (kube::NamespaceOf(owner) == from_namespace) return true;
  const auto from = StringAt(owner, "spec.usagePolicy.allowedNamespaces.from", "Same");
  if (from == "All") return true;
  if (from != "Selector" || namespace_object == nullptr) return false;
  const auto* selector = Find(owner, "spec.usagePolicy.allowedNamespaces.selector");
  return selector != nullptr && MatchesSelector(*selector, *namespace_object);
}

std::string UsageRefusal(const Json& owner, const std::string& kind,
                         const std::string& from_namespace) {
  const auto from = StringAt(owner, "spec.usagePolicy.allowedNamespaces.from", "Same");
  std::string accepted = "only namespace " + kube::NamespaceOf(owner);
  if (from == "Selector") accepted += " and those that its selector matches";
  return kind + " " + kube::KeyOf(owner).ToString() + " may not be used from namespace " +
         from_namespace + ": its spec.usagePolicy.allowedNamespaces.from is " + from +
         ", which accepts " + accepted;
}

const Json* FindDefault(const std::vector<Json>& candidates, const std::string& from_namespace,
                        const Json* namespace_object) {
  const Json* by_selector = nullptr;
  const Json* for_all = nullptr;
  for (const auto& candidate : candidates) {
    if (!BoolAt(candidate, "spec.default") || kube::IsDeleting(candidate)) continue;
    if (kube::NamespaceOf(candidate) == from_namespace) return &candidate;
    const auto from = StringAt(candidate, "spec.usagePolicy.allowedNamespaces.from", "Same");
    if (from == "Selector" && by_selector == nullptr &&
        MayUse(candidate, from_namespace, namespace_object)) {
      by_selector = &candidate;
    }
    if (from == "All" && for_all == nullptr) for_all = &candidate;
  }
  return by_selector != nullptr ? by_selector : for_all;
}

std::string Substitute(
    const std::string& text,
    const std::function<std::optional<std::string>(const std::string& name)>& value) {
  std::string result;
  std::size_t i = 0;
  while (i < text.size()) {
    const auto open = text.find("${", i);
    const auto close = open == std::string::npos ? open : text.find('}', open);
    if (close == std::string::npos) break;
    result += text.substr(i, open - i);
    auto name = text.substr(open + 2, close - open - 2);
    std::string fallback;
    if (const auto mark = name.find(":="); mark != std::string::npos) {
      fallback = name.substr(mark + 2);
      name.resize(mark);
    }
    auto found = value(name);
    result += found && !found->empty() ? *found : fallback;
    i = close + 1;
  }
  return result + text.substr(std::min(i, text.size()));
}

}  // namespace thinsnap::backup
