// ShortHash: 16 hex digits that stand for a text in a name or a tag. Not for secrets that matter.
#pragma once

#include <string>
#include <string_view>

#include "base/core/bytes.h"

namespace thinsnap::pool {

inline std::string ShortHash(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  Bytes bytes;
  AppendLe(bytes, hash);
  return HexEncode(bytes);
}

}  // namespace thinsnap::pool
