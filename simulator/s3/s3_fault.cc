#include "simulator/s3/s3_fault.h"

#include <string_view>

#include "snapshotter/store/xml.h"

namespace thinsnap::s3 {
namespace {

struct Known {
  std::string_view code;
  int status;
  std::string_view message;
};

constexpr Known kKnown[] = {
    {"AccessDenied", 403, "Access Denied."},
    {"AccessControlListNotSupported", 400, "The bucket does not allow ACLs but private ones."},
    {"AuthorizationHeaderMalformed", 400, "The authorization header is malformed."},
    {"AuthorizationQueryParametersError", 400,
     "The signature parameters of the query are malformed."},
    {"BadDigest", 400, "The checksum you specified did not match what we received."},
    {"BucketAlreadyOwnedByYou", 409, "The bucket exists already and is yours."},
    {"BucketNotEmpty", 409, "The bucket you tried to delete is not empty."},
    {"EntityTooLarge", 400, "Your proposed upload exceeds the maximum allowed size."},
    {"EntityTooSmall", 400,
     "Your proposed upload is smaller than the minimum allowed size of a part."},
    {"IncompleteBody", 400, "The body is shorter or longer than announced."},
    {"InternalError", 500, "We encountered an internal error."},
    {"InvalidAccessKeyId", 403, "The access key id you provided does not exist in our records."},
    {"InvalidArgument", 400, "Invalid argument."},
    {"InvalidBucketName", 400, "The specified bucket is not valid."},
    {"InvalidDigest", 400, "The Content-MD5 or checksum you specified is not valid."},
    {"InvalidLocationConstraint", 400, "The specified location constraint is not valid."},
    {"InvalidPart", 400,
     "One or more of the specified parts could not be found, or its entity tag did not match."},
    {"InvalidPartOrder", 400, "The list of parts was not in ascending order."},
    {"InvalidRange", 416, "The requested range is not satisfiable."},
    {"InvalidRequest", 400, "Invalid request."},
    {"KeyTooLongError", 400, "Your key is too long."},
    {"MalformedXML", 400, "The XML you provided was not well-formed or did not fit our schema."},
    {"MethodNotAllowed", 405, "The specified method is not allowed against this resource."},
    {"MissingContentLength", 411, "You must provide the Content-Length HTTP header."},
    {"MissingSecurityHeader", 400, "Your request is missing a required header."},
    {"NoSuchBucket", 404, "The specified bucket does not exist."},
    {"NoSuchBucketPolicy", 404, "The bucket policy does not exist."},
    {"NoSuchKey", 404, "The specified key does not exist."},
    {"NoSuchLifecycleConfiguration", 404, "The lifecycle configuration does not exist."},
    {"NoSuchTagSet", 404, "The tag set does not exist."},
    {"NoSuchUpload", 404, "The specified multipart upload does not exist."},
    {"NoSuchVersion", 404, "The specified version does not exist."},
    {"NotImplemented", 501,
     "A header or parameter you provided implies functionality that is not implemented."},
    {"ObjectLockConfigurationNotFoundError", 404,
     "Object lock configuration does not exist for this bucket."},
    {"PreconditionFailed", 412, "At least one of the preconditions you specified did not hold."},
    {"RequestTimeTooSkewed", 403,
     "The difference between the request time and the server's time is too large."},
    {"ServerSideEncryptionConfigurationNotFoundError", 404,
     "The encryption configuration was not found."},
    {"SignatureDoesNotMatch", 403,
     "The request signature we calculated does not match the signature you provided. Check your "
     "key and method."},
    {"SlowDown", 503, "Reduce your request rate."},
    {"XAmzContentSHA256Mismatch", 400,
     "The provided x-amz-content-sha256 header does not match what was computed."},
};

}  // namespace

S3Fault Fault(const std::string& code, std::string message) {
  for (const Known& known : kKnown) {
    if (known.code != code) continue;
    return S3Fault{known.status, code,
                   message.empty() ? std::string(known.message) : std::move(message)};
  }
  return S3Fault{500, code, std::move(message)};
}

net::ServerResponse S3Fault::ToResponse(const std::string& resource, bool is_head) const {
  net::ServerResponse response;
  response.status = status;
  response.headers = headers;
  if (is_head) return response;
  response.headers.Set("Content-Type", "application/xml");
  // With it s3cmd, which begins with the region "US", asks again.
  const std::string region(headers.Get(kRegionHeader));
  response.body = std::make_shared<const std::string>(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>" + store::XmlEscape(code) +
      "</Code><Message>" + store::XmlEscape(message) + "</Message>" +
      (region.empty() ? "" : "<Region>" + store::XmlEscape(region) + "</Region>") + "<Resource>" +
      store::XmlEscape(resource) + "</Resource><RequestId>0</RequestId></Error>");
  return response;
}

}  // namespace thinsnap::s3
