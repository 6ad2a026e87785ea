// Writing and reading the binary parts of the format: little-endian integers, LEB128 varints,
// length-prefixed bytes. A reader never goes past its end: after the first failure it answers zeros
// and ok() stays false, so that a parser checks once at the end and before it takes memory for a
// count.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/core/bytes.h"

namespace thinsnap::repo {

void AppendVarint(Bytes& to, std::uint64_t value);
void AppendSized(Bytes& to, ByteSpan bytes);

class WireReader {
 public:
  explicit WireReader(ByteSpan bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  // Everything was read and nothing failed.
  bool done() const { return ok_ && rest_.empty(); }
  std::size_t left() const { return rest_.size(); }
  void Fail() {
    ok_ = false;
    rest_ = {};
  }

  std::uint8_t U8() { return Integer<std::uint8_t>(); }
  std::uint32_t U32() { return Integer<std::uint32_t>(); }
  std::uint64_t U64() { return Integer<std::uint64_t>(); }
  std::uint64_t Varint();
  // A varint that must not exceed `max`.
  std::uint64_t Varint(std::uint64_t max);
  // A count of things of which each takes at least `item_bytes` more: never more than can follow.
  std::uint64_t Count(std::size_t item_bytes, std::uint64_t max);
  ByteSpan Take(std::size_t size);
  ByteSpan Sized() { return Take(static_cast<std::size_t>(Varint(rest_.size()))); }

  template <std::size_t N>
  void Fill(std::array<std::uint8_t, N>& into) {
    const ByteSpan from = Take(N);
    if (ok_) std::memcpy(into.data(), from.data(), N);
  }

 private:
  template <typename T>
  T Integer() {
    const ByteSpan from = Take(sizeof(T));
    return ok_ ? LoadLe<T>(from.data()) : T{0};
  }

  ByteSpan rest_;
  bool ok_ = true;
};

}  // namespace thinsnap::repo
