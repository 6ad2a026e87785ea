#include "snapshotter/store/sigv4.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace thinsnap::store {
namespace {

std::vector<std::pair<std::string, std::string>> SortedHeaders(const SigV4Request& request) {
  auto headers = request.signed_headers;
  std::stable_sort(headers.begin(), headers.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  return headers;
}

// Runs of spaces count as one.
std::string Squeeze(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == ' ' && (out.empty() || out.back() == ' ')) continue;
    out += c;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace

std::string Sha256Hex(ByteSpan bytes) {
  std::array<std::uint8_t, 32> digest;
  ASSERT(EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha256(), nullptr) ==
         1);
  return HexEncode(digest);
}

Bytes HmacSha256(ByteSpan key, std::string_view text) {
  Bytes out(32);
  unsigned size = 32;
  ASSERT(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
              reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data(),
              &size) != nullptr);
  return out;
}

std::string FormatAmzDate(WallTime time) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  const auto day = std::chrono::floor<std::chrono::days>(seconds);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(seconds - day);
  char text[32];
  std::snprintf(text, sizeof text, "%04d%02u%02uT%02d%02d%02dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return text;
}

Result<WallTime> ParseAmzDate(std::string_view text) {
  if (text.size() == 16 && text[8] == 'T' && text[15] == 'Z') {
    std::string rfc3339;
    rfc3339 += text.substr(0, 4);
    rfc3339 += '-';
    rfc3339 += text.substr(4, 2);
    rfc3339 += '-';
    rfc3339 += text.substr(6, 2);
    rfc3339 += 'T';
    rfc3339 += text.substr(9, 2);
    rfc3339 += ':';
    rfc3339 += text.substr(11, 2);
    rfc3339 += ':';
    rfc3339 += text.substr(13, 2);
    rfc3339 += 'Z';
    if (auto time = ParseRfc3339(rfc3339); time.ok()) return time;
  }
  return Error(Code::kInvalidArgument, "a time as 20130524T000000Z is expected");
}

std::string CanonicalRequest(const SigV4Request& request) {
  std::string out = request.method + "\n" + net::UrlEscape(request.path, true) + "\n";
  std::vector<std::pair<std::string, std::string>> query;
  for (const auto& [name, value] : request.query)
    query.emplace_back(net::UrlEscape(name), net::UrlEscape(value));
  std::sort(query.begin(), query.end());
  bool first = true;
  for (const auto& [name, value] : query) {
    if (!std::exchange(first, false)) out += '&';
    out += name + "=" + value;
  }
  out += '\n';
  for (const auto& [name, value] : SortedHeaders(request))
    out += name + ":" + Squeeze(value) + "\n";
  return out + "\n" + SignedHeaderNames(request) + "\n" + request.payload_hash;
}

std::string SignedHeaderNames(const SigV4Request& request) {
  std::string out;
  for (const auto& [name, value] : SortedHeaders(request)) out += (out.empty() ? "" : ";") + name;
  return out;
}

std::string StringToSign(const std::string& amz_date, const SigV4Scope& scope,
                         const std::string& canonical_request) {
  return std::string(kSigV4Algorithm) + "\n" + amz_date + "\n" + scope.ToString() + "\n" +
         Sha256Hex(AsBytes(canonical_request));
}

Bytes SigningKey(const Secret& secret_access_key, const SigV4Scope& scope) {
  const Secret seed("AWS4" + std::string(secret_access_key.Reveal()));
  Bytes key = HmacSha256(AsBytes(seed.Reveal()), scope.date);
  key = HmacSha256(key, scope.region);
  key = HmacSha256(key, scope.service);
  return HmacSha256(key, "aws4_request");
}

std::string SigV4Signature(ByteSpan signing_key, std::string_view string_to_sign) {
  return HexEncode(HmacSha256(signing_key, string_to_sign));
}

}  // namespace thinsnap::store
