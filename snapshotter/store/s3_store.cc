#include "snapshotter/store/s3_store.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <openssl/evp.h>

#include "snapshotter/store/key.h"
#include "snapshotter/store/s3_error.h"
#include "snapshotter/store/sigv4.h"
#include "snapshotter/store/xml.h"

namespace thinsnap::store {
namespace {

constexpr std::size_t kMaxS3KeyBytes = 1024;
constexpr std::uint64_t kSlowestBytesPerSecond = 128 * kKiB;
constexpr std::uint64_t kMaxObjectBytes = 5 * kGiB;
constexpr int kMostRedirects = 3;

std::string Unquote(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"')
    etag = etag.substr(1, etag.size() - 2);
  return std::string(etag);
}

Result<std::uint64_t> ParseSize(std::string_view text, const std::string& where) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Error(Code::kInternal,
                 where + ": the store's answer holds no size but \"" + std::string(text) + "\"");
  }
  return value;
}

WallTime DateOf(const net::HttpResponse& response) {
  const auto date = ParseHttpDate(response.headers.Get("Date"));
  return date.ok() ? *date : WallTime();
}

// List answers spell a space as '+' in url encoding.
Result<std::string> DecodeKey(std::string text, bool url_encoded) {
  if (!url_encoded) return text;
  std::replace(text.begin(), text.end(), '+', ' ');
  return net::UrlUnescape(text);
}

// A bucket with a default retention takes no object without it. Empty where OpenSSL may not.
std::string ContentMd5(ByteSpan body) {
  std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  if (EVP_Digest(body.data(), body.size(), digest.data(), &length, EVP_md5(), nullptr) != 1)
    return "";
  return Base64Encode(ByteSpan(digest).first(length));
}

}  // namespace

S3ObjectStore::S3ObjectStore(Clock& clock, std::unique_ptr<net::HttpClient> http, S3Bucket bucket,
                             Credentials credentials)
    : clock_(clock),
      http_(std::move(http)),
      bucket_(std::move(bucket)),
      credentials_(std::move(credentials)) {
  // OpenStore has checked the endpoint.
  const std::size_t host = bucket_.endpoint.find("://") + 3;
  host_ = (bucket_.virtual_host ? bucket_.bucket + "." : "") + bucket_.endpoint.substr(host);
  base_url_ = bucket_.endpoint.substr(0, host) + host_;
}

Status S3ObjectStore::CheckFullKey(const std::string& key) const {
  TRY(CheckKey(key));
  if (bucket_.prefix.size() + key.size() > kMaxS3KeyBytes) {
    return Error(Code::kInvalidArgument, "object key \"" + key.substr(0, 80) +
                                             "...\" with its prefix \"" + bucket_.prefix +
                                             "\" is longer than S3's 1,024 bytes");
  }
  return {};
}

// A bucket that is hours old, or a cluster of servers, may ask to have this one request repeated at
// another place.
Result<net::HttpResponse> S3ObjectStore::Send(const Call& call) {
  const std::string full_key = call.key.empty() ? "" : bucket_.prefix + call.key;
  Place place{.base_url = base_url_,
              .host = host_,
              .path = bucket_.virtual_host
                          ? "/" + full_key
                          : "/" + bucket_.bucket + (full_key.empty() ? "" : "/" + full_key),
              .query = call.query};
  for (int redirects = 0;; ++redirects) {
    net::HttpResponse response = TRY(SendTo(place, call));
    const std::string_view location = response.headers.Get("Location");
    if (response.status != 307 || location.empty() || redirects == kMostRedirects) return response;
    place = TRY(Redirected(place, location).In(Describe()));
  }
}

Result<S3ObjectStore::Place> S3ObjectStore::Redirected(const Place& from,
                                                       std::string_view location) {
  const net::Url to = TRY(net::ParseUrl(location).In("the store redirects to"));
  const std::string target = to.scheme + "://" + to.host;
  const bool secure = from.base_url.starts_with("https://");
  if (to.scheme != "https" && (secure || to.scheme != "http")) {
    return Error(Code::kFailedPrecondition, "the store redirects from " + from.base_url + " to " +
                                                target + ", which is less secure: not followed");
  }
  Place place;
  const int own_port = to.scheme == "https" ? 443 : 80;
  place.host = to.port == own_port ? to.host : to.host + ":" + std::to_string(to.port);
  place.base_url = to.scheme + "://" + place.host;
  place.path = TRY(net::UrlUnescape(to.path).In("the store redirects to " + target));
  place.query = TRY(net::ParseQuery(to.query).In("the store redirects to " + target));
  return place;
}

Result<net::HttpResponse> S3ObjectStore::SendTo(const Place& place, const Call& call) {
  SigV4Request to_sign;
  to_sign.method = call.method;
  to_sign.path = place.path;
  to_sign.query = place.query;
  to_sign.payload_hash =
      place.base_url.starts_with("https://") ? std::string(kUnsignedPayload) : Sha256Hex(call.body);
  const std::string date = FormatAmzDate(clock_.Now());
  to_sign.signed_headers = {
      {"host", place.host}, {"x-amz-content-sha256", to_sign.payload_hash}, {"x-amz-date", date}};
  if (!credentials_.session_token.empty()) {
    to_sign.signed_headers.emplace_back("x-amz-security-token",
                                        credentials_.session_token.Reveal());
  }
  const SigV4Scope scope{.date = date.substr(0, 8), .region = bucket_.region};
  const Bytes key = SigningKey(credentials_.secret_access_key, scope);
  const std::string signature =
      SigV4Signature(key, StringToSign(date, scope, CanonicalRequest(to_sign)));

  net::HttpRequest request;
  request.method = call.method;
  request.url = place.base_url + net::UrlEscape(place.path, true);
  if (!place.query.empty()) request.url += "?" + net::FormatQuery(place.query);
  request.headers = call.headers;
  for (const auto& [name, value] : to_sign.signed_headers) {
    if (name != "host") request.headers.Set(name, value);
  }
  request.headers.Set("Authorization",
                      std::string(kSigV4Algorithm) + " Credential=" + credentials_.access_key_id +
                          "/" + scope.ToString() + ", SignedHeaders=" + SignedHeaderNames(to_sign) +
                          ", Signature=" + signature);
  request.body = call.body;
  request.max_response_bytes = kMaxObjectBytes;
  request.timeout = std::chrono::seconds(60 + call.body.size() / kSlowestBytesPerSecond);
  if (call.method == "GET") request.timeout = std::chrono::minutes(10);
  return http_->Do(request).In(Describe());
}

Error S3ObjectStore::Explain(const Call& call, const net::HttpResponse& response) const {
  S3Failure failure{.status = response.status,
                    .code = {},
                    .message = {},
                    .bucket_region = std::string(response.headers.Get("x-amz-bucket-region")),
                    .is_write = call.method != "GET" && call.method != "HEAD"};
  if (const auto xml = ParseXml(response.body); xml.ok() && xml->name == "Error") {
    failure.code = xml->TextOf("Code");
    failure.message = xml->TextOf("Message");
  }
  const std::string what = Describe() + ": " + call.method +
                           (call.key.empty() ? " of the listing" : " \"" + call.key + "\"");
  return ExplainS3Failure(failure, what, bucket_.bucket, bucket_.endpoint, bucket_.region);
}

Result<PutResult> S3ObjectStore::Put(const std::string& key, ByteSpan body,
                                     const PutCondition& condition) {
  TRY(CheckFullKey(key));
  Call call{.method = "PUT", .key = key, .query = {}, .headers = {}, .body = body};
  call.headers.Set("Content-Type", "application/octet-stream");
  if (std::string md5 = ContentMd5(body); !md5.empty())
    call.headers.Set("Content-MD5", std::move(md5));
  if (condition.if_absent) call.headers.Set("If-None-Match", "*");
  if (!condition.if_match.empty()) call.headers.Set("If-Match", "\"" + condition.if_match + "\"");
  const net::HttpResponse response = TRY(Send(call));
  if (response.status == 200 || response.status == 201 || response.status == 204) {
    return PutResult{.etag = Unquote(response.headers.Get("ETag")), .date = DateOf(response)};
  }
  // Some servers answer If-Match on a missing object so.
  if (response.status == 404 && !condition.if_match.empty()) {
    Error error = Explain(call, response);
    if (error.code() == Code::kNotFound) return Error(Code::kFailedPrecondition, error.message());
    return error;
  }
  return Explain(call, response);
}

Result<Object> S3ObjectStore::Get(const std::string& key, std::optional<ByteRange> range) {
  TRY(CheckFullKey(key));
  Object object;
  if (range && range->length == 0) {
    object.info = TRY(Head(key));
    if (range->offset >= object.info.size) {
      return Error(Code::kOutOfRange,
                   Describe() + ": range starts beyond the end of \"" + key + "\"");
    }
    return object;
  }
  Call call{.method = "GET", .key = key, .query = {}, .headers = {}, .body = {}};
  if (range) {
    const std::uint64_t last =
        range->offset + std::min(range->length, UINT64_MAX - range->offset) - 1;
    call.headers.Set("Range",
                     "bytes=" + std::to_string(range->offset) + "-" + std::to_string(last));
  }
  const net::HttpResponse response = TRY(Send(call));
  if (response.status != 200 && response.status != 206) return Explain(call, response);
  const ByteSpan body = AsBytes(response.body);
  object.info.key = key;
  object.info.etag = Unquote(response.headers.Get("ETag"));
  if (const auto modified = ParseHttpDate(response.headers.Get("Last-Modified")); modified.ok()) {
    object.info.modified = *modified;
  }
  object.date = DateOf(response);
  if (response.status == 206) {
    const std::string_view content_range = response.headers.Get("Content-Range");
    const std::string expected = "bytes " + std::to_string(range ? range->offset : 0) + "-";
    const std::size_t slash = content_range.find('/');
    if (!range || !content_range.starts_with(expected) || slash == content_range.npos) {
      return Error(Code::kInternal,
                   Describe() + ": the store answered another range of \"" + key + "\"");
    }
    object.info.size = TRY(ParseSize(content_range.substr(slash + 1), Describe()));
    object.bytes.assign(body.begin(), body.end());
    if (object.bytes.size() !=
        std::min(range->length, object.info.size - std::min(object.info.size, range->offset))) {
      return Error(Code::kInternal,
                   Describe() + ": the store answered a part of the range of \"" + key + "\"");
    }
    return object;
  }
  object.info.size = body.size();
  if (!range) {
    object.bytes.assign(body.begin(), body.end());
    return object;
  }
  // The store knows no ranges, or the object is empty.
  if (range->offset >= body.size()) {
    return Error(Code::kOutOfRange,
                 Describe() + ": range starts beyond the end of \"" + key + "\"");
  }
  const ByteSpan part = body.subspan(
      range->offset, std::min<std::uint64_t>(range->length, body.size() - range->offset));
  object.bytes.assign(part.begin(), part.end());
  return object;
}

Result<ObjectInfo> S3ObjectStore::Head(const std::string& key) {
  TRY(CheckFullKey(key));
  const Call call{.method = "HEAD", .key = key, .query = {}, .headers = {}, .body = {}};
  const net::HttpResponse response = TRY(Send(call));
  if (response.status != 200) return Explain(call, response);
  ObjectInfo info;
  info.key = key;
  info.size = TRY(ParseSize(response.headers.Get("Content-Length"), Describe()));
  info.etag = Unquote(response.headers.Get("ETag"));
  if (const auto modified = ParseHttpDate(response.headers.Get("Last-Modified")); modified.ok()) {
    info.modified = *modified;
  }
  return info;
}

Result<Page> S3ObjectStore::List(const std::string& prefix, const std::string& after) {
  std::string start = after.empty() ? "" : bucket_.prefix + after;
  for (;;) {
    std::string last;
    Page page = TRY(ListOnce(prefix, start, last));
    if (!page.objects.empty() || !page.more) return page;
    // A page of nothing but other programs' "folders".
    if (last <= start) return Error(Code::kInternal, Describe() + ": the listing does not go on");
    start = last;
  }
}

Result<Page> S3ObjectStore::ListOnce(const std::string& prefix, const std::string& start,
                                     std::string& last) {
  Call call{.method = "GET", .key = {}, .query = {}, .headers = {}, .body = {}};
  call.query = {{"list-type", "2"}, {"encoding-type", "url"}, {"max-keys", "1000"}};
  call.query.emplace_back("prefix", bucket_.prefix + prefix);
  if (!start.empty()) call.query.emplace_back("start-after", start);
  const net::HttpResponse response = TRY(Send(call));
  if (response.status != 200) return Explain(call, response);
  const XmlElement root = TRY(ParseXml(response.body).In(Describe() + ": answer to a listing"));
  if (root.name != "ListBucketResult") {
    return Error(Code::kInternal, Describe() + ": the answer to a listing is a " + root.name);
  }
  const bool url_encoded = root.TextOf("EncodingType") == "url";
  Page page;
  page.date = DateOf(response);
  page.more = root.TextOf("IsTruncated") == "true";
  for (const XmlElement& element : root.children) {
    if (element.name != "Contents") continue;
    ObjectInfo info;
    const std::string key = TRY(DecodeKey(element.TextOf("Key"), url_encoded));
    if (!key.starts_with(bucket_.prefix + prefix) || key <= last || key <= start) {
      return Error(Code::kInternal,
                   Describe() + ": the listing names \"" + key +
                       "\" out of order; a server that lists by the bytes of the keys, as S3 does, "
                       "is accepted");
    }
    last = key;
    info.key = key.substr(bucket_.prefix.size());
    if (!CheckKey(info.key).ok()) continue;
    info.size = TRY(ParseSize(element.TextOf("Size"), Describe()));
    info.etag = Unquote(element.TextOf("ETag"));
    const WallTime modified = TRY(ParseRfc3339(element.TextOf("LastModified")).In(Describe()));
    info.modified = std::chrono::floor<std::chrono::seconds>(modified);
    page.objects.push_back(std::move(info));
  }
  return page;
}

Status S3ObjectStore::Delete(const std::string& key) {
  TRY(CheckFullKey(key));
  const Call call{.method = "DELETE", .key = key, .query = {}, .headers = {}, .body = {}};
  const net::HttpResponse response = TRY(Send(call));
  if (response.status == 204 || response.status == 200) return {};
  Error error = Explain(call, response);
  if (error.code() == Code::kNotFound) return {};
  return error;
}

}  // namespace thinsnap::store
