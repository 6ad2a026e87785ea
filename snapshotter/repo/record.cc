#include "snapshotter/repo/record.h"

#include <cstring>
#include <zstd.h>

#include "snapshotter/repo/format.h"

namespace thinsnap::repo {
namespace {

constexpr std::uint8_t kStored = 0;
constexpr std::uint8_t kZstd = 1;
constexpr int kZstdLevel = 1;

bool ShrinksEnough(std::size_t compressed, std::size_t original) {
  return compressed < original - original / 32;
}

}  // namespace

RecordEncoder::RecordEncoder() : context_(ZSTD_createCCtx()) {
  ASSERT(context_ != nullptr);
  ASSERT(ZSTD_isError(ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, kZstdLevel)) == 0);
  ASSERT(ZSTD_isError(ZSTD_CCtx_setParameter(context_, ZSTD_c_checksumFlag, 0)) == 0);
}

RecordEncoder::~RecordEncoder() { ZSTD_freeCCtx(context_); }

std::size_t RecordEncoder::Compress(ByteSpan bytes) {
  const std::size_t bound = ZSTD_compressBound(bytes.size()) + 1;
  if (scratch_.size() < bound) scratch_.resize(bound);
  const std::size_t size = ZSTD_compress2(context_, scratch_.data() + 1, scratch_.size() - 1,
                                          bytes.data(), bytes.size());
  ASSERT(ZSTD_isError(size) == 0);
  return size;
}

ByteSpan RecordEncoder::Encode(ByteSpan bytes) {
  bool worth = true;
  if (bytes.size() >= 4 * std::size_t{kBlockBytes}) {
    // Two samples of 16 KiB, a quarter and three quarters in.
    const std::size_t sample = kBlockBytes / 4;
    const ByteSpan first = bytes.subspan(bytes.size() / 4, sample);
    const ByteSpan second = bytes.subspan(bytes.size() / 4 * 3, sample);
    worth = ShrinksEnough(Compress(first), sample) || ShrinksEnough(Compress(second), sample);
  }
  if (worth) {
    const std::size_t size = Compress(bytes);
    if (ShrinksEnough(size, bytes.size())) {
      scratch_[0] = kZstd;
      return ByteSpan(scratch_).first(size + 1);
    }
  }
  if (scratch_.size() < bytes.size() + 1) scratch_.resize(bytes.size() + 1);
  scratch_[0] = kStored;
  if (!bytes.empty()) std::memcpy(scratch_.data() + 1, bytes.data(), bytes.size());
  return ByteSpan(scratch_).first(bytes.size() + 1);
}

RecordDecoder::RecordDecoder() : context_(ZSTD_createDCtx()) { ASSERT(context_ != nullptr); }

RecordDecoder::~RecordDecoder() { ZSTD_freeDCtx(context_); }

Status RecordDecoder::Decode(ByteSpan payload, MutableByteSpan into) {
  if (payload.empty()) return Error(Code::kDataLoss, "the record is empty");
  const ByteSpan body = payload.subspan(1);
  if (payload[0] == kStored) {
    if (body.size() != into.size()) {
      return Error(Code::kDataLoss, "the record holds " + std::to_string(body.size()) +
                                        " bytes where " + std::to_string(into.size()) + " belong");
    }
    if (!body.empty()) std::memcpy(into.data(), body.data(), body.size());
    return {};
  }
  if (payload[0] != kZstd) {
    return Error(Code::kDataLoss, "the record's encoding " + std::to_string(payload[0]) +
                                      " is not known; 0 and 1 are");
  }
  const std::size_t size =
      ZSTD_decompressDCtx(context_, into.data(), into.size(), body.data(), body.size());
  if (ZSTD_isError(size) != 0 || size != into.size()) {
    return Error(Code::kDataLoss,
                 "the record does not decompress to " + std::to_string(into.size()) + " bytes");
  }
  return {};
}

Result<Bytes> RecordDecoder::Decode(ByteSpan payload, std::size_t max_bytes) {
  if (payload.empty()) return Error(Code::kDataLoss, "the record is empty");
  unsigned long long size = payload.size() - 1;
  if (payload[0] == kZstd) size = ZSTD_getFrameContentSize(payload.data() + 1, payload.size() - 1);
  if (size >
      max_bytes) {  // also ZSTD_CONTENTSIZE_UNKNOWN and _ERROR, which are the largest numbers
    return Error(Code::kDataLoss, "the record does not say a size of at most " +
                                      std::to_string(max_bytes) + " bytes");
  }
  Bytes bytes(static_cast<std::size_t>(size));
  TRY(Decode(payload, MutableByteSpan(bytes)));
  return bytes;
}

}  // namespace thinsnap::repo
