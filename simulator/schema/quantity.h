// Quantities ("1.5Gi", "100m", "2e3"): exact decimals with a suffix family, as resource amounts are
// written.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/core/result.h"

namespace thinsnap::schema {

class Quantity {
 public:
  Quantity() = default;
  static Quantity FromInteger(std::int64_t value);
  // kInvalidArgument with the server's wording.
  static Result<Quantity> Parse(std::string_view text);

  // Rounded up to a whole number, as Go's Value().
  std::int64_t Value() const;
  bool IsZero() const { return nano_ == 0; }
  int Sign() const { return nano_ < 0 ? -1 : nano_ > 0 ? 1 : 0; }
  // Canonical: the largest suffix of the family without a fraction.
  std::string ToString() const;

  Quantity operator+(const Quantity& other) const;  // in this one's family
  Quantity operator-(const Quantity& other) const;
  bool operator==(const Quantity& other) const { return nano_ == other.nano_; }
  std::strong_ordering operator<=>(const Quantity& other) const { return nano_ <=> other.nano_; }

 private:
  enum class Family : std::uint8_t { kDecimal, kBinary, kExponent };
  __extension__ typedef __int128 Wide;  // NOLINT(modernize-use-using): what -Wpedantic lets pass

  Wide nano_ = 0;  // in billionths
  Family family_ = Family::kDecimal;
};

}  // namespace thinsnap::schema
