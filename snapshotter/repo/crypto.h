// The primitives that the format stands on: HKDF, AES-256-GCM, keyed fingerprints, CRC32C. Contexts
// are kept and reused. A failure of the library itself is a broken invariant and aborts; only
// opening can fail.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/core/bytes.h"
#include "base/core/result.h"
#include "snapshotter/repo/format.h"

struct evp_cipher_ctx_st;
struct evp_md_ctx_st;

namespace thinsnap::repo {

// 256 bits that are wiped when they go.
class Key {
 public:
  static constexpr std::size_t kBytes = 32;
  Key() = default;
  explicit Key(ByteSpan bytes);
  ~Key();
  Key(const Key&) = default;
  Key& operator=(const Key&) = default;
  ByteSpan bytes() const { return bytes_; }
  MutableByteSpan mutable_bytes() { return bytes_; }

 private:
  std::array<std::uint8_t, kBytes> bytes_{};
};

// HKDF-SHA-256 (RFC 5869).
Key DeriveKey(ByteSpan secret, ByteSpan salt, std::string_view info);

std::array<std::uint8_t, 32> Sha256(ByteSpan bytes);
std::array<std::uint8_t, 32> HmacSha256(ByteSpan key, ByteSpan bytes);
bool EqualInConstantTime(ByteSpan a, ByteSpan b);

// CRC-32C (Castagnoli), continued from `crc`.
std::uint32_t Crc32c(ByteSpan bytes, std::uint32_t crc = 0);

// Seals and opens under one key. Sealed: AES-256-GCM, nonce = `nonce` as 64 bits little-endian and
// four zero bytes. Plain: the bytes as they are, and as tag the first 16 bytes of SHA-256(key,
// nonce, length of aad, aad, bytes). Not thread-safe.
class RecordCipher {
 public:
  RecordCipher(Suite suite, const Key& key);
  ~RecordCipher();
  RecordCipher(RecordCipher&& other) noexcept;
  RecordCipher& operator=(RecordCipher&& other) noexcept;

  // `out` holds bytes.size() + kTagBytes and does not overlap.
  void Seal(std::uint64_t nonce, ByteSpan aad, ByteSpan bytes, MutableByteSpan out);
  // `out` holds sealed.size() - kTagBytes. False if anything differs from what was sealed.
  [[nodiscard]] bool Open(std::uint64_t nonce, ByteSpan aad, ByteSpan sealed, MutableByteSpan out);

 private:
  void Checksum(std::uint64_t nonce, ByteSpan aad, ByteSpan bytes, std::uint8_t* tag);

  Suite suite_;
  Key key_;
  evp_cipher_ctx_st* seal_ = nullptr;
  evp_cipher_ctx_st* open_ = nullptr;
  evp_md_ctx_st* digest_ = nullptr;
};

// HMAC-SHA-256 cut to 128 bits, with the keyed state prepared once. Not thread-safe; one for each
// worker.
class Fingerprinter {
 public:
  explicit Fingerprinter(const Key& key);
  ~Fingerprinter();
  Fingerprinter(const Fingerprinter&) = delete;
  Fingerprinter& operator=(const Fingerprinter&) = delete;

  Fingerprint Of(ByteSpan block);

 private:
  evp_md_ctx_st* inner_;
  evp_md_ctx_st* outer_;
  evp_md_ctx_st* work_;
};

}  // namespace thinsnap::repo
