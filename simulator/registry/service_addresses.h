// ServiceAddresses: each Service gets an address of the cluster's range, and a port of the nodes'
// for each of its own where its type asks for it. What is taken is what the stored Services say;
// nobody forwards what is sent there.
#pragma once

#include <mutex>

#include "base/core/random.h"
#include "base/data/json_fwd.h"
#include "simulator/objects/store.h"
#include "simulator/schema/api_error.h"

namespace thinsnap::registry {

class ServiceAddresses {
 public:
  // Held until the object is stored, so that nobody else is given the same.
  struct Held {
    std::unique_lock<std::mutex> lock;
    schema::FieldErrors errors;
  };
  // Fills in what the valid object lacks. `old` is null for a new one.
  Held Allocate(const objects::VersionedStore& store, Random& random, const Json* old,
                Json& service);

 private:
  std::mutex mutex_;
};

}  // namespace thinsnap::registry
