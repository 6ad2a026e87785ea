// Reading an object whole whose size is bounded: everything outside packs.
#pragma once

#include <cstdint>
#include <string>

#include "base/core/result.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::repo {

// kNotFound; kDataLoss if it is larger than max_bytes or empty.
Result<store::Object> GetSmallObject(store::ObjectStore& store, const std::string& key,
                                     std::uint64_t max_bytes);

}  // namespace thinsnap::repo
