#include "simulator/schema/quantity.h"

#include <algorithm>
#include <array>
#include <limits>

namespace thinsnap::schema {
namespace {

__extension__ typedef __int128 Wide;  // NOLINT(modernize-use-using): what -Wpedantic lets pass
constexpr Wide kNano = 1'000'000'000;
// What a quantity saturates at, as in the real server: the largest int64, in billionths.
constexpr Wide kLimit = Wide{std::numeric_limits<std::int64_t>::max()} * kNano;

constexpr std::array<std::string_view, 7> kBinarySuffixes = {"",   "Ki", "Mi", "Gi",
                                                             "Ti", "Pi", "Ei"};
constexpr std::array<std::string_view, 10> kDecimalSuffixes = {"n", "u", "m", "",  "k",
                                                               "M", "G", "T", "P", "E"};

Error Malformed() {
  return Error(Code::kInvalidArgument,
               "quantities must match the regular expression "
               "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}

std::string WideToString(Wide value) {
  if (value == 0) return "0";
  const bool negative = value < 0;
  if (negative) value = -value;
  std::string digits;
  for (; value > 0; value /= 10)
    digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(value % 10)));
  return negative ? "-" + digits : digits;
}

// nano * 10^power or 2^(10*power), rounded away from zero, saturated.
Wide Scale(Wide value, int times, Wide by) {
  for (; times > 0; --times) {
    value *= by;
    if (value > kLimit || value < -kLimit) return value > 0 ? kLimit : -kLimit;
  }
  for (; times < 0; ++times) {
    const Wide rest = value % by;
    value /= by;
    if (rest != 0) value += rest > 0 ? 1 : -1;
  }
  return value;
}

}  // namespace

Quantity Quantity::FromInteger(std::int64_t value) {
  Quantity quantity;
  quantity.nano_ = Wide{value} * kNano;
  return quantity;
}

Result<Quantity> Quantity::Parse(std::string_view text) {
  std::size_t at = 0;
  bool negative = false;
  if (at < text.size() && (text[at] == '+' || text[at] == '-')) negative = text[at++] == '-';
  Wide value = 0;
  int digits = 0, fraction = -1;
  bool inexact = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '.') {
      if (fraction >= 0) return Malformed();
      fraction = 0;
      continue;
    }
    if (c < '0' || c > '9') break;
    ++digits;
    if (fraction >= 9) {
      inexact = inexact || c != '0';
      continue;
    }
    value = value * 10 + (c - '0');
    if (value > kLimit) value = kLimit;
    if (fraction >= 0) ++fraction;
  }
  if (digits == 0) return Malformed();
  value = Scale(value, 9 - std::max(fraction, 0), 10);
  if (inexact) ++value;
  if (negative) value = -value;
  const auto suffix = text.substr(at);
  Quantity quantity;
  for (std::size_t i = 1; i < kBinarySuffixes.size(); ++i) {
    if (suffix != kBinarySuffixes[i]) continue;
    quantity.family_ = Family::kBinary;
    quantity.nano_ = Scale(value, static_cast<int>(i), 1024);
    return quantity;
  }
  for (std::size_t i = 0; i < kDecimalSuffixes.size(); ++i) {
    if (suffix != kDecimalSuffixes[i]) continue;
    quantity.nano_ = Scale(value, (static_cast<int>(i) - 3) * 3, 10);
    return quantity;
  }
  if (suffix.size() < 2 || (suffix[0] != 'e' && suffix[0] != 'E')) return Malformed();
  std::size_t digit = 1;
  const bool down = suffix[1] == '-';
  if (suffix[1] == '-' || suffix[1] == '+') ++digit;
  if (digit == suffix.size() || suffix.size() - digit > 3) return Malformed();
  int exponent = 0;
  for (; digit < suffix.size(); ++digit) {
    if (suffix[digit] < '0' || suffix[digit] > '9') return Malformed();
    exponent = exponent * 10 + (suffix[digit] - '0');
  }
  quantity.family_ = Family::kExponent;
  quantity.nano_ = Scale(value, down ? -exponent : exponent, 10);
  return quantity;
}

std::int64_t Quantity::Value() const { return static_cast<std::int64_t>(Scale(nano_, -9, 10)); }

std::string Quantity::ToString() const {
  if (nano_ == 0) return "0";
  if (family_ == Family::kBinary && nano_ % kNano == 0) {
    Wide value = nano_ / kNano;
    std::size_t suffix = 0;
    while (suffix + 1 < kBinarySuffixes.size() && value % 1024 == 0) {
      value /= 1024;
      ++suffix;
    }
    return WideToString(value) + std::string(kBinarySuffixes[suffix]);
  }
  Wide value = nano_;
  std::size_t suffix = 0;
  while (suffix + 1 < kDecimalSuffixes.size() && value % 1000 == 0) {
    value /= 1000;
    ++suffix;
  }
  if (family_ != Family::kExponent || suffix == 3)
    return WideToString(value) + std::string(kDecimalSuffixes[suffix]);
  return WideToString(value) + "e" + std::to_string((static_cast<int>(suffix) - 3) * 3);
}

Quantity Quantity::operator+(const Quantity& other) const {
  Quantity sum = *this;
  sum.nano_ += other.nano_;
  if (nano_ == 0) sum.family_ = other.family_;
  return sum;
}

Quantity Quantity::operator-(const Quantity& other) const {
  Quantity difference = *this;
  difference.nano_ -= other.nano_;
  return difference;
}

}  // namespace thinsnap::schema
