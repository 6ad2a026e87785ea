#include "base/core/text.h"

namespace thinsnap {

std::string_view CutText(std::string_view text, std::size_t most_bytes) {
  if (text.size() <= most_bytes) return text;
  // The cut is before a byte that begins a character; at most three others continue one.
  std::size_t end = most_bytes;
  const auto continues = [&] { return (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80; };
  while (end > 0 && most_bytes - end < 4 && continues()) --end;
  return text.substr(0, continues() ? most_bytes : end);
}

}  // namespace thinsnap
