#include "simulator/s3/s3_service.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/core/log.h"
#include "snapshotter/store/xml.h"

namespace thinsnap::s3 {
namespace {

// Parameters that choose an operation which is not here.
constexpr std::array<std::string_view, 22> kUnknownOperations = {
    "accelerate",   "acl",
    "analytics",    "attributes",
    "cors",         "intelligent-tiering",
    "inventory",    "legal-hold",
    "logging",      "metrics",
    "notification", "ownershipControls",
    "policyStatus", "publicAccessBlock",
    "replication",  "requestPayment",
    "restore",      "retention",
    "select",       "torrent",
    "website",      "partNumber"};

// Settings of a bucket that are never there: reading says so, removing is done at once.
constexpr std::array<std::string_view, 5> kAbsentSettings = {"encryption", "lifecycle",
                                                             "object-lock", "policy", "tagging"};

// Headers that ask for what is not here.
constexpr std::array<std::string_view, 8> kUnknownHeaders = {
    "x-amz-server-side-encryption",    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-object-lock-mode",          "x-amz-object-lock-legal-hold",
    "x-amz-website-redirect-location", "x-amz-tagging",
    "x-amz-write-offset-bytes",        "x-amz-mfa"};

}  // namespace

bool IsBucketName(std::string_view name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  };
  return name.size() >= 3 && name.size() <= 63 && std::all_of(name.begin(), name.end(), fits) &&
         name.front() != '-' && name.front() != '.' && name.back() != '-' && name.back() != '.' &&
         name.find("..") == name.npos;
}

bool S3Call::Has(std::string_view parameter) const {
  return std::any_of(request.query.begin(), request.query.end(),
                     [&](const auto& item) { return item.first == parameter; });
}

net::ServerResponse XmlResponse(const std::string& root, const std::string& content) {
  return net::ServerResponse::Text(200,
                                   "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<" + root +
                                       " xmlns=\"" + kS3Namespace + "\">" + content + "</" + root +
                                       ">",
                                   "application/xml");
}

std::string XmlTag(const std::string& name, const std::string& text) {
  return "<" + name + ">" + store::XmlEscape(text) + "</" + name + ">";
}

std::string Unquote(std::string text) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"')
    return text.substr(1, text.size() - 2);
  return text;
}

std::string FormatS3Time(WallTime time) {
  const std::string micro = FormatRfc3339Micro(time);  // ends with .123456Z
  return micro.substr(0, micro.size() - 4) + "Z";
}

net::Headers KeptHeaders(const net::ServerRequest& request) {
  static constexpr std::array<std::string_view, 5> kKept = {
      "cache-control", "content-disposition", "content-language", "content-type", "expires"};
  net::Headers kept;
  for (const auto& [name, value] : request.headers.items()) {
    std::string lower = name;
    for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (lower == "content-encoding") {
      // aws-chunked is of the transfer and not of the object.
      std::string rest = value;
      if (const std::size_t at = rest.find("aws-chunked"); at != rest.npos) rest.erase(at, 11);
      while (!rest.empty() && (rest.front() == ',' || rest.front() == ' ')) rest.erase(0, 1);
      while (!rest.empty() && (rest.back() == ',' || rest.back() == ' ')) rest.pop_back();
      if (!rest.empty()) kept.Set("Content-Encoding", rest);
    } else if (lower.starts_with("x-amz-meta-") ||
               std::find(kKept.begin(), kKept.end(), std::string_view(lower)) != kKept.end()) {
      kept.Set(name, value);
    }
  }
  if (!kept.Has("Content-Type")) kept.Set("Content-Type", "binary/octet-stream");
  return kept;
}

S3Result<std::uint64_t> ParseNumber(const std::string& text, const std::string& what,
                                    std::uint64_t max) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > max) {
    return Fault("InvalidArgument", what + " must be a number from 0 to " + std::to_string(max));
  }
  return value;
}

void S3Service::SetChaos(S3Chaos chaos) {
  const std::lock_guard lock(chaos_mutex_);
  chaos_random_ = std::make_unique<SeededRandom>(chaos.seed);
  chaos_ = chaos;
}

S3Service::Fate S3Service::NextFate() {
  const std::lock_guard lock(chaos_mutex_);
  const auto hit = [random = chaos_random_.get()](std::uint64_t share) {
    return share > 0 && random->Below(1000) < share;
  };
  return Fate{hit(chaos_.fail), hit(chaos_.drop), hit(chaos_.lose_answer), chaos_.latency};
}

net::ServerResponse S3Service::Handle(const net::ServerRequest& request) {
  const Fate fate = NextFate();
  net::ServerResponse dropped;
  dropped.drop = true;
  if (fate.latency > Duration::zero() && !runtime_.SleepFor(fate.latency).ok()) return dropped;
  if (fate.drop) return dropped;
  const bool is_head = request.method == "HEAD";
  if (fate.fail) return Fault("SlowDown").ToResponse(request.path, is_head);
  Answer answer = Route(request);
  if (!answer.ok()) {
    const S3Fault& fault = answer.error();
    LogDebug("s3", request.method + " " + request.path + ": " + fault.code + ": " + fault.message);
    return fate.lose_answer ? dropped : fault.ToResponse(request.path, is_head);
  }
  LogDebug("s3", request.method + " " + request.path + ": " + std::to_string(answer->status));
  if (fate.lose_answer) return dropped;
  answer->headers.Add("x-amz-request-id", "0");
  return std::move(answer).value();
}

S3Service::Answer S3Service::Route(const net::ServerRequest& request) {
  S3Call call {
    .request = request,
    .auth =
        TRY(Authenticate(request, {options_.access_key_id, options_.secret_access_key, Secret()},
                         options_.region, runtime_.clock().Now()))
    , .bucket = {}, .key = {}
  };
  for (const std::string_view name : kUnknownOperations) {
    if (call.Has(name) && !(name == "partNumber" && call.Has("uploadId"))) {
      return Fault("NotImplemented", "the parameter " + std::string(name) + " is not implemented");
    }
  }
  // Without versioning every object has the one version "null".
  if (const std::string version = request.QueryOr("versionId", "null"); version != "null") {
    return Fault("NoSuchVersion");
  }
  const std::string acl(request.headers.Get("x-amz-acl"));
  if (!acl.empty() && acl != "private" && acl != "bucket-owner-full-control") {
    return Fault("AccessControlListNotSupported");
  }
  for (const std::string_view name : kUnknownHeaders) {
    if (request.headers.Has(name)) {
      return Fault("NotImplemented", "the header " + std::string(name) + " is not implemented");
    }
  }
  // bucket.localhost is the other way to name a bucket.
  std::string path = request.path;
  std::string host(request.headers.Get("Host"));
  host = host.substr(0, host.rfind(':'));
  constexpr std::string_view kDomain = ".localhost";
  if (host.size() > kDomain.size() && host.ends_with(kDomain)) {
    path = "/" + host.substr(0, host.size() - kDomain.size()) + path;
  }
  const std::size_t slash = path.find('/', 1);
  call.bucket = path.substr(1, slash == path.npos ? path.npos : slash - 1);
  if (slash != path.npos) call.key = path.substr(slash + 1);
  if (call.bucket.empty()) {
    if (request.method == "GET") return ListBuckets();
    return Fault("MethodNotAllowed");
  }
  if (!IsBucketName(call.bucket)) return Fault("InvalidBucketName");
  if (call.key.empty()) return RouteBucket(call);
  if (call.key.size() > 1024) return Fault("KeyTooLongError");
  return RouteObject(call);
}

S3Service::Answer S3Service::RouteBucket(const S3Call& call) {
  const std::string& method = call.request.method;
  const bool of_setting =
      call.Has("versioning") || std::any_of(kAbsentSettings.begin(), kAbsentSettings.end(),
                                            [&](const auto& name) { return call.Has(name); });
  if (method == "PUT" && !of_setting) return CreateBucket(call);
  TRY(storage_.CheckBucket(call.bucket));
  if (method == "HEAD") {
    net::ServerResponse response;
    response.headers.Set(kRegionHeader, options_.region);
    return response;
  }
  if (method == "DELETE") {
    if (!of_setting) TRY(storage_.DeleteBucket(call.bucket));
    net::ServerResponse response;
    response.status = 204;
    return response;
  }
  if (method == "POST" && call.Has("delete")) return DeleteObjects(call);
  if (method != "GET") return Fault(method == "PUT" ? "NotImplemented" : "MethodNotAllowed");
  if (call.Has("location")) {
    return XmlResponse("LocationConstraint",
                       options_.region == "us-east-1" ? "" : store::XmlEscape(options_.region));
  }
  if (call.Has("versioning")) return XmlResponse("VersioningConfiguration", "");
  if (call.Has("object-lock")) return Fault("ObjectLockConfigurationNotFoundError");
  if (call.Has("policy")) return Fault("NoSuchBucketPolicy");
  if (call.Has("tagging")) return Fault("NoSuchTagSet");
  if (call.Has("lifecycle")) return Fault("NoSuchLifecycleConfiguration");
  if (call.Has("encryption")) return Fault("ServerSideEncryptionConfigurationNotFoundError");
  if (call.Has("uploads")) return ListUploads(call);
  if (call.Has("versions")) return ListVersions(call);
  const std::string list_type = call.request.QueryOr("list-type");
  if (!list_type.empty() && list_type != "2")
    return Fault("InvalidArgument", "list-type must be 2");
  return ListObjects(call, list_type == "2");
}

S3Service::Answer S3Service::RouteObject(const S3Call& call) {
  const std::string& method = call.request.method;
  if (call.Has("tagging") && method == "GET") {
    TRY(storage_.Find(call.bucket, call.key));
    return XmlResponse("Tagging", "<TagSet></TagSet>");
  }
  if (call.Has("tagging")) return Fault("NotImplemented");
  if (method == "GET" && call.Has("uploadId")) return ListParts(call);
  if (method == "GET" || method == "HEAD") return GetObject(call);
  if (method == "PUT" && call.Has("uploadId")) return UploadPart(call);
  if (method == "PUT" && call.request.headers.Has("x-amz-copy-source")) return CopyObject(call);
  if (method == "PUT") return PutObject(call);
  if (method == "POST" && call.Has("uploads")) return CreateUpload(call);
  if (method == "POST" && call.Has("uploadId")) return CompleteUpload(call);
  if (method == "DELETE") {
    if (call.Has("uploadId")) {
      TRY(storage_.AbortUpload(call.bucket, call.key, call.request.QueryOr("uploadId")));
    } else {
      TRY(storage_.Delete(call.bucket, call.key, Unquote(call.Header("If-Match"))));
    }
    net::ServerResponse response;
    response.status = 204;
    return response;
  }
  return Fault("MethodNotAllowed");
}

S3Service::Answer S3Service::ListBuckets() {
  std::string content =
      "<Owner><ID>thinsnap</ID><DisplayName>thinsnap</DisplayName></Owner><Buckets>";
  for (const auto& [name, created] : storage_.Buckets()) {
    content += "<Bucket>" + XmlTag("Name", name) + XmlTag("CreationDate", FormatS3Time(created)) +
               "</Bucket>";
  }
  return XmlResponse("ListAllMyBucketsResult", content + "</Buckets>");
}

S3Service::Answer S3Service::CreateBucket(const S3Call& call) {
  const std::string body = TRY(ReceiveText(call));
  if (!body.empty()) {
    const auto xml = store::ParseXml(body);
    if (!xml.ok() || xml->name != "CreateBucketConfiguration") return Fault("MalformedXML");
    const std::string place = xml->TextOf("LocationConstraint");
    if (!place.empty() && place != options_.region) return Fault("InvalidLocationConstraint");
  }
  TRY(storage_.CreateBucket(call.bucket));
  net::ServerResponse response;
  response.headers.Set("Location", "/" + call.bucket);
  return response;
}

}  // namespace thinsnap::s3
