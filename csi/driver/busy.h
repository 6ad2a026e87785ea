// Busy: one call at a time for each name or handle. The second is answered ABORTED, which every
// sidecar takes as "again, later".
#pragma once

#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "base/core/guarded.h"
#include "base/core/result.h"

namespace thinsnap::driver {

class BusyKeys {
 public:
  class Hold {
   public:
    Hold(BusyKeys& keys, std::string key) : keys_(keys), key_(std::move(key)) {
      const std::lock_guard lock(keys_.mutex_);
      taken_ = keys_.keys_.insert(key_).second;
    }
    ~Hold() {
      if (!taken_) return;
      const std::lock_guard lock(keys_.mutex_);
      keys_.keys_.erase(key_);
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    Status Check() const {
      if (taken_) return {};
      return Error(Code::kAborted, "another operation on " + key_ + " is running");
    }

   private:
    BusyKeys& keys_;
    const std::string key_;
    bool taken_ = false;
  };

 private:
  std::mutex mutex_;
  std::set<std::string> keys_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::driver
