#include "snapshotter/repo/wire.h"

namespace thinsnap::repo {

void AppendVarint(Bytes& to, std::uint64_t value) {
  while (value >= 0x80) {
    to.push_back(static_cast<std::uint8_t>(value | 0x80));
    value >>= 7;
  }
  to.push_back(static_cast<std::uint8_t>(value));
}

void AppendSized(Bytes& to, ByteSpan bytes) {
  AppendVarint(to, bytes.size());
  Append(to, bytes);
}

std::uint64_t WireReader::Varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    const std::uint8_t byte = U8();
    if (!ok_) return 0;
    if (shift == 63 && byte > 1) break;
    value |= std::uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80) {
      if (byte == 0 && shift > 0) break;  // one spelling for each number
      return value;
    }
  }
  Fail();
  return 0;
}

std::uint64_t WireReader::Varint(std::uint64_t max) {
  const std::uint64_t value = Varint();
  if (value > max) {
    Fail();
    return 0;
  }
  return value;
}

std::uint64_t WireReader::Count(std::size_t item_bytes, std::uint64_t max) {
  const std::uint64_t count = Varint(max);
  if (count > rest_.size() / item_bytes) {
    Fail();
    return 0;
  }
  return count;
}

ByteSpan WireReader::Take(std::size_t size) {
  if (size > rest_.size()) {
    Fail();
    return {};
  }
  const ByteSpan taken = rest_.first(size);
  rest_ = rest_.subspan(size);
  return taken;
}

}  // namespace thinsnap::repo
