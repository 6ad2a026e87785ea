#include "simulator/s3/s3_auth.h"

#include <algorithm>
#include <charconv>
#include <map>

namespace thinsnap::s3 {
namespace {

constexpr auto kMaxSkew = std::chrono::minutes(15);
constexpr int kMaxExpirySeconds = 604'800;

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == text.npos) return parts;
    text = text.substr(end + 1);
  }
}

std::string Trim(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return std::string(text);
}

// What the client says about its signature, from either place.
struct Claim {
  std::string credential, signed_headers, signature, amz_date;
  bool presigned = false;
};

bool SameTime(const std::string& a, const std::string& b) { return Secret(a).Equals(b); }

S3Result<Claim> ReadHeader(const net::ServerRequest& request) {
  std::string_view header = request.headers.Get("Authorization");
  if (!header.starts_with(store::kSigV4Algorithm)) {
    return Fault("InvalidRequest",
                 "The authorization mechanism you have provided is not supported. Please use "
                 "AWS4-HMAC-SHA256.");
  }
  header.remove_prefix(store::kSigV4Algorithm.size());
  std::map<std::string, std::string> fields;
  for (const std::string& part : Split(header, ',')) {
    const std::string field = Trim(part);
    const std::size_t equals = field.find('=');
    if (equals == field.npos) return Fault("AuthorizationHeaderMalformed");
    fields[field.substr(0, equals)] = field.substr(equals + 1);
  }
  Claim claim{.credential = fields["Credential"],
              .signed_headers = fields["SignedHeaders"],
              .signature = fields["Signature"],
              .amz_date = std::string(request.headers.Get("x-amz-date"))};
  if (claim.credential.empty() || claim.signed_headers.empty() || claim.signature.empty() ||
      fields.size() != 3) {
    return Fault("AuthorizationHeaderMalformed");
  }
  if (claim.amz_date.empty()) {
    const auto date = ParseHttpDate(request.headers.Get("Date"));
    if (!date.ok())
      return Fault("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header");
    claim.amz_date = store::FormatAmzDate(*date);
  }
  return claim;
}

S3Result<Claim> ReadQuery(const net::ServerRequest& request) {
  if (request.QueryOr("X-Amz-Algorithm") != store::kSigV4Algorithm) {
    return Fault("AuthorizationQueryParametersError",
                 "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"");
  }
  Claim claim{.credential = request.QueryOr("X-Amz-Credential"),
              .signed_headers = request.QueryOr("X-Amz-SignedHeaders"),
              .signature = request.QueryOr("X-Amz-Signature"),
              .amz_date = request.QueryOr("X-Amz-Date"),
              .presigned = true};
  if (claim.credential.empty() || claim.signed_headers.empty() || claim.signature.empty() ||
      claim.amz_date.empty()) {
    return Fault("AuthorizationQueryParametersError");
  }
  return claim;
}

S3Status CheckTime(const net::ServerRequest& request, const Claim& claim, WallTime now) {
  const auto when = store::ParseAmzDate(claim.amz_date);
  if (!when.ok()) {
    return Fault(claim.presigned ? "AuthorizationQueryParametersError" : "AccessDenied",
                 "the request's date must be as 20130524T000000Z");
  }
  if (!claim.presigned) {
    if (*when - now > kMaxSkew || now - *when > kMaxSkew) return Fault("RequestTimeTooSkewed");
    return {};
  }
  const std::string expires = request.QueryOr("X-Amz-Expires");
  int seconds = 0;
  const auto [end, error] =
      std::from_chars(expires.data(), expires.data() + expires.size(), seconds);
  if (error != std::errc() || end != expires.data() + expires.size() || seconds < 1 ||
      seconds > kMaxExpirySeconds) {
    return Fault("AuthorizationQueryParametersError",
                 "X-Amz-Expires must be a number of seconds from 1 to 604800");
  }
  if (*when - now > kMaxSkew) return Fault("AccessDenied", "Request is not valid yet");
  if (now - *when > std::chrono::seconds(seconds))
    return Fault("AccessDenied", "Request has expired");
  return {};
}

S3Result<store::SigV4Scope> CheckScope(const Claim& claim, const store::Credentials& credentials,
                                       const std::string& region) {
  const std::string malformed =
      claim.presigned ? "AuthorizationQueryParametersError" : "AuthorizationHeaderMalformed";
  const std::vector<std::string> parts = Split(claim.credential, '/');
  if (parts.size() != 5 || parts[3] != "s3" || parts[4] != "aws4_request") {
    return Fault(malformed,
                 "the Credential must be <access key id>/YYYYMMDD/REGION/s3/aws4_request");
  }
  if (parts[0] != credentials.access_key_id) return Fault("InvalidAccessKeyId");
  if (parts[1] != claim.amz_date.substr(0, 8))
    return Fault(malformed, "the date of the Credential is not the request's");
  if (parts[2] != region) {
    S3Fault fault =
        Fault(malformed, "the region '" + parts[2] + "' is wrong; expecting '" + region + "'");
    fault.headers.Set(kRegionHeader, region);
    return fault;
  }
  return store::SigV4Scope{.date = parts[1], .region = parts[2]};
}

// The named headers with their values; every x-amz header and the host must be among them.
S3Result<std::vector<std::pair<std::string, std::string>>> SignedHeaders(
    const net::ServerRequest& request, const Claim& claim) {
  const std::vector<std::string> names = Split(claim.signed_headers, ';');
  if (!std::is_sorted(names.begin(), names.end())) {
    return Fault(
        claim.presigned ? "AuthorizationQueryParametersError" : "AuthorizationHeaderMalformed",
        "SignedHeaders must be sorted");
  }
  const auto is_signed = [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (!is_signed("host")) return Fault("AccessDenied", "The host header must be signed");
  std::vector<std::pair<std::string, std::string>> headers;
  for (const std::string& name : names) headers.emplace_back(name, "");
  for (const auto& [name, value] : request.headers.items()) {
    const std::string lower = Lower(name);
    if (lower.starts_with("x-amz-") && !is_signed(lower)) {
      return Fault("AccessDenied",
                   "There were headers present in the request which were not signed: " + lower);
    }
    for (auto& [signed_name, signed_value] : headers) {
      if (signed_name == lower) signed_value += (signed_value.empty() ? "" : ",") + Trim(value);
    }
  }
  return headers;
}

S3Status ReadPayload(const std::string& hash, Authenticated& result) {
  result.payload_hash = hash;
  if (hash == store::kUnsignedPayload) {
    result.payload = PayloadKind::kUnsigned;
  } else if (hash == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD") {
    result.payload = PayloadKind::kSignedChunks;
  } else if (hash == "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER") {
    result.payload = PayloadKind::kSignedChunksWithTrailer;
  } else if (hash == "STREAMING-UNSIGNED-PAYLOAD-TRAILER") {
    result.payload = PayloadKind::kUnsignedChunksWithTrailer;
  } else if (hash.size() == 64 && HexDecode(hash).ok()) {
    result.payload = PayloadKind::kHash;
  } else {
    return Fault("InvalidArgument",
                 "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- word, or a SHA-256");
  }
  return {};
}

}  // namespace

S3Result<Authenticated> Authenticate(const net::ServerRequest& request,
                                     const store::Credentials& credentials,
                                     const std::string& region, WallTime now) {
  const bool in_header = request.headers.Has("Authorization");
  const bool in_query = !request.QueryOr("X-Amz-Algorithm").empty();
  if (in_header && in_query) return Fault("InvalidArgument", "Only one auth mechanism allowed");
  if (!in_header && !in_query) return Fault("AccessDenied");
  const Claim claim = TRY(in_header ? ReadHeader(request) : ReadQuery(request));
  TRY(CheckTime(request, claim, now));
  const store::SigV4Scope scope = TRY(CheckScope(claim, credentials, region));

  store::SigV4Request signed_request;
  signed_request.method = request.method;
  signed_request.path = request.path;
  for (const auto& parameter : request.query) {
    if (!claim.presigned || parameter.first != "X-Amz-Signature")
      signed_request.query.push_back(parameter);
  }
  signed_request.signed_headers = TRY(SignedHeaders(request, claim));
  std::string hash(request.headers.Get("x-amz-content-sha256"));
  if (hash.empty() && claim.presigned)
    hash = request.QueryOr("X-Amz-Content-Sha256", store::kUnsignedPayload);
  if (hash.empty())
    return Fault("InvalidRequest",
                 "Missing required header for this request: x-amz-content-sha256");
  Authenticated result;
  TRY(ReadPayload(hash, result));
  signed_request.payload_hash = hash;

  result.amz_date = claim.amz_date;
  result.scope = scope.ToString();
  result.signing_key = store::SigningKey(credentials.secret_access_key, scope);
  result.signature = store::SigV4Signature(
      result.signing_key,
      store::StringToSign(claim.amz_date, scope, store::CanonicalRequest(signed_request)));
  if (!SameTime(result.signature, claim.signature)) return Fault("SignatureDoesNotMatch");
  return result;
}

}  // namespace thinsnap::s3
