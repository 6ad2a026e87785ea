#include "simulator/apiserver/rbac.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <mutex>
#include <utility>

#include "base/core/guarded.h"
#include "base/data/json.h"

namespace thinsnap::apiserver {
namespace {

constexpr std::string_view kMasters = "system:masters";
constexpr std::string_view kServiceAccountPrefix = "system:serviceaccount:";
const std::array<std::string, 4> kResources = {
    "roles.rbac.authorization.k8s.io", "rolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io"};

bool Contains(const std::vector<std::string>& items, std::string_view wanted) {
  return std::find(items.begin(), items.end(), wanted) != items.end();
}

std::vector<std::string> Strings(const Json& object, std::string_view path) {
  std::vector<std::string> out;
  for (const Json& item : ArrayAt(object, path)) {
    if (item.is_string()) out.emplace_back(item.as_string());
  }
  return out;
}

bool ResourceMatches(const std::vector<std::string>& rules, std::string_view resource) {
  if (Contains(rules, "*") || Contains(rules, resource)) return true;
  const auto slash = resource.find('/');
  if (slash == std::string_view::npos) return false;
  return Contains(rules, "*" + std::string(resource.substr(slash)));
}

bool PathMatches(const std::vector<std::string>& rules, std::string_view path) {
  return std::any_of(rules.begin(), rules.end(), [&](const std::string& rule) {
    if (rule.ends_with('*'))
      return path.starts_with(std::string_view(rule).substr(0, rule.size() - 1));
    return rule == path;
  });
}

bool IsSubject(const registry::UserInfo& user, const Json& subject) {
  const std::string kind = StringAt(subject, "kind");
  const std::string name = StringAt(subject, "name");
  if (kind == "User") return name == user.name;
  if (kind == "Group") return Contains(user.groups, name);
  if (kind != "ServiceAccount") return false;
  return user.name ==
         std::string(kServiceAccountPrefix) + StringAt(subject, "namespace") + ":" + name;
}

bool Selects(const Json& selector, const Json& object) {
  const JsonObject* labels = FindObject(selector, "matchLabels");
  if (!labels || labels->empty()) return false;
  return std::all_of(labels->begin(), labels->end(), [&](const auto& label) {
    return label.value().is_string() && StringIn(object, "metadata.labels", label.key()) ==
                                            std::string_view(label.value().as_string());
  });
}

JsonArray ToArray(const std::vector<std::string>& items) {
  return JsonArray(items.begin(), items.end());
}

}  // namespace

AccessQuestion QuestionOf(const RequestInfo& info) {
  if (!info.is_resource) return {info.verb, "", "", "", "", info.path};
  std::string resource = info.resource;
  if (!info.subresource.empty()) resource += "/" + info.subresource;
  return {info.verb, info.group, std::move(resource), info.ns, info.name, info.path};
}

PolicyRule PolicyRule::From(const Json& rule) {
  return {Strings(rule, "verbs"), Strings(rule, "apiGroups"), Strings(rule, "resources"),
          Strings(rule, "resourceNames"), Strings(rule, "nonResourceURLs")};
}

bool PolicyRule::Allows(const AccessQuestion& question) const {
  if (!Contains(verbs, "*") && !Contains(verbs, question.verb)) return false;
  if (question.resource.empty()) return PathMatches(paths, question.path);
  if (!Contains(groups, "*") && !Contains(groups, question.group)) return false;
  if (!ResourceMatches(resources, question.resource)) return false;
  return resource_names.empty() ||
         (!question.name.empty() && Contains(resource_names, question.name));
}

Json PolicyRule::ToJson() const {
  JsonObject out = {{"verbs", ToArray(verbs)}};
  if (!paths.empty()) {
    out["nonResourceURLs"] = ToArray(paths);
  } else {
    out["apiGroups"] = ToArray(groups);
    out["resources"] = ToArray(resources);
    if (!resource_names.empty()) out["resourceNames"] = ToArray(resource_names);
  }
  return out;
}

// The parsed roles and bindings.
struct Authorizer::Policy {
  struct Binding {
    std::string ns;  // empty: cluster-wide
    Json subjects;
    std::shared_ptr<const std::vector<PolicyRule>> rules;
    std::string name, role;  // role: "ClusterRole "view""
  };
  std::vector<Binding> bindings;

  struct Ground {
    const Binding* binding = nullptr;  // null: not allowed
    const Json* subject = nullptr;
  };
  Ground FindGround(const registry::UserInfo& user, const AccessQuestion& question) const {
    for (const Binding& binding : bindings) {
      if (!binding.ns.empty() && (binding.ns != question.ns || question.resource.empty())) continue;
      const auto& subjects = binding.subjects.as_array();
      const auto subject = std::find_if(subjects.begin(), subjects.end(),
                                        [&](const Json& each) { return IsSubject(user, each); });
      if (subject == subjects.end()) continue;
      if (std::any_of(binding.rules->begin(), binding.rules->end(),
                      [&](const PolicyRule& rule) { return rule.Allows(question); })) {
        return {&binding, &*subject};
      }
    }
    return {};
  }
};

struct Authorizer::State {
  explicit State(objects::VersionedStore& its_store) : store(its_store) {}

  objects::VersionedStore& store;
  std::atomic<std::uint64_t> changes{1};
  std::mutex mutex;
  std::uint64_t built_at GUARDED_BY(mutex) = 0;
  std::shared_ptr<const Policy> policy GUARDED_BY(mutex);
  std::vector<std::unique_ptr<objects::VersionedStore::Subscription>> subscriptions
      GUARDED_BY(mutex);
};

Authorizer::Authorizer(objects::VersionedStore& store) : state_(std::make_unique<State>(store)) {
  for (const std::string& resource : kResources) {
    objects::StoreListOptions nothing;
    nothing.filter = [](const objects::StoredObject&) { return false; };
    auto watch = store.ListAndWatch(
        resource, nothing,
        [state = state_.get()](const objects::StoreEvent&) { ++state->changes; });
    state_->subscriptions.push_back(std::move(watch.subscription));
  }
}

Authorizer::~Authorizer() = default;

std::shared_ptr<const Authorizer::Policy> Authorizer::Current() const {
  const std::uint64_t changes = state_->changes.load();
  {
    std::lock_guard lock(state_->mutex);
    if (state_->policy && state_->built_at == changes) return state_->policy;
  }
  auto list = [&](const std::string& resource) {
    auto result = state_->store.List(resource);
    return result.ok() ? std::move(result->items) : std::vector<objects::ObjectRef>{};
  };
  using Rules = std::shared_ptr<const std::vector<PolicyRule>>;
  std::map<std::pair<std::string, std::string>, Rules>
      roles;  // by namespace ("" for cluster roles) and name
  const auto cluster_roles = list(kResources[2]);
  auto rules_of = [](const Json& role, std::vector<PolicyRule>& to) {
    for (const Json& rule : ArrayAt(role, "rules")) to.push_back(PolicyRule::From(rule));
  };
  for (const auto& role : cluster_roles) {
    std::vector<PolicyRule> rules;
    rules_of(role->value(), rules);
    for (const Json& selector : ArrayAt(role->value(), "aggregationRule.clusterRoleSelectors")) {
      for (const auto& other : cluster_roles) {
        if (other != role && Selects(selector, other->value())) rules_of(other->value(), rules);
      }
    }
    roles[{"", role->key().name}] = std::make_shared<std::vector<PolicyRule>>(std::move(rules));
  }
  for (const auto& role : list(kResources[0])) {
    std::vector<PolicyRule> rules;
    rules_of(role->value(), rules);
    roles[{role->key().ns, role->key().name}] =
        std::make_shared<std::vector<PolicyRule>>(std::move(rules));
  }
  auto policy = std::make_shared<Policy>();
  for (const std::string& resource : {kResources[1], kResources[3]}) {
    for (const auto& binding : list(resource)) {
      const bool cluster_role = StringAt(binding->value(), "roleRef.kind") == "ClusterRole";
      const auto role = roles.find(
          {cluster_role ? "" : binding->key().ns, StringAt(binding->value(), "roleRef.name")});
      if (role == roles.end()) continue;
      policy->bindings.push_back({binding->key().ns, ArrayAt(binding->value(), "subjects"),
                                  role->second, binding->key().name,
                                  StringAt(binding->value(), "roleRef.kind") + " \"" +
                                      StringAt(binding->value(), "roleRef.name") + "\""});
    }
  }
  std::lock_guard lock(state_->mutex);
  state_->policy = policy;
  state_->built_at = changes;
  return policy;
}

bool Authorizer::Allows(const registry::UserInfo& user, const AccessQuestion& question) const {
  if (Contains(user.groups, kMasters)) return true;
  return Current()->FindGround(user, question).binding != nullptr;
}

std::string Authorizer::Grounds(const registry::UserInfo& user,
                                const AccessQuestion& question) const {
  if (Contains(user.groups, kMasters)) return "";
  const auto policy = Current();
  const auto [binding, subject] = policy->FindGround(user, question);
  if (binding == nullptr) return "";
  std::string name = binding->name, who = StringAt(*subject, "name");
  if (!binding->ns.empty()) name += "/" + binding->ns;
  if (StringAt(*subject, "kind") == "ServiceAccount")
    who += "/" + StringAt(*subject, "namespace", binding->ns);
  return std::string("RBAC: allowed by ") +
         (binding->ns.empty() ? "ClusterRoleBinding" : "RoleBinding") + " \"" + name + "\" of " +
         binding->role + " to " + StringAt(*subject, "kind") + " \"" + who + "\"";
}

std::vector<PolicyRule> Authorizer::RulesFor(const registry::UserInfo& user,
                                             const std::string& ns) const {
  std::vector<PolicyRule> out;
  if (Contains(user.groups, kMasters)) {
    out.push_back({{"*"}, {"*"}, {"*"}, {}, {}});
    out.push_back({{"*"}, {}, {}, {}, {"*"}});
  }
  const auto policy = Current();
  for (const auto& binding : policy->bindings) {
    if (!binding.ns.empty() && binding.ns != ns) continue;
    const auto& subjects = binding.subjects.as_array();
    if (std::none_of(subjects.begin(), subjects.end(),
                     [&](const Json& s) { return IsSubject(user, s); }))
      continue;
    out.insert(out.end(), binding.rules->begin(), binding.rules->end());
  }
  return out;
}

std::string RefusalText(const registry::UserInfo& user, const AccessQuestion& question) {
  std::string text = "User \"" + user.name + "\" cannot " + question.verb;
  if (question.resource.empty()) return text + " path \"" + question.path + "\"";
  text += " resource \"" + question.resource + "\" in API group \"" + question.group + "\"";
  if (question.ns.empty()) return text + " at the cluster scope";
  return text + " in the namespace \"" + question.ns + "\"";
}

}  // namespace thinsnap::apiserver
