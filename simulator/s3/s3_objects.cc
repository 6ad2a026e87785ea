// Objects one by one: put, get, head, copy.
#include <algorithm>

#include "simulator/s3/s3_service.h"

namespace thinsnap::s3 {
namespace {

bool MatchesEtag(const std::string& header, const std::string& etag) {
  for (std::size_t start = 0; start <= header.size();) {
    const std::size_t end = std::min(header.find(',', start), header.size());
    std::string one = header.substr(start, end - start);
    while (one.starts_with(' ')) one.erase(0, 1);
    while (one.ends_with(' ')) one.pop_back();
    if (one == "*" || Unquote(one) == etag) return true;
    start = end + 1;
  }
  return false;
}

// RFC 9110, section 13.2.2. `prefix` is "x-amz-copy-source-" for the source of a copy.
S3Status CheckReadConditions(const S3Call& call, const ObjectMeta& meta,
                             const std::string& prefix) {
  const bool is_copy = !prefix.empty();
  const auto modified = std::chrono::floor<std::chrono::seconds>(meta.modified);
  const std::string if_match = call.Header(prefix + "if-match");
  const std::string if_none_match = call.Header(prefix + "if-none-match");
  const auto since = ParseHttpDate(call.Header(prefix + "if-modified-since"));
  const auto unmodified_since = ParseHttpDate(call.Header(prefix + "if-unmodified-since"));
  if (!if_match.empty()) {
    if (!MatchesEtag(if_match, meta.etag)) return Fault("PreconditionFailed");
  } else if (unmodified_since.ok() && modified > *unmodified_since) {
    return Fault("PreconditionFailed");
  }
  S3Fault unchanged{304, "NotModified", "Not Modified", {}};
  unchanged.headers.Set("ETag", "\"" + meta.etag + "\"");
  if (is_copy) unchanged = Fault("PreconditionFailed");
  if (!if_none_match.empty()) {
    if (MatchesEtag(if_none_match, meta.etag)) return unchanged;
  } else if (since.ok() && modified <= *since) {
    return unchanged;
  }
  return {};
}

S3Result<WriteCondition> ReadWriteCondition(const S3Call& call) {
  WriteCondition condition;
  const std::string if_none_match = call.Header("If-None-Match");
  if (!if_none_match.empty()) {
    if (if_none_match != "*") return Fault("NotImplemented", "If-None-Match of a PUT must be *");
    condition.if_absent = true;
  }
  condition.if_match = Unquote(call.Header("If-Match"));
  if (condition.if_absent && !condition.if_match.empty()) {
    return Fault("InvalidRequest", "If-Match and If-None-Match exclude each other");
  }
  return condition;
}

}  // namespace

S3Result<std::optional<ByteSlice>> ReadRange(const std::string& header, std::uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  if (!header.starts_with(kUnit) || header.find(',') != header.npos)
    return std::optional<ByteSlice>();
  const std::string spec = header.substr(kUnit.size());
  const std::size_t dash = spec.find('-');
  if (dash == spec.npos) return std::optional<ByteSlice>();
  auto first = ParseNumber(spec.substr(0, dash), "", UINT64_MAX);
  auto last = ParseNumber(spec.substr(dash + 1), "", UINT64_MAX);
  S3Fault unsatisfiable = Fault("InvalidRange");
  unsatisfiable.headers.Set("Content-Range", "bytes */" + std::to_string(size));
  if (dash == 0) {
    if (!last.ok()) return std::optional<ByteSlice>();
    if (*last == 0 || size == 0) return unsatisfiable;
    const std::uint64_t length = std::min(*last, size);
    return std::optional(ByteSlice{size - length, length});
  }
  if (!first.ok()) return std::optional<ByteSlice>();
  const bool open_end = dash + 1 == spec.size();
  if (!open_end && (!last.ok() || *last < *first)) return std::optional<ByteSlice>();
  if (*first >= size) return unsatisfiable;
  const std::uint64_t end = open_end ? size - 1 : std::min(*last, size - 1);
  return std::optional(ByteSlice{*first, end - *first + 1});
}

S3Service::Answer S3Service::PutObject(const S3Call& call) {
  TRY(storage_.CheckBucket(call.bucket));
  const WriteCondition condition = TRY(ReadWriteCondition(call));
  // Known to fail, it need not be received.
  if (condition.if_absent && storage_.Find(call.bucket, call.key).ok())
    return Fault("PreconditionFailed");
  const ReceivedBody received = TRY(Receive(call));
  ObjectMeta meta;
  meta.key = call.key;
  meta.etag = received.md5_hex;
  meta.headers = KeptHeaders(call.request);
  for (const auto& [name, value] : received.checksums.items()) meta.headers.Set(name, value);
  TRY(storage_.Put(call.bucket, *received.draft, meta, condition));
  net::ServerResponse response;
  response.headers.Set("ETag", "\"" + meta.etag + "\"");
  for (const auto& [name, value] : received.checksums.items()) response.headers.Set(name, value);
  return response;
}

S3Service::Answer S3Service::GetObject(const S3Call& call) {
  StoredObject object = TRY(storage_.Open(call.bucket, call.key));
  TRY(CheckReadConditions(call, object.meta, ""));
  net::ServerResponse response;
  for (const auto& [name, value] : object.meta.headers.items()) {
    // A checksum is of the whole object.
    const bool is_checksum = name.starts_with("x-amz-checksum-");
    const bool wanted =
        call.Header("x-amz-checksum-mode") == "ENABLED" && call.Header("Range").empty();
    if (!is_checksum || wanted) response.headers.Set(name, value);
  }
  for (const char* name : {"cache-control", "content-disposition", "content-encoding",
                           "content-language", "content-type", "expires"}) {
    if (const std::string value = call.request.QueryOr("response-" + std::string(name));
        !value.empty()) {
      response.headers.Set(name, value);
    }
  }
  response.headers.Set("ETag", "\"" + object.meta.etag + "\"");
  response.headers.Set("Last-Modified", FormatHttpDate(object.meta.modified));
  response.headers.Set("Accept-Ranges", "bytes");
  ByteSlice range{0, object.meta.size};
  if (const auto asked = TRY(ReadRange(call.Header("Range"), object.meta.size))) {
    range = *asked;
    response.status = 206;
    response.headers.Set("Content-Range", "bytes " + std::to_string(range.offset) + "-" +
                                              std::to_string(range.offset + range.length - 1) +
                                              "/" + std::to_string(object.meta.size));
  }
  response.headers.Set("Content-Length", std::to_string(range.length));
  if (call.request.method == "GET" && range.length > 0) {
    response.file = net::ServerResponse::File{object.fd, range.offset, range.length};
  }
  return response;
}

S3Result<StoredObject> S3Service::OpenCopySource(const S3Call& call) {
  std::string source = call.Header("x-amz-copy-source");
  if (source.find('?') != source.npos)
    return Fault("NotImplemented", "versions are not implemented");
  auto decoded = net::UrlUnescape(source);
  if (!decoded.ok()) return Fault("InvalidArgument", "x-amz-copy-source is malformed");
  if (decoded->starts_with('/')) decoded->erase(0, 1);
  const std::size_t slash = decoded->find('/');
  if (slash == decoded->npos || slash + 1 == decoded->size()) {
    return Fault("InvalidArgument", "x-amz-copy-source must be bucket/key");
  }
  StoredObject object = TRY(storage_.Open(decoded->substr(0, slash), decoded->substr(slash + 1)));
  TRY(CheckReadConditions(call, object.meta, "x-amz-copy-source-"));
  return object;
}

S3Service::Answer S3Service::CopyObject(const S3Call& call) {
  TRY(storage_.CheckBucket(call.bucket));
  const StoredObject source = TRY(OpenCopySource(call));
  const std::string directive = call.Header("x-amz-metadata-directive");
  if (!directive.empty() && directive != "COPY" && directive != "REPLACE") {
    return Fault("InvalidArgument", "x-amz-metadata-directive must be COPY or REPLACE");
  }
  TRY(ReceiveText(call));
  const auto draft = TRY(storage_.NewDraft());
  TRY(draft->CopyFrom(source.fd->get(), 0, source.meta.size));
  ObjectMeta meta = source.meta;
  meta.key = call.key;
  if (directive == "REPLACE") meta.headers = KeptHeaders(call.request);
  const WriteCondition condition = TRY(ReadWriteCondition(call));
  TRY(storage_.Put(call.bucket, *draft, meta, condition));
  return XmlResponse("CopyObjectResult", XmlTag("LastModified", FormatS3Time(meta.modified)) +
                                             XmlTag("ETag", "\"" + meta.etag + "\""));
}

}  // namespace thinsnap::s3
