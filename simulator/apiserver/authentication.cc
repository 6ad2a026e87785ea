#include "simulator/apiserver/authentication.h"

#include <algorithm>
#include <utility>

#include "base/data/json.h"

namespace thinsnap::apiserver {

using schema::ApiError;
using schema::ApiResult;

namespace {

constexpr std::string_view kBearer = "Bearer ";
constexpr std::string_view kAuthenticated = "system:authenticated";

void AddGroup(registry::UserInfo& user, std::string_view group) {
  if (std::find(user.groups.begin(), user.groups.end(), group) == user.groups.end())
    user.groups.emplace_back(group);
}

}  // namespace

Result<Authenticator::TokenOwner> Authenticator::OwnerOf(std::string_view token) const {
  TokenOwner owner;
  owner.claims = TRY(signer_->Verify(token, clock_.Now()));
  const TokenClaims& claims = owner.claims;
  const auto account = store_.Get({"serviceaccounts", claims.ns, claims.service_account});
  if (!account || StringAt(account->value(), "metadata.uid") != claims.uid) {
    return Error(Code::kUnauthenticated, "the token's service account " + claims.ns + "/" +
                                             claims.service_account + " does not exist any more");
  }
  if (!claims.pod.empty()) {
    const auto pod = store_.Get({"pods", claims.ns, claims.pod});
    if (!pod || StringAt(pod->value(), "metadata.uid") != claims.pod_uid) {
      return Error(Code::kUnauthenticated,
                   "the token's pod " + claims.ns + "/" + claims.pod + " does not exist any more");
    }
  }
  owner.uid = claims.uid;
  owner.user.name = "system:serviceaccount:" + claims.ns + ":" + claims.service_account;
  owner.user.groups = {"system:serviceaccounts", "system:serviceaccounts:" + claims.ns,
                       std::string(kAuthenticated)};
  return owner;
}

Result<registry::UserInfo> Authenticator::Authenticate(const net::ServerRequest& request) const {
  const std::string_view authorization = request.headers.Get("Authorization");
  if (authorization.starts_with(kBearer)) {
    TokenOwner owner = TRY(OwnerOf(authorization.substr(kBearer.size())));
    return std::move(owner.user);
  }
  if (!authorization.empty())
    return Error(Code::kUnauthenticated, "only bearer tokens and client certificates are accepted");
  if (!request.peer_common_name.empty()) {
    registry::UserInfo user{request.peer_common_name, request.peer_organizations};
    AddGroup(user, kAuthenticated);
    return user;
  }
  return registry::UserInfo{std::string(kAnonymous), {"system:unauthenticated"}};
}

ApiResult<registry::UserInfo> Authenticator::Impersonated(const net::ServerRequest& request,
                                                          const registry::UserInfo& user,
                                                          const Authorizer& authorizer) const {
  const std::string name(request.headers.Get("Impersonate-User"));
  if (name.empty()) {
    if (request.headers.Has("Impersonate-Group")) {
      return ApiError::BadRequest("Impersonate-Group is given without Impersonate-User");
    }
    return user;
  }
  auto check = [&](const std::string& resource, const std::string& ns,
                   const std::string& what) -> schema::ApiStatus {
    const AccessQuestion question{"impersonate", "", resource, ns, what, ""};
    if (authorizer.Allows(user, question)) return {};
    return ApiError::Forbidden("", resource, what, RefusalText(user, question));
  };
  registry::UserInfo other{name, {}};
  constexpr std::string_view kServiceAccount = "system:serviceaccount:";
  if (name.starts_with(kServiceAccount)) {
    const std::string rest = name.substr(kServiceAccount.size());
    const auto colon = rest.find(':');
    const std::string ns = rest.substr(0, colon);
    TRY(check("serviceaccounts", ns, colon == std::string::npos ? "" : rest.substr(colon + 1)));
    other.groups = {"system:serviceaccounts", "system:serviceaccounts:" + ns};
  } else {
    TRY(check("users", "", name));
  }
  for (const auto& [header, value] : request.headers.items()) {
    if (header.size() != 17 ||
        !std::equal(header.begin(), header.end(), "impersonate-group", [](char a, char b) {
          return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b;
        })) {
      continue;
    }
    TRY(check("groups", "", value));
    AddGroup(other, value);
  }
  AddGroup(other, name == kAnonymous ? "system:unauthenticated" : kAuthenticated);
  return other;
}

Result<ServiceAccountToken> Authenticator::Issue(const std::string& ns,
                                                 const std::string& service_account,
                                                 Duration validity, const std::string& pod,
                                                 const std::string& pod_uid,
                                                 const std::vector<std::string>& audiences) const {
  const auto account = store_.Get({"serviceaccounts", ns, service_account});
  if (!account)
    return Error(Code::kNotFound,
                 "service account " + ns + "/" + service_account + " does not exist");
  TokenClaims claims;
  claims.ns = ns;
  claims.service_account = service_account;
  claims.uid = StringAt(account->value(), "metadata.uid");
  claims.pod = pod;
  claims.pod_uid = pod_uid;
  claims.audiences =
      audiences.empty() ? std::vector<std::string>{std::string(kTokenIssuer)} : audiences;
  claims.issued = clock_.Now();
  claims.expires = claims.issued + validity;
  claims.id = random_.Uuid();
  return ServiceAccountToken {
    TRY(signer_->Sign(claims))
    , claims.expires
  };
}

}  // namespace thinsnap::apiserver
