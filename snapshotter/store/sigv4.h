// AWS Signature Version 4 as S3 uses it, in pure functions: what a client sends and a server
// checks.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/clock.h"
#include "base/core/secret.h"
#include "base/net/http.h"

namespace thinsnap::store {

inline constexpr std::string_view kUnsignedPayload = "UNSIGNED-PAYLOAD";
inline constexpr std::string_view kSigV4Algorithm = "AWS4-HMAC-SHA256";

struct SigV4Scope {
  std::string date;  // 20130524
  std::string region;
  std::string service = "s3";
  std::string ToString() const { return date + "/" + region + "/" + service + "/aws4_request"; }
};

// What is signed of a request. Header names are lower case; values are trimmed.
struct SigV4Request {
  std::string method;
  std::string path;  // decoded; S3 escapes it once
  net::Query query;  // decoded
  std::vector<std::pair<std::string, std::string>> signed_headers;
  std::string payload_hash;  // hex, or one of S3's words
};

std::string Sha256Hex(ByteSpan bytes);
Bytes HmacSha256(ByteSpan key, std::string_view text);

// "20130524T000000Z"
std::string FormatAmzDate(WallTime time);
Result<WallTime> ParseAmzDate(std::string_view text);

std::string CanonicalRequest(const SigV4Request& request);
// "host;x-amz-date", sorted.
std::string SignedHeaderNames(const SigV4Request& request);
std::string StringToSign(const std::string& amz_date, const SigV4Scope& scope,
                         const std::string& canonical_request);
Bytes SigningKey(const Secret& secret_access_key, const SigV4Scope& scope);
// Lower-case hex.
std::string SigV4Signature(ByteSpan signing_key, std::string_view string_to_sign);

}  // namespace thinsnap::store
