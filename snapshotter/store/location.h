// Where a store is and how to get in: the URLs that users, Secrets and manifests name.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/core/clock.h"
#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/core/secret.h"
#include "snapshotter/store/object_store.h"
#include "snapshotter/store/retrying_store.h"

namespace thinsnap::store {

struct Credentials {
  std::string access_key_id;
  Secret secret_access_key;
  Secret session_token;
};

struct Location {
  // s3://bucket/prefix            AWS, or the endpoint below
  // s3+http://host:port/bucket/prefix, s3+https://...
  // file:///folder, or a plain path
  // memory:name is for tests only and refused here
  std::string url;
  std::string endpoint;  // for s3://: https://host[:port]
  std::string region = "us-east-1";
  Credentials credentials;
  std::string ca_pem;
  bool insecure_tls = false;
  int max_connections = 8;
};

class StoreMeter;

// The store with its decorators (retry with backoff of what is safe to repeat, metering of requests
// and bytes). kInvalidArgument names the part of the URL that is wrong and the forms that are
// accepted.
Result<std::unique_ptr<ObjectStore>> OpenStore(Runtime& runtime, Random& random,
                                               const Location& location,
                                               std::shared_ptr<StoreMeter> meter = nullptr,
                                               RetryOptions retry = {});

// Whether the URL names a bucket.
bool IsS3(const std::string& url);

// Credentials from the usual places, in their order: AWS_ACCESS_KEY_ID and friends of the given
// environment, then the profile of ~/.aws/credentials and ~/.aws/config. Fills region and endpoint
// too (AWS_REGION, AWS_ENDPOINT_URL). A location that is not of S3 stays as it is.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;
Status FillFromAwsEnvironment(const Environment& environment, Location& location);

}  // namespace thinsnap::store
