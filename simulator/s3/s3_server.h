// S3Server: a strict S3 server for laptops and tests. Signatures, digests and preconditions are
// checked as AWS checks them or stricter; what is acknowledged is on disk; what it does not know is
// NotImplemented, never ignored.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/core/secret.h"

namespace thinsnap::s3 {

// Faults for tests, in thousandths of the requests, chosen by a seeded stream.
struct S3Chaos {
  std::uint64_t seed = 0;
  std::uint64_t fail = 0;         // 503 SlowDown, nothing done
  std::uint64_t drop = 0;         // the connection is cut, nothing done
  std::uint64_t lose_answer = 0;  // done, and the connection is cut
  Duration latency = Duration::zero();
};

struct S3Options {
  std::string data_folder;
  std::string address = "127.0.0.1";
  int port = 0;
  std::string region = "us-east-1";
  std::string access_key_id;  // made up when empty
  Secret secret_access_key;
  std::vector<std::string> buckets;  // made at start where missing
  std::string tls_cert_pem;          // with the key: HTTPS
  Secret tls_key_pem;
  S3Chaos chaos;
};

class S3Server {
 public:
  virtual ~S3Server() = default;  // stops
  virtual int port() const = 0;
  virtual void Stop() = 0;
  virtual std::string access_key_id() const = 0;
  virtual const Secret& secret_access_key() const = 0;
  // From now on other faults; for tests.
  virtual void SetChaos(S3Chaos chaos) = 0;
};

Result<std::unique_ptr<S3Server>> StartS3Server(Runtime& runtime, Random& random,
                                                S3Options options);

}  // namespace thinsnap::s3
