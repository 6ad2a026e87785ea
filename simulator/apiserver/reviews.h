// Reviews: what is created without being stored: questions (access, tokens) and the POSTs to
// subresources (binding, eviction, token).
#pragma once

#include <string>

#include "simulator/apiserver/authentication.h"
#include "simulator/apiserver/rbac.h"
#include "simulator/registry/registry.h"

namespace thinsnap::apiserver {

class Reviews {
 public:
  Reviews(registry::Registry& registry, const Authorizer& authorizer,
          const Authenticator& authenticator)
      : registry_(registry), authorizer_(authorizer), authenticator_(authenticator) {}

  // `body` is of the kind that BodyMessage names, or of the target's own.
  schema::ApiResult<registry::Written> Create(const registry::Target& target, Json body,
                                              registry::WriteContext& write) const;
  // The wire message of a POST to this subresource; empty for one that is not known.
  static std::string BodyMessage(const registry::Target& target);

 private:
  // The review with its status. NoSuchResource for other kinds.
  schema::ApiResult<Json> Answer(const registry::Target& target, const registry::UserInfo& user,
                                 Json review) const;
  // A TokenRequest.
  schema::ApiResult<Json> RequestToken(const registry::Target& target, Json request) const;
  schema::ApiResult<registry::Written> Evict(const registry::Target& target, const Json& eviction,
                                             registry::WriteContext& write) const;

  registry::Registry& registry_;
  const Authorizer& authorizer_;
  const Authenticator& authenticator_;
};

}  // namespace thinsnap::apiserver
