// What an S3 error answer means to a caller.
#pragma once

#include <string>
#include <string_view>

#include "base/core/result.h"

namespace thinsnap::store {

struct S3Failure {
  int status = 0;
  std::string code;           // <Code>, empty when the answer has no such body
  std::string message;        // <Message>
  std::string bucket_region;  // x-amz-bucket-region
  bool is_write = false;
};

// The code a caller reacts to and a sentence for people; names bucket and endpoint, holds no
// secret.
Error ExplainS3Failure(const S3Failure& failure, const std::string& what, const std::string& bucket,
                       const std::string& endpoint, const std::string& region);

// True for the error above where the bucket does not exist, whatever context was added to it. It
// is no kNotFound, which says that an object is absent from a bucket that is there.
bool BucketIsGone(const Error& error);

}  // namespace thinsnap::store
