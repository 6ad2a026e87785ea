// Many objects at once: listings of both versions, and DeleteObjects.
#include "simulator/s3/s3_service.h"
#include "snapshotter/store/xml.h"

namespace thinsnap::s3 {
namespace {

constexpr std::uint64_t kMaxKeys = 1000;
constexpr const char* kOwner =
    "<Owner><ID>thinsnap</ID><DisplayName>thinsnap</DisplayName></Owner>";

}  // namespace

S3Service::Answer S3Service::ListObjects(const S3Call& call, bool version2) {
  const net::ServerRequest& request = call.request;
  const std::string prefix = request.QueryOr("prefix");
  const std::string delimiter = request.QueryOr("delimiter");
  const std::string encoding = request.QueryOr("encoding-type");
  if (!encoding.empty() && encoding != "url")
    return Fault("InvalidArgument", "encoding-type must be url");
  const auto max_keys =
      TRY(ParseNumber(request.QueryOr("max-keys", "1000"), "max-keys", INT32_MAX));
  std::string after = request.QueryOr(version2 ? "start-after" : "marker");
  const std::string token = request.QueryOr("continuation-token");
  if (version2 && call.Has("continuation-token")) {
    const auto decoded = Base64Decode(token);
    if (!decoded.ok() || decoded->empty())
      return Fault("InvalidArgument", "the continuation token is not of this list");
    after = AsText(*decoded);
  }
  const ListedPage page = TRY(storage_.List(call.bucket, prefix, delimiter, after,
                                            std::min<std::uint64_t>(max_keys, kMaxKeys)));

  const auto spelled = [&](const std::string& text) {
    return encoding == "url" ? net::UrlEscape(text, true) : text;
  };
  std::string content =
      XmlTag("Name", call.bucket) + XmlTag("Prefix", spelled(prefix)) +
      XmlTag("MaxKeys", std::to_string(std::min<std::uint64_t>(max_keys, kMaxKeys)));
  if (!delimiter.empty()) content += XmlTag("Delimiter", spelled(delimiter));
  if (!encoding.empty()) content += XmlTag("EncodingType", encoding);
  content += XmlTag("IsTruncated", page.more ? "true" : "false");
  if (version2) {
    content += XmlTag("KeyCount", std::to_string(page.entries.size()));
    if (!token.empty()) content += XmlTag("ContinuationToken", token);
    if (const std::string start = request.QueryOr("start-after"); !start.empty()) {
      content += XmlTag("StartAfter", spelled(start));
    }
    if (page.more) content += XmlTag("NextContinuationToken", Base64Encode(AsBytes(page.last)));
  } else {
    content += XmlTag("Marker", spelled(after));
    if (page.more && !delimiter.empty()) content += XmlTag("NextMarker", spelled(page.last));
  }
  const bool with_owner = !version2 || request.QueryOr("fetch-owner") == "true";
  for (const ListedEntry& entry : page.entries) {
    if (!entry.object) continue;
    content += "<Contents>" + XmlTag("Key", spelled(entry.name)) +
               XmlTag("LastModified", FormatS3Time(entry.object->modified)) +
               XmlTag("ETag", "\"" + entry.object->etag + "\"") +
               XmlTag("Size", std::to_string(entry.object->size)) + (with_owner ? kOwner : "") +
               "<StorageClass>STANDARD</StorageClass></Contents>";
  }
  for (const ListedEntry& entry : page.entries) {
    if (!entry.object)
      content += "<CommonPrefixes>" + XmlTag("Prefix", spelled(entry.name)) + "</CommonPrefixes>";
  }
  return XmlResponse("ListBucketResult", content);
}

// Every object in its one version, which is the latest.
S3Service::Answer S3Service::ListVersions(const S3Call& call) {
  const net::ServerRequest& request = call.request;
  const std::string prefix = request.QueryOr("prefix");
  const std::string delimiter = request.QueryOr("delimiter");
  const bool url = request.QueryOr("encoding-type") == "url";
  const auto spelled = [&](const std::string& text) {
    return url ? net::UrlEscape(text, true) : text;
  };
  const std::uint64_t max_keys = std::min(
      TRY(ParseNumber(request.QueryOr("max-keys", "1000"), "max-keys", INT32_MAX)), kMaxKeys);
  const std::string after = request.QueryOr("key-marker");
  const ListedPage page = TRY(storage_.List(call.bucket, prefix, delimiter, after, max_keys));
  std::string content = XmlTag("Name", call.bucket) + XmlTag("Prefix", spelled(prefix)) +
                        XmlTag("KeyMarker", spelled(after)) +
                        XmlTag("MaxKeys", std::to_string(max_keys)) +
                        XmlTag("IsTruncated", page.more ? "true" : "false");
  if (!delimiter.empty()) content += XmlTag("Delimiter", spelled(delimiter));
  if (url) content += XmlTag("EncodingType", "url");
  if (page.more) {
    content += XmlTag("NextKeyMarker", spelled(page.last)) + XmlTag("NextVersionIdMarker", "null");
  }
  for (const ListedEntry& entry : page.entries) {
    if (!entry.object) continue;
    content += "<Version>" + XmlTag("Key", spelled(entry.name)) + XmlTag("VersionId", "null") +
               XmlTag("IsLatest", "true") +
               XmlTag("LastModified", FormatS3Time(entry.object->modified)) +
               XmlTag("ETag", "\"" + entry.object->etag + "\"") +
               XmlTag("Size", std::to_string(entry.object->size)) + kOwner +
               "<StorageClass>STANDARD</StorageClass></Version>";
  }
  for (const ListedEntry& entry : page.entries) {
    if (!entry.object)
      content += "<CommonPrefixes>" + XmlTag("Prefix", spelled(entry.name)) + "</CommonPrefixes>";
  }
  return XmlResponse("ListVersionsResult", content);
}

S3Service::Answer S3Service::DeleteObjects(const S3Call& call) {
  const std::string body = TRY(ReceiveText(call));
  if (!call.request.headers.Has("Content-MD5") &&
      !call.request.headers.Has("x-amz-sdk-checksum-algorithm") &&
      call.auth.payload == PayloadKind::kUnsigned) {
    return Fault("InvalidRequest", "Missing required header for this request: Content-MD5");
  }
  const auto xml = store::ParseXml(body);
  if (!xml.ok() || xml->name != "Delete") return Fault("MalformedXML");
  const bool quiet = xml->TextOf("Quiet") == "true";
  std::string content;
  std::size_t count = 0;
  for (const store::XmlElement& element : xml->children) {
    if (element.name != "Object") continue;
    const std::string key = element.TextOf("Key");
    if (key.empty() || ++count > kMaxKeys) return Fault("MalformedXML");
    const std::string version = element.TextOf("VersionId");
    const S3Status deleted =
        version.empty() || version == "null"
            ? storage_.Delete(call.bucket, key, Unquote(element.TextOf("ETag")))
            : S3Status(Fault("NoSuchVersion"));
    if (!deleted.ok()) {
      content += "<Error>" + XmlTag("Key", key) + XmlTag("Code", deleted.error().code) +
                 XmlTag("Message", deleted.error().message) + "</Error>";
    } else if (!quiet) {
      content += "<Deleted>" + XmlTag("Key", key) + "</Deleted>";
    }
  }
  if (count == 0) return Fault("MalformedXML");
  return XmlResponse("DeleteResult", content);
}

}  // namespace thinsnap::s3
