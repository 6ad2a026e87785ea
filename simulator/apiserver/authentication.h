// Authentication: who sends this request? By bearer token of a service account or by client
// certificate; without either, system:anonymous.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/core/clock.h"
#include "base/core/random.h"
#include "base/core/result.h"
#include "base/net/http_server.h"
#include "simulator/apiserver/api_server.h"
#include "simulator/apiserver/rbac.h"
#include "simulator/apiserver/tokens.h"
#include "simulator/objects/store.h"
#include "simulator/schema/api_error.h"

namespace thinsnap::apiserver {

inline constexpr std::string_view kAnonymous = "system:anonymous";

// Thread-safe.
class Authenticator {
 public:
  Authenticator(objects::VersionedStore& store, std::unique_ptr<TokenSigner> signer, Clock& clock,
                Random& random)
      : store_(store), signer_(std::move(signer)), clock_(clock), random_(random) {}

  // kUnauthenticated for credentials that are none.
  Result<registry::UserInfo> Authenticate(const net::ServerRequest& request) const;
  // The user in whose name the request is made: its Impersonate headers, if the user may use them.
  schema::ApiResult<registry::UserInfo> Impersonated(const net::ServerRequest& request,
                                                     const registry::UserInfo& user,
                                                     const Authorizer& authorizer) const;
  // Whose token it is; with the audiences that it is for.
  struct TokenOwner {
    registry::UserInfo user;
    std::string uid;
    TokenClaims claims;
  };
  Result<TokenOwner> OwnerOf(std::string_view token) const;

  Result<ServiceAccountToken> Issue(const std::string& ns, const std::string& service_account,
                                    Duration validity, const std::string& pod,
                                    const std::string& pod_uid,
                                    const std::vector<std::string>& audiences) const;
  const TokenSigner& signer() const { return *signer_; }

 private:
  objects::VersionedStore& store_;
  std::unique_ptr<TokenSigner> signer_;
  Clock& clock_;
  Random& random_;
};

}  // namespace thinsnap::apiserver
