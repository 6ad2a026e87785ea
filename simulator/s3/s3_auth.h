// Checks SigV4 as strictly as AWS: headers or a presigned URL, the scope, the clock, every x-amz
// header signed.
#pragma once

#include <string>

#include "base/core/clock.h"
#include "base/net/http_server.h"
#include "simulator/s3/s3_fault.h"
#include "snapshotter/store/location.h"
#include "snapshotter/store/sigv4.h"

namespace thinsnap::s3 {

// How the body proves itself.
enum class PayloadKind {
  kHash,
  kUnsigned,
  kSignedChunks,
  kSignedChunksWithTrailer,
  kUnsignedChunksWithTrailer
};

struct Authenticated {
  PayloadKind payload = PayloadKind::kUnsigned;
  std::string payload_hash;  // kHash
  // For signed chunks: each signature goes on from the one before.
  Bytes signing_key;
  std::string amz_date;
  std::string scope;
  std::string signature;
};

S3Result<Authenticated> Authenticate(const net::ServerRequest& request,
                                     const store::Credentials& credentials,
                                     const std::string& region, WallTime now);

}  // namespace thinsnap::s3
