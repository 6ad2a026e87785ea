#include "snapshotter/store/s3_error.h"

#include "base/net/http_status.h"

namespace thinsnap::store {
namespace {

Code CodeOf(const S3Failure& failure) {
  const std::string& code = failure.code;
  if (code == "NoSuchBucket") return Code::kFailedPrecondition;
  if (code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch" || code == "ExpiredToken" ||
      code == "InvalidToken") {
    return Code::kUnauthenticated;
  }
  if (code == "RequestTimeTooSkewed") return Code::kFailedPrecondition;
  if (code == "SlowDown" || code == "ServiceUnavailable" || code == "RequestTimeout" ||
      code == "TooManyRequests" || code == "ServerBusy") {
    return Code::kUnavailable;
  }
  if (code == "QuotaExceeded" || code == "XMinioStorageFull" ||
      code == "XMinioAdminBucketQuotaExceeded" || code == "EntityTooLarge") {
    return Code::kResourceExhausted;
  }
  if (code == "OperationAborted" || code == "ConditionalRequestConflict") return Code::kAborted;
  if (failure.status == 307 || failure.status == 429) return Code::kUnavailable;
  if (failure.status == 301) return Code::kInvalidArgument;
  if (failure.status == 507) return Code::kResourceExhausted;
  if (failure.status >= 500 && failure.status != 501) {
    return failure.is_write ? Code::kUnknownOutcome : Code::kUnavailable;
  }
  return net::CodeOfHttpStatus(failure.status);
}

std::string Hint(const S3Failure& failure, const std::string& bucket, const std::string& endpoint,
                 const std::string& region) {
  const std::string& code = failure.code;
  if (code == "NoSuchBucket") {
    return "bucket \"" + bucket + "\" does not exist at " + endpoint +
           ": create it, or correct the URL";
  }
  if (code == "InvalidAccessKeyId") return "the access key id is unknown at " + endpoint;
  if (code == "SignatureDoesNotMatch") {
    return "the secret access key does not belong to the access key id at " + endpoint;
  }
  if (code == "ExpiredToken" || code == "InvalidToken")
    return "the session token has expired or is wrong at " + endpoint;
  if (code == "RequestTimeTooSkewed") {
    return "this machine's clock and that of " + endpoint +
           " are more than 15 minutes apart: set the clock";
  }
  if (failure.status == 307) {
    return "bucket \"" + bucket +
           "\" is served elsewhere for now, as new buckets are for some hours: "
           "try again later, or use the endpoint of its region";
  }
  if (code == "PermanentRedirect" || code == "AuthorizationHeaderMalformed" ||
      failure.status == 301) {
    return "bucket \"" + bucket + "\" is not in region " + region +
           (failure.bucket_region.empty() ? ": set its region"
                                          : " but in " + failure.bucket_region);
  }
  if (failure.status == 403)
    return "access to bucket \"" + bucket + "\" at " + endpoint + " is denied";
  return "";
}

}  // namespace

Error ExplainS3Failure(const S3Failure& failure, const std::string& what, const std::string& bucket,
                       const std::string& endpoint, const std::string& region) {
  std::string text = Hint(failure, bucket, endpoint, region);
  if (text.empty()) {
    text = "HTTP " + std::to_string(failure.status);
    if (!failure.message.empty()) text += ", " + failure.message.substr(0, 300);
  }
  if (!failure.code.empty()) text += " (" + failure.code.substr(0, 100) + ")";
  return Error(CodeOf(failure), what + ": " + text);
}

bool BucketIsGone(const Error& error) {
  return error.code() == Code::kFailedPrecondition &&
         error.message().find("(NoSuchBucket)") != std::string::npos;
}

}  // namespace thinsnap::store
