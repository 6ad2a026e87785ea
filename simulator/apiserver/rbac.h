// Role-based access control: may this user do this? Evaluated from the roles and bindings in the
// store; what cannot be read grants nothing.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/data/json_fwd.h"
#include "simulator/apiserver/request.h"
#include "simulator/objects/store.h"
#include "simulator/registry/user_info.h"

namespace thinsnap::apiserver {

// What is asked for. `resource` is "pods" or "pods/log"; a path instead, if the resource is empty.
struct AccessQuestion {
  std::string verb, group, resource, ns, name, path;
};
AccessQuestion QuestionOf(const RequestInfo& info);

struct PolicyRule {
  std::vector<std::string> verbs, groups, resources, resource_names, paths;

  static PolicyRule From(const Json& rule);
  bool Allows(const AccessQuestion& question) const;
  Json ToJson() const;
};

// Thread-safe.
class Authorizer {
 public:
  explicit Authorizer(objects::VersionedStore& store);
  ~Authorizer();

  bool Allows(const registry::UserInfo& user, const AccessQuestion& question) const;
  // Which binding allows it ("RBAC: allowed by ..."); empty if none does or none needs to.
  std::string Grounds(const registry::UserInfo& user, const AccessQuestion& question) const;
  // The rules that hold for the user in the namespace, for SelfSubjectRulesReview.
  std::vector<PolicyRule> RulesFor(const registry::UserInfo& user, const std::string& ns) const;

 private:
  struct Policy;
  std::shared_ptr<const Policy> Current() const;

  struct State;
  std::unique_ptr<State> state_;
};

// `User "u" cannot list resource "pods" in API group "" in the namespace "default"`
std::string RefusalText(const registry::UserInfo& user, const AccessQuestion& question);

}  // namespace thinsnap::apiserver
