#include "base/core/id.h"

#include <algorithm>
#include <array>

#include "base/core/result.h"

namespace thinsnap {
namespace {

constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";

}  // namespace

std::string NewUlid(WallTime now, Random& random) {
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

std::string NewUlid(WallTime now, Random& random, const std::string& previous) {
  std::string id = NewUlid(now, random);
  if (id > previous) return id;
  id = previous;
  for (std::size_t i = id.size(); i-- > 0;) {
    const std::size_t digit = kAlphabet.find(id[i]);
    ASSERT(digit != std::string_view::npos);
    id[i] = kAlphabet[(digit + 1) % kAlphabet.size()];
    if (digit + 1 < kAlphabet.size()) break;
  }
  return id;
}

bool IsUlid(std::string_view text) {
  return text.size() == 26 && text[0] <= '7' &&
         text.find_first_not_of(kAlphabet) == std::string_view::npos;
}

}  // namespace thinsnap
