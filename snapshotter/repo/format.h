// The figures and small types of the repository format, version 1; docs/format.md says what they
// mean.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

#include "base/core/bytes.h"
#include "base/core/random.h"

namespace thinsnap::repo {

inline constexpr int kFormatVersion = 1;

inline constexpr std::uint32_t kBlockBytes = 64 * kKiB;
inline constexpr std::uint32_t kRecordBlocks = 16;
inline constexpr std::uint32_t kRecordMaxBytes = kBlockBytes * kRecordBlocks;
inline constexpr std::uint32_t kFanOut = 64;  // blocks of a leaf, children of a node
inline constexpr std::uint32_t kMapRecordNodes = 16;
inline constexpr int kMaxLevel = 6;  // 64^7 blocks are more than 2^57 bytes
inline constexpr std::uint64_t kMaxVolumeBytes = std::uint64_t{1} << 57;

inline constexpr std::uint32_t kPackTargetBytes = 16 * kMiB;  // of records
inline constexpr std::uint32_t kPackMaxBytes = 24 * kMiB;     // more is refused when reading
inline constexpr std::uint32_t kPackMaxUnits = 16384;         // blocks or nodes: bounds the trailer
inline constexpr std::uint32_t kStripeBytes = 1 * kMiB;
inline constexpr std::uint32_t kInlineTableBytes = 64 * kKiB;

// Manifests are filled up to this size and voids stay below it, so that a listing tells them apart.
// Only a hint: what counts is inside.
inline constexpr std::uint32_t kManifestMinBytes = 512;
inline constexpr std::uint32_t kPointMaxBytes = 16 * kMiB;

inline constexpr std::size_t kTagBytes = 16;
inline constexpr std::size_t kFingerprintBytes = 16;
using Fingerprint = std::array<std::uint8_t, kFingerprintBytes>;

enum class Suite { kPlain, kSealed };

enum class PackKind : std::uint8_t { kData = 1, kMap = 2 };

// 128 random bits, drawn when the pack's first record is sealed; never stands for other bytes.
struct PackId {
  std::array<std::uint8_t, 16> bytes{};
  auto operator<=>(const PackId&) const = default;
  std::string Hex() const { return HexEncode(bytes); }
  static PackId Draw(Random& random) {
    PackId id;
    random.Fill(id.bytes);
    return id;
  }
};

// Where a record is: everything that is needed to fetch and open it.
struct RecordPlace {
  PackId pack;
  std::uint32_t epoch = 0;
  std::uint32_t offset = 0;
  std::uint32_t length = 0;  // with its tag
  auto operator<=>(const RecordPlace&) const = default;
};

// Blocks below a node of the level: 64, 4096, ...
inline std::uint64_t BlocksOfLevel(int level) { return std::uint64_t{1} << (6 * (level + 1)); }
inline std::uint64_t BlocksOf(std::uint64_t size_bytes) {
  return size_bytes / kBlockBytes + (size_bytes % kBlockBytes != 0 ? 1 : 0);
}
// The lowest level whose one node covers the volume.
inline int RootLevel(std::uint64_t size_bytes) {
  int level = 0;
  while (level < kMaxLevel && BlocksOfLevel(level) < BlocksOf(size_bytes)) ++level;
  return level;
}

std::string PackKey(PackKind kind, const PackId& id);
// "packs/data/" or "packs/map/".
std::string PackPrefix(PackKind kind);
// False if the key is no pack's.
bool ParsePackKey(const std::string& key, PackKind& kind, PackId& id);

}  // namespace thinsnap::repo

template <>
struct std::hash<thinsnap::repo::PackId> {
  std::size_t operator()(const thinsnap::repo::PackId& id) const {
    return thinsnap::LoadLe<std::size_t>(id.bytes.data());  // random already
  }
};
