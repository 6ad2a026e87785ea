// Reviews: what is created without being stored: questions (access, tokens) and the POSTs to
// subresources (binding, eviction, token).
#pragma once

#include <string>

#include "simulator/apiserver/authentication.h"
#include "simulator/apiserver/rbac.h"
#include "simulator/apiserver/registry.h"

namespace thinsnap::apiserver {

class Reviews {
 public:
  Reviews(Registry& registry, const Authorizer& authorizer, const Authenticator& authenticator)
      : registry_(registry), authorizer_(authorizer), authenticator_(authenticator) {}

  // `body` is of the kind that BodyMessage names, or of the target's own.
  schema::ApiResult<Written> Create(const Target& target, Json body, WriteContext& write) const;
  // The wire message of a POST to this subresource; empty for one that is not known.
  static std::string BodyMessage(const Target& target);

 private:
  // The review with its status. NoSuchResource for other kinds.
  schema::ApiResult<Json> Answer(const Target& target, const UserInfo& user, Json review) const;
  // A TokenRequest.
  schema::ApiResult<Json> RequestToken(const Target& target, Json request) const;
  schema::ApiResult<Written> Evict(const Target& target, const Json& eviction,
                                   WriteContext& write) const;

  Registry& registry_;
  const Authorizer& authorizer_;
  const Authenticator& authenticator_;
};

}  // namespace thinsnap::apiserver
