#include "base/core/id.h"

#include <algorithm>
#include <array>

namespace thinsnap {

std::string NewUlid(WallTime now, Random& random) {
  static constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
  auto millis = static_cast<std::uint64_t>(
      std::chrono::floor<std::chrono::milliseconds>(now).time_since_epoch().count());
  std::string text(26, '0');
  for (std::size_t i = 10; i-- > 0;) {
    text[i] = kAlphabet[millis & 31];
    millis >>= 5;
  }
  std::array<std::uint8_t, 10> chance{};
  random.Fill(chance);
  const std::string tail = Base32Encode(chance);  // 80 bits: 16 characters
  std::copy(tail.begin(), tail.end(), text.begin() + 10);
  return text;
}

bool IsUlid(std::string_view text) {
  static constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
  return text.size() == 26 && text[0] <= '7' &&
         text.find_first_not_of(kAlphabet) == std::string_view::npos;
}

}  // namespace thinsnap
