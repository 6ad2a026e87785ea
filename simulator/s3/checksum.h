// The checksums that S3 clients may send, computed as bytes pass by.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/bytes.h"

namespace thinsnap::s3 {

class Checksum {
 public:
  virtual ~Checksum() = default;
  virtual void Add(ByteSpan bytes) = 0;
  virtual Bytes Finish() = 0;
};

// Headers of this prefix and one of the names below carry a checksum in base64.
inline constexpr const char* kChecksumHeader = "x-amz-checksum-";

// "md5", "sha1", "sha256", "crc32", "crc32c", "crc64nvme"; null for any other name.
std::unique_ptr<Checksum> MakeChecksum(std::string_view name);

}  // namespace thinsnap::s3
