// Record: 1 to 16 blocks (or some map nodes) as one compressed payload, before it is sealed into a
// pack. The first byte says how the rest is to be read: 0 as it is, 1 one zstd frame.
#pragma once

#include <cstdint>
#include <memory>

#include "base/core/bytes.h"
#include "base/core/result.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace thinsnap::repo {

// Not thread-safe; the context is reused.
class RecordEncoder {
 public:
  RecordEncoder();
  ~RecordEncoder();
  RecordEncoder(const RecordEncoder&) = delete;
  RecordEncoder& operator=(const RecordEncoder&) = delete;

  // The payload; valid until the next call. Bytes that do not shrink by 3 % are stored as they are,
  // and long ones are sampled first, so that compressed or encrypted data costs next to nothing.
  ByteSpan Encode(ByteSpan bytes);

 private:
  std::size_t Compress(ByteSpan bytes);

  ZSTD_CCtx_s* context_;
  Bytes scratch_;
};

// Not thread-safe.
class RecordDecoder {
 public:
  RecordDecoder();
  ~RecordDecoder();
  RecordDecoder(const RecordDecoder&) = delete;
  RecordDecoder& operator=(const RecordDecoder&) = delete;

  // kDataLoss unless the payload holds exactly into.size() bytes.
  Status Decode(ByteSpan payload, MutableByteSpan into);
  // For payloads that do not say their size elsewhere: at most max_bytes.
  Result<Bytes> Decode(ByteSpan payload, std::size_t max_bytes);

 private:
  ZSTD_DCtx_s* context_;
};

}  // namespace thinsnap::repo
