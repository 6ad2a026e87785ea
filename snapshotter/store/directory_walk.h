// Walks a folder as an object store lists it: keys in byte order, from a prefix, after a key.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <sys/stat.h>

#include "base/core/result.h"

namespace thinsnap::store {

// The store's private folder, never listed.
inline constexpr const char* kOwnFolder = ".thinsnap-store";

// Visits until it returns false. Files that vanish meanwhile are left out; links and devices are no
// objects.
Status WalkInOrder(
    const std::string& folder, const std::string& prefix, const std::string& after,
    const std::function<bool(const std::string& key, const struct stat& stat)>& visit);

// The same on every machine and in every build, since processes share the locks.
std::size_t KeyStripe(const std::string& key, std::size_t stripes);

}  // namespace thinsnap::store
