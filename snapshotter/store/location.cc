#include "snapshotter/store/location.h"

#include <algorithm>
#include <string_view>

#include "base/net/http.h"
#include "base/net/http_client.h"
#include "snapshotter/store/directory_store.h"
#include "snapshotter/store/key.h"
#include "snapshotter/store/metering_store.h"
#include "snapshotter/store/retrying_store.h"
#include "snapshotter/store/s3_store.h"

namespace thinsnap::store {
namespace {

constexpr std::string_view kForms =
    "accepted are s3://bucket/prefix, s3+http://host:port/bucket/prefix, "
    "s3+https://host/bucket/prefix, file:///folder "
    "and a path that starts with /";

// What follows ? might be a secret, and credentials in front of @ are one.
std::string Shown(const std::string& url) {
  return url.find('@') != url.npos ? "..." : url.substr(0, url.find('?'));
}

Error BadLocation(const Location& location, std::string_view why) {
  return Error(Code::kInvalidArgument, "store URL \"" + Shown(location.url) +
                                           "\": " + std::string(why) + "; " + std::string(kForms));
}

Status CheckBucket(const Location& location, const std::string& bucket) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  };
  bool good = bucket.size() >= 3 && bucket.size() <= 63 && bucket.front() != '-' &&
              bucket.front() != '.' && bucket.back() != '-' && bucket.back() != '.';
  for (const char c : bucket) good = good && fits(c);
  if (good) return {};
  return BadLocation(location,
                     "bucket \"" + bucket + "\": 3 to 63 of a-z, 0-9, - and . are expected");
}

std::string HostAndPort(const net::Url& url) {
  const int own_port = url.scheme == "https" || url.scheme == "s3+https" ? 443 : 80;
  return url.port == own_port ? url.host : url.host + ":" + std::to_string(url.port);
}

// "a/b" becomes "a/b/"; empty stays.
Result<std::string> CheckPrefix(const Location& location, std::string_view path) {
  auto prefix = net::UrlUnescape(path);
  if (!prefix.ok()) return BadLocation(location, prefix.error().message());
  while (prefix->ends_with('/')) prefix->pop_back();
  if (prefix->empty()) return std::string();
  if (const auto checked = CheckKey(*prefix); !checked.ok()) {
    return BadLocation(location, "prefix: " + checked.error().message());
  }
  return *prefix + "/";
}

Result<S3Bucket> ParseS3(const Location& location) {
  // s3:// has the bucket where other URLs have the host.
  const auto url = net::ParseUrl(location.url);
  if (!url.ok()) return BadLocation(location, url.error().message());
  if (!url->query.empty()) return BadLocation(location, "parameters after ? are not accepted");
  S3Bucket bucket;
  bucket.region = location.region.empty() ? "us-east-1" : location.region;
  if (url->scheme == "s3") {
    // As it is written: the parser's lower case would hide a bad name.
    bucket.bucket =
        location.url.substr(5, std::min(location.url.find('/', 5), location.url.size()) - 5);
    bucket.prefix = TRY(CheckPrefix(location, std::string_view(url->path).substr(1)));
    if (location.endpoint.empty()) {
      bucket.endpoint = "https://s3." + bucket.region + ".amazonaws.com";
      // A dot in the bucket's name is not covered by the wildcard of the certificate.
      bucket.virtual_host = bucket.bucket.find('.') == std::string::npos;
    } else {
      const auto endpoint = net::ParseUrl(location.endpoint);
      if (!endpoint.ok() || (endpoint->scheme != "http" && endpoint->scheme != "https") ||
          endpoint->path != "/" || !endpoint->query.empty()) {
        return Error(Code::kInvalidArgument,
                     "endpoint \"" + Shown(location.endpoint) +
                         "\" of the store: https://host[:port] or http://host[:port] is expected");
      }
      bucket.endpoint = endpoint->scheme + "://" + HostAndPort(*endpoint);
    }
  } else {
    if (!location.endpoint.empty()) {
      return BadLocation(location,
                         "the URL names the endpoint already, and another one is given beside it");
    }
    bucket.endpoint = url->scheme.substr(3) + "://" + HostAndPort(*url);
    const std::string_view path = std::string_view(url->path).substr(1);
    const std::size_t slash = path.find('/');
    bucket.bucket = std::string(path.substr(0, slash));
    if (bucket.bucket.empty()) return BadLocation(location, "the bucket is missing");
    bucket.prefix = TRY(CheckPrefix(location, slash == path.npos ? "" : path.substr(slash + 1)));
  }
  TRY(CheckBucket(location, bucket.bucket));
  return bucket;
}

// White space at the ends is a file's line end, and no part of a key. Inside a line end is a
// mistake.
Result<std::string> CheckKeyText(std::string_view text, std::string_view what) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t first = std::min(text.find_first_not_of(kSpace), text.size());
  text = text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
  const auto odd = [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7F; };
  if (std::none_of(text.begin(), text.end(), odd)) return std::string(text);
  return Error(Code::kInvalidArgument,
               std::string(what) + " holds a line end or another control character");
}

Result<Credentials> CheckCredentials(const Credentials& given) {
  Credentials checked;
  checked.access_key_id =
      TRY(CheckKeyText(given.access_key_id, "the access key id (AWS_ACCESS_KEY_ID)"));
  checked.secret_access_key = Secret(TRY(CheckKeyText(
      given.secret_access_key.Reveal(), "the secret access key (AWS_SECRET_ACCESS_KEY)")));
  checked.session_token = Secret(
      TRY(CheckKeyText(given.session_token.Reveal(), "the session token (AWS_SESSION_TOKEN)")));
  return checked;
}

Result<std::unique_ptr<ObjectStore>> OpenS3(Runtime& runtime, const Location& location) {
  S3Bucket bucket = TRY(ParseS3(location));
  const std::string where = "store s3://" + bucket.bucket + "/" + bucket.prefix;
  Credentials credentials = TRY(CheckCredentials(location.credentials).In(where));
  if (credentials.access_key_id.empty() || credentials.secret_access_key.empty()) {
    return Error(Code::kUnauthenticated,
                 where + ": an access key id and a secret access key are needed and not given");
  }
  net::HttpClientOptions options;
  options.ca_pem = location.ca_pem;
  options.insecure = location.insecure_tls;
  options.max_connections = location.max_connections;
  return std::unique_ptr<ObjectStore>(
      std::make_unique<S3ObjectStore>(runtime.clock(), net::MakeHttpClient(std::move(options)),
                                      std::move(bucket), std::move(credentials)));
}

}  // namespace

bool IsS3(const std::string& url) {
  return url.starts_with("s3://") || url.starts_with("s3+http://") ||
         url.starts_with("s3+https://");
}

Result<std::unique_ptr<ObjectStore>> OpenStore(Runtime& runtime, Random& random,
                                               const Location& location,
                                               std::shared_ptr<StoreMeter> meter,
                                               RetryOptions retry) {
  std::unique_ptr<ObjectStore> store;
  const std::string& url = location.url;
  const bool remote = IsS3(url);
  if (remote) {
    store = TRY(OpenS3(runtime, location));
  } else if (url.starts_with("file:///")) {
    auto folder = net::UrlUnescape(std::string_view(url).substr(7));
    if (!folder.ok()) return BadLocation(location, folder.error().message());
    store = TRY(DirectoryObjectStore::Open(runtime.clock(), random, *folder));
  } else if (url.starts_with("file:")) {
    return BadLocation(location, "a file URL has three slashes");
  } else if (url.starts_with('/')) {
    store = TRY(DirectoryObjectStore::Open(runtime.clock(), random, url));
  } else if (url.empty()) {
    return BadLocation(location, "it is empty");
  } else {
    return BadLocation(location, "it is of no known kind");
  }
  if (meter == nullptr) meter = std::make_shared<StoreMeter>();
  store = std::make_unique<MeteringObjectStore>(std::move(store), std::move(meter));
  if (remote)
    store = std::make_unique<RetryingObjectStore>(runtime, random, std::move(store), retry);
  return store;
}

}  // namespace thinsnap::store
