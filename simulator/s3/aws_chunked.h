// The aws-chunked body encoding: chunks inside of the body, each perhaps signed, perhaps with a
// trailer of checksums. Pure: bytes in, decoded bytes out.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "simulator/s3/checksum.h"
#include "simulator/s3/s3_auth.h"

namespace thinsnap::s3 {

class AwsChunkedDecoder {
 public:
  explicit AwsChunkedDecoder(const Authenticated& auth);

  // Hands decoded pieces over as they come; a chunk's signature is checked at its end.
  S3Status Feed(std::string_view bytes, const std::function<S3Status(ByteSpan)>& sink);
  // The body has ended: everything must have been there.
  S3Status End() const;
  // Lower-case names, once the end came.
  const std::vector<std::pair<std::string, std::string>>& trailers() const { return trailers_; }

 private:
  enum class State { kSize, kData, kDataEnd, kTrailer, kDone };

  S3Status TakeLine(std::string_view line);
  S3Status CheckChunk();
  S3Status TakeTrailer(std::string_view line);

  const Authenticated auth_;
  const bool signed_;
  State state_ = State::kSize;
  std::string line_;
  std::uint64_t left_ = 0;
  bool last_ = false;
  std::string claimed_;  // the signature of this chunk
  std::string previous_;
  std::unique_ptr<Checksum> hash_;
  std::string signed_trailers_;
  std::vector<std::pair<std::string, std::string>> trailers_;
};

}  // namespace thinsnap::s3
