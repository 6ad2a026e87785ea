// Tokens: JSON Web Tokens of service accounts, signed with ES256 by a key of our own.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/clock.h"
#include "base/core/result.h"
#include "base/core/secret.h"
#include "base/data/json_fwd.h"

namespace thinsnap::apiserver {

struct TokenClaims {
  std::string ns, service_account, uid;
  std::string pod, pod_uid;  // bound to this pod, if not empty
  std::vector<std::string> audiences;
  WallTime issued, expires;
  std::string id;
};

inline constexpr std::string_view kTokenIssuer = "https://kubernetes.default.svc.cluster.local";

// Thread-safe.
class TokenSigner {
 public:
  static Result<Secret> MakeKey();  // PEM
  static Result<std::unique_ptr<TokenSigner>> FromKey(const Secret& key_pem);
  virtual ~TokenSigner() = default;

  virtual Result<Secret> Sign(const TokenClaims& claims) const = 0;
  // kUnauthenticated unless it is a token of ours whose time is not over. Says nothing about what
  // it is bound to.
  virtual Result<TokenClaims> Verify(std::string_view token, WallTime now) const = 0;
  // The public key as a JSON Web Key Set, for /openid/v1/jwks.
  virtual Json PublicKeys() const = 0;
};

}  // namespace thinsnap::apiserver
