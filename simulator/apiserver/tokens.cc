#include "simulator/apiserver/tokens.h"

#include <algorithm>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <utility>

#include "base/core/bytes.h"
#include "base/data/json.h"

namespace thinsnap::apiserver {
namespace {

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* what) const {
    Free(what);
  }
};
using KeyHandle = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using BioHandle = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using DigestHandle = std::unique_ptr<EVP_MD_CTX, Freer<EVP_MD_CTX_free>>;
using SignatureHandle = std::unique_ptr<ECDSA_SIG, Freer<ECDSA_SIG_free>>;
using NumberHandle = std::unique_ptr<BIGNUM, Freer<BN_free>>;

constexpr int kHalf = 32;  // bytes of each half of an ES256 signature
constexpr std::size_t kWhole = 64;

Error OpenSslError(std::string_view what) {
  return Error(Code::kInternal, std::string(what) + " failed in OpenSSL");
}

// JWS wants r and s as two fixed-width numbers, OpenSSL speaks DER.
Result<Bytes> RawFromDer(ByteSpan der) {
  const unsigned char* at = der.data();
  SignatureHandle signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
  if (!signature) return OpenSslError("reading a signature");
  Bytes raw(kWhole);
  if (BN_bn2binpad(ECDSA_SIG_get0_r(signature.get()), raw.data(), kHalf) != kHalf ||
      BN_bn2binpad(ECDSA_SIG_get0_s(signature.get()), raw.data() + kHalf, kHalf) != kHalf) {
    return OpenSslError("writing a signature");
  }
  return raw;
}

Result<Bytes> DerFromRaw(ByteSpan raw) {
  if (raw.size() != kWhole)
    return Error(Code::kUnauthenticated, "the token's signature has the wrong length");
  SignatureHandle signature(ECDSA_SIG_new());
  NumberHandle r(BN_bin2bn(raw.data(), kHalf, nullptr));
  NumberHandle s(BN_bin2bn(raw.data() + kHalf, kHalf, nullptr));
  if (!signature || !r || !s || ECDSA_SIG_set0(signature.get(), r.get(), s.get()) != 1) {
    return OpenSslError("building a signature");
  }
  std::ignore = r.release();
  std::ignore = s.release();
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &der);
  if (size <= 0) return OpenSslError("encoding a signature");
  Bytes bytes(der, der + size);
  OPENSSL_free(der);
  return bytes;
}

class EcTokenSigner final : public TokenSigner {
 public:
  EcTokenSigner(KeyHandle key, std::string key_id, Bytes point)
      : key_(std::move(key)), key_id_(std::move(key_id)), point_(std::move(point)) {}

  Result<Secret> Sign(const TokenClaims& claims) const override;
  Result<TokenClaims> Verify(std::string_view token, WallTime now) const override;
  Json PublicKeys() const override;

 private:
  KeyHandle key_;
  std::string key_id_;
  Bytes point_;  // 04, x, y
};

Result<Secret> EcTokenSigner::Sign(const TokenClaims& claims) const {
  const Json header = {{"alg", "ES256"}, {"kid", key_id_}, {"typ", "JWT"}};
  JsonObject bound = {{"namespace", claims.ns},
                      {"serviceaccount", {{"name", claims.service_account}, {"uid", claims.uid}}}};
  if (!claims.pod.empty()) bound["pod"] = {{"name", claims.pod}, {"uid", claims.pod_uid}};
  JsonArray audiences(claims.audiences.begin(), claims.audiences.end());
  const Json payload = {
      {"aud", std::move(audiences)},
      {"exp", UnixSeconds(claims.expires)},
      {"iat", UnixSeconds(claims.issued)},
      {"nbf", UnixSeconds(claims.issued)},
      {"iss", std::string(kTokenIssuer)},
      {"jti", claims.id},
      {"kubernetes.io", std::move(bound)},
      {"sub", "system:serviceaccount:" + claims.ns + ":" + claims.service_account}};
  const std::string signed_part =
      Base64UrlEncode(AsBytes(ToJson(header))) + "." + Base64UrlEncode(AsBytes(ToJson(payload)));

  DigestHandle context(EVP_MD_CTX_new());
  std::size_t size = 0;
  const auto bytes = AsBytes(signed_part);
  if (!context ||
      EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, bytes.data(), bytes.size()) != 1) {
    return OpenSslError("signing a token");
  }
  Bytes der(size);
  if (EVP_DigestSign(context.get(), der.data(), &size, bytes.data(), bytes.size()) != 1) {
    return OpenSslError("signing a token");
  }
  der.resize(size);
  const Bytes raw = TRY(RawFromDer(der));
  return Secret(signed_part + "." + Base64UrlEncode(raw));
}

Result<TokenClaims> EcTokenSigner::Verify(std::string_view token, WallTime now) const {
  const Error refused(Code::kUnauthenticated, "the bearer token is not one of this server's");
  const auto last = token.rfind('.');
  const auto first = token.find('.');
  if (first == std::string_view::npos || first == last) return refused;
  const std::string_view signed_part = token.substr(0, last);
  const auto raw = Base64Decode(token.substr(last + 1));
  const auto payload_bytes = Base64Decode(token.substr(first + 1, last - first - 1));
  if (!raw.ok() || !payload_bytes.ok()) return refused;
  const auto der = DerFromRaw(*raw);
  if (!der.ok()) return refused;
  DigestHandle context(EVP_MD_CTX_new());
  const auto bytes = AsBytes(signed_part);
  if (!context ||
      EVP_DigestVerifyInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
      EVP_DigestVerify(context.get(), der->data(), der->size(), bytes.data(), bytes.size()) != 1) {
    return refused;
  }
  const Json payload = TRY(ParseJson(AsText(*payload_bytes)));
  TokenClaims claims;
  claims.expires = FromUnixSeconds(IntAt(payload, "exp"));
  claims.issued = FromUnixSeconds(IntAt(payload, "iat"));
  if (now >= claims.expires) return Error(Code::kUnauthenticated, "the bearer token has expired");
  claims.id = StringAt(payload, "jti");
  for (const Json& audience : ArrayAt(payload, "aud")) {
    if (audience.is_string()) claims.audiences.emplace_back(audience.as_string());
  }
  const JsonObject* members = payload.if_object();
  const Json* bound = members ? members->if_contains("kubernetes.io") : nullptr;
  if (!bound) return refused;
  claims.ns = StringAt(*bound, "namespace");
  claims.service_account = StringAt(*bound, "serviceaccount.name");
  claims.uid = StringAt(*bound, "serviceaccount.uid");
  claims.pod = StringAt(*bound, "pod.name");
  claims.pod_uid = StringAt(*bound, "pod.uid");
  return claims;
}

Json EcTokenSigner::PublicKeys() const {
  const ByteSpan point(point_);
  return {{"keys",
           {{{"use", "sig"},
             {"kty", "EC"},
             {"kid", key_id_},
             {"crv", "P-256"},
             {"alg", "ES256"},
             {"x", Base64UrlEncode(point.subspan(1, kHalf))},
             {"y", Base64UrlEncode(point.subspan(1 + kHalf, kHalf))}}}}};
}

}  // namespace

Result<Secret> TokenSigner::MakeKey() {
  KeyHandle key(EVP_EC_gen("P-256"));
  BioHandle out(BIO_new(BIO_s_mem()));
  if (!key || !out ||
      PEM_write_bio_PKCS8PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) !=
          1) {
    return OpenSslError("making a token key");
  }
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return Secret(std::string(data, static_cast<std::size_t>(size)));
}

Result<std::unique_ptr<TokenSigner>> TokenSigner::FromKey(const Secret& key_pem) {
  const auto text = key_pem.Reveal();
  BioHandle in(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  KeyHandle key(in ? PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!key) return Error(Code::kDataLoss, "the service account key is not a PEM private key");
  Bytes point(1 + kWhole);
  std::size_t size = 0;
  if (EVP_PKEY_get_octet_string_param(key.get(), "pub", point.data(), point.size(), &size) != 1 ||
      size != point.size()) {
    return Error(Code::kDataLoss, "the service account key is not a P-256 key");
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned digest_size = 0;
  EVP_Digest(point.data(), point.size(), digest, &digest_size, EVP_sha256(), nullptr);
  std::string key_id = Base64UrlEncode(ByteSpan(digest, digest_size));
  return std::unique_ptr<TokenSigner>(
      std::make_unique<EcTokenSigner>(std::move(key), std::move(key_id), point));
}

}  // namespace thinsnap::apiserver
