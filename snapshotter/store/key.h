// Keys of objects: what every store accepts, whatever holds the bytes.
#pragma once

#include <string_view>

#include "base/core/result.h"

namespace thinsnap::store {

inline constexpr std::size_t kMaxKeyBytes = 1000;

// kInvalidArgument with the key and the rule it breaks.
Status CheckKey(std::string_view key);

}  // namespace thinsnap::store
