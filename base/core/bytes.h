// Bytes and their spellings: little-endian integers, hex, base64, base32.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"

namespace thinsnap {

using Bytes = std::vector<std::uint8_t>;
using ByteSpan = std::span<const std::uint8_t>;
using MutableByteSpan = std::span<std::uint8_t>;

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;
inline constexpr std::uint64_t kTiB = 1024 * kGiB;

inline ByteSpan AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view AsText(ByteSpan bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Fixed-width little-endian integers at an unaligned place. The caller has checked that sizeof(T)
// bytes are there.
template <typename T>
T LoadLe(const std::uint8_t* from) {
  static_assert(std::endian::native == std::endian::little);
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <typename T>
void StoreLe(std::uint8_t* to, T value) {
  static_assert(std::endian::native == std::endian::little);
  std::memcpy(to, &value, sizeof value);
}
template <typename T>
void AppendLe(Bytes& to, T value) {
  to.resize(to.size() + sizeof value);
  StoreLe(to.data() + to.size() - sizeof value, value);
}
inline void Append(Bytes& to, ByteSpan from) { to.insert(to.end(), from.begin(), from.end()); }

// True if every byte is zero.
bool IsZero(ByteSpan bytes);

// Lower case.
std::string HexEncode(ByteSpan bytes);
Result<Bytes> HexDecode(std::string_view text);

// RFC 4648 with padding; Url: the URL-safe alphabet without padding. Decoding accepts either
// alphabet, padded or not.
std::string Base64Encode(ByteSpan bytes);
std::string Base64UrlEncode(ByteSpan bytes);
Result<Bytes> Base64Decode(std::string_view text);

// Crockford's alphabet in lower case, five bits a character, the last one filled up with zero bits.
std::string Base32Encode(ByteSpan bytes);

// "1.5 GiB", "312 B": for people.
std::string FormatSize(std::uint64_t bytes);

}  // namespace thinsnap
