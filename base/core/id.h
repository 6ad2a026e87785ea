// Id: a string that cannot be mistaken for another kind of id. ULIDs are made here too.
#pragma once

#include <compare>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "base/core/clock.h"
#include "base/core/random.h"

namespace thinsnap {

// using VolumeId = Id<struct VolumeIdTag>;
template <typename Tag>
class Id {
 public:
  Id() = default;
  explicit Id(std::string text) : text_(std::move(text)) {}
  const std::string& str() const { return text_; }
  bool empty() const { return text_.empty(); }
  auto operator<=>(const Id&) const = default;

 private:
  std::string text_;
};

// A ULID (github.com/ulid/spec) in lower case, 26 characters: 48 bits of milliseconds, 80 bits of
// chance.
std::string NewUlid(WallTime now, Random& random);
// One that is greater than `previous` (a ULID, or empty), whatever the clock says: the number that
// `previous` spells plus one, where the clock stands still or went back.
std::string NewUlid(WallTime now, Random& random, const std::string& previous);
bool IsUlid(std::string_view text);

}  // namespace thinsnap

template <typename Tag>
struct std::hash<thinsnap::Id<Tag>> {
  std::size_t operator()(const thinsnap::Id<Tag>& id) const {
    return std::hash<std::string>()(id.str());
  }
};
