// Objects in parts.
#include <algorithm>
#include <tuple>

#include "simulator/s3/s3_service.h"
#include "snapshotter/store/xml.h"

namespace thinsnap::s3 {
namespace {

constexpr std::uint64_t kMaxPart = 10'000;
constexpr const char* kChecksumType = "x-amz-checksum-type";

S3Result<int> PartNumber(const std::string& text) {
  const auto number = TRY(ParseNumber(text, "the part number", kMaxPart));
  if (number == 0) return Fault("InvalidArgument", "part numbers go from 1 to 10000");
  return static_cast<int>(number);
}

// The list that completes an upload may repeat the checksums of its parts.
bool ChecksumsAgree(const store::XmlElement& listed, const ObjectMeta& part) {
  constexpr std::string_view kElement = "Checksum";
  return std::all_of(listed.children.begin(), listed.children.end(), [&](const auto& element) {
    return !element.name.starts_with(kElement) ||
           element.text == part.headers.Get(kChecksumHeader + element.name.substr(kElement.size()));
  });
}

S3Result<ClaimedChecksum> ClaimOf(const S3Call& call, const Upload& upload) {
  ClaimedChecksum claim;
  const auto given = TRY(GivenChecksums(call));
  if (given.empty()) return claim;
  if (given.size() > 1) return Fault("InvalidRequest", "an object has one checksum at most");
  std::tie(claim.name, claim.value) = *given.begin();
  const std::string type = call.Header(kChecksumType);
  // Of this one AWS knows no other kind.
  claim.of_bytes = claim.name == "crc64nvme" ||
                   (type.empty() ? upload.meta.headers.Get(kChecksumType) : type) == "FULL_OBJECT";
  return claim;
}

}  // namespace

S3Service::Answer S3Service::CreateUpload(const S3Call& call) {
  TRY(storage_.CheckBucket(call.bucket));
  TRY(ReceiveText(call));
  ObjectMeta meta;
  meta.key = call.key;
  meta.headers = KeptHeaders(call.request);
  if (const std::string type = call.Header(kChecksumType); !type.empty())
    meta.headers.Set(kChecksumType, type);
  const std::string id = TRY(storage_.CreateUpload(call.bucket, std::move(meta)));
  return XmlResponse(
      "InitiateMultipartUploadResult",
      XmlTag("Bucket", call.bucket) + XmlTag("Key", call.key) + XmlTag("UploadId", id));
}

S3Service::Answer S3Service::UploadPart(const S3Call& call) {
  const std::string id = call.request.QueryOr("uploadId");
  const int number = TRY(PartNumber(call.request.QueryOr("partNumber")));
  TRY(storage_.FindUpload(call.bucket, call.key, id));
  ObjectMeta meta;
  meta.key = call.key;
  if (call.request.headers.Has("x-amz-copy-source")) {
    const StoredObject source = TRY(OpenCopySource(call));
    ByteSlice slice{0, source.meta.size};
    if (const std::string range = call.Header("x-amz-copy-source-range"); !range.empty()) {
      const auto asked = TRY(ReadRange(range, source.meta.size));
      if (!asked)
        return Fault("InvalidArgument", "x-amz-copy-source-range must be bytes=first-last");
      slice = *asked;
    }
    const auto draft = TRY(storage_.NewDraft());
    const auto md5 = MakeChecksum("md5");
    TRY(draft->CopyFrom(source.fd->get(), slice.offset, slice.length, md5.get()));
    meta.etag = HexEncode(md5->Finish());
    TRY(storage_.PutPart(call.bucket, call.key, id, number, *draft, meta));
    return XmlResponse("CopyPartResult", XmlTag("LastModified", FormatS3Time(meta.modified)) +
                                             XmlTag("ETag", "\"" + meta.etag + "\""));
  }
  const ReceivedBody received = TRY(Receive(call));
  meta.etag = received.md5_hex;
  meta.headers = received.checksums;
  TRY(storage_.PutPart(call.bucket, call.key, id, number, *received.draft, meta));
  net::ServerResponse response;
  response.headers = received.checksums;
  response.headers.Set("ETag", "\"" + meta.etag + "\"");
  return response;
}

S3Service::Answer S3Service::ListParts(const S3Call& call) {
  const std::string id = call.request.QueryOr("uploadId");
  const Upload upload = TRY(storage_.FindUpload(call.bucket, call.key, id));
  const auto after = TRY(
      ParseNumber(call.request.QueryOr("part-number-marker", "0"), "part-number-marker", kMaxPart));
  const auto max_parts =
      TRY(ParseNumber(call.request.QueryOr("max-parts", "1000"), "max-parts", INT32_MAX));
  std::string parts;
  std::uint64_t count = 0;
  int last = 0;
  bool more = false;
  for (auto at = upload.parts.upper_bound(static_cast<int>(after)); at != upload.parts.end();
       ++at) {
    if (count == std::min<std::uint64_t>(max_parts, 1000)) {
      more = true;
      break;
    }
    ++count;
    last = at->first;
    parts += "<Part>" + XmlTag("PartNumber", std::to_string(at->first)) +
             XmlTag("LastModified", FormatS3Time(at->second.modified)) +
             XmlTag("ETag", "\"" + at->second.etag + "\"") +
             XmlTag("Size", std::to_string(at->second.size)) + "</Part>";
  }
  std::string content = XmlTag("Bucket", call.bucket) + XmlTag("Key", call.key) +
                        XmlTag("UploadId", id) + XmlTag("PartNumberMarker", std::to_string(after)) +
                        XmlTag("IsTruncated", more ? "true" : "false");
  if (more) content += XmlTag("NextPartNumberMarker", std::to_string(last));
  return XmlResponse("ListPartsResult", content + parts);
}

S3Service::Answer S3Service::ListUploads(const S3Call& call) {
  const std::string prefix = call.request.QueryOr("prefix");
  const std::vector<Upload> uploads = TRY(storage_.Uploads(call.bucket, prefix));
  std::string content =
      XmlTag("Bucket", call.bucket) + XmlTag("Prefix", prefix) + XmlTag("IsTruncated", "false");
  for (const Upload& upload : uploads) {
    content += "<Upload>" + XmlTag("Key", upload.meta.key) + XmlTag("UploadId", upload.id) +
               XmlTag("Initiated", FormatS3Time(upload.meta.modified)) +
               "<StorageClass>STANDARD</StorageClass></Upload>";
  }
  return XmlResponse("ListMultipartUploadsResult", content);
}

S3Service::Answer S3Service::CompleteUpload(const S3Call& call) {
  const std::string body = TRY(ReceiveText(call));
  const auto xml = store::ParseXml(body);
  if (!xml.ok() || xml->name != "CompleteMultipartUpload") return Fault("MalformedXML");
  const std::string id = call.request.QueryOr("uploadId");
  const Upload upload = TRY(storage_.FindUpload(call.bucket, call.key, id));
  std::vector<std::pair<int, std::string>> parts;
  for (const store::XmlElement& element : xml->children) {
    if (element.name != "Part") continue;
    const int number = TRY(PartNumber(element.TextOf("PartNumber")));
    if (!parts.empty() && number <= parts.back().first) return Fault("InvalidPartOrder");
    const auto part = upload.parts.find(number);
    if (part == upload.parts.end() || !ChecksumsAgree(element, part->second))
      return Fault("InvalidPart");
    parts.emplace_back(number, Unquote(element.TextOf("ETag")));
  }
  if (parts.empty()) return Fault("MalformedXML");
  WriteCondition condition;
  condition.if_absent = call.Header("If-None-Match") == "*";
  condition.if_match = Unquote(call.Header("If-Match"));
  const ClaimedChecksum claim = TRY(ClaimOf(call, upload));
  const ObjectMeta meta =
      TRY(storage_.CompleteUpload(call.bucket, call.key, id, parts, condition, claim));
  return XmlResponse("CompleteMultipartUploadResult",
                     XmlTag("Location", "/" + call.bucket + "/" + call.key) +
                         XmlTag("Bucket", call.bucket) + XmlTag("Key", call.key) +
                         XmlTag("ETag", "\"" + meta.etag + "\""));
}

}  // namespace thinsnap::s3
