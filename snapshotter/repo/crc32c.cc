// CRC-32C by the processor's instruction where it has one, else by table.
#include <array>

#include "snapshotter/repo/crypto.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace thinsnap::repo {
namespace {

constexpr std::array<std::uint32_t, 256> MakeTable() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0x82f63b78U : 0U);
    table[i] = value;
  }
  return table;
}
constexpr auto kTable = MakeTable();

std::uint32_t ByTable(ByteSpan bytes, std::uint32_t crc) {
  for (const std::uint8_t byte : bytes) crc = (crc >> 8) ^ kTable[(crc ^ byte) & 0xff];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t ByInstruction(ByteSpan bytes, std::uint32_t crc) {
  std::uint64_t wide = crc;
  while (bytes.size() >= 8) {
    wide = _mm_crc32_u64(wide, LoadLe<std::uint64_t>(bytes.data()));
    bytes = bytes.subspan(8);
  }
  return ByTable(bytes, static_cast<std::uint32_t>(wide));
}
#endif

}  // namespace

std::uint32_t Crc32c(ByteSpan bytes, std::uint32_t crc) {
#if defined(__x86_64__)
  static const bool kHasInstruction = __builtin_cpu_supports("sse4.2") != 0;
  if (kHasInstruction) return ~ByInstruction(bytes, ~crc);
#endif
  return ~ByTable(bytes, ~crc);
}

}  // namespace thinsnap::repo
