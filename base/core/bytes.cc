#include "base/core/bytes.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace thinsnap {
namespace {

constexpr std::string_view kHex = "0123456789abcdef";
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kBase32 = "0123456789abcdefghjkmnpqrstvwxyz";

// Spells groups of `bits` bits, most significant first; the last group is filled up with zeros.
std::string EncodeBits(ByteSpan bytes, int bits, std::string_view alphabet) {
  std::string text;
  text.reserve((bytes.size() * 8 + static_cast<std::size_t>(bits) - 1) /
               static_cast<std::size_t>(bits));
  std::uint32_t pending = 0;
  int count = 0;
  for (const std::uint8_t byte : bytes) {
    pending = (pending << 8) | byte;
    count += 8;
    while (count >= bits) {
      count -= bits;
      text += alphabet[(pending >> count) & ((1U << bits) - 1)];
    }
  }
  if (count > 0) text += alphabet[(pending << (bits - count)) & ((1U << bits) - 1)];
  return text;
}

int Base64Digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool IsZero(ByteSpan bytes) {
  // The first byte is zero and every byte equals its successor: one memcmp at the speed of memory.
  return bytes.empty() ||
         (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

std::string HexEncode(ByteSpan bytes) { return EncodeBits(bytes, 4, kHex); }

Result<Bytes> HexDecode(std::string_view text) {
  if (text.size() % 2 != 0) return Error(Code::kInvalidArgument, "hex text has an odd length");
  Bytes bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const int high = HexDigit(text[2 * i]);
    const int low = HexDigit(text[2 * i + 1]);
    if (high < 0 || low < 0) return Error(Code::kInvalidArgument, "not a hexadecimal digit");
    bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return bytes;
}

std::string Base64Encode(ByteSpan bytes) {
  std::string text = EncodeBits(bytes, 6, kBase64);
  while (text.size() % 4 != 0) text += '=';
  return text;
}

std::string Base64UrlEncode(ByteSpan bytes) { return EncodeBits(bytes, 6, kBase64Url); }

Result<Bytes> Base64Decode(std::string_view text) {
  for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  if (text.size() % 4 == 1)
    return Error(Code::kInvalidArgument, "base64 text has an impossible length");
  Bytes bytes;
  bytes.reserve(text.size() * 3 / 4);
  std::uint32_t pending = 0;
  int count = 0;
  for (const char c : text) {
    const int digit = Base64Digit(c);
    if (digit < 0) return Error(Code::kInvalidArgument, "not a base64 character");
    pending = (pending << 6) | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes.push_back(static_cast<std::uint8_t>(pending >> count));
    }
  }
  // One spelling for one value: what is signed must not have a second one.
  if ((pending & ((1U << count) - 1)) != 0) {
    return Error(Code::kInvalidArgument, "base64 text has bits beyond its last byte");
  }
  return bytes;
}

std::string Base32Encode(ByteSpan bytes) { return EncodeBits(bytes, 5, kBase32); }

std::string FormatSize(std::uint64_t bytes) {
  static constexpr std::array<const char*, 5> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < kKiB) return std::to_string(bytes) + " B";
  double amount = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  while (amount >= 1024 && unit + 1 < kUnits.size()) {
    amount /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", amount, kUnits[unit]);
  return text.data();
}

}  // namespace thinsnap
