// MemoryBudget: how many transfers fit into the memory that the driver was given. Exports and
// imports take their shares from the same one, first come, first served.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>

#include "base/core/bytes.h"
#include "base/core/guarded.h"
#include "base/core/runtime.h"

namespace thinsnap::transfer {

// Thread-safe.
class MemoryBudget {
 public:
  // What a verb of the mover takes at most, the derivation of a key before it included.
  static constexpr std::uint64_t kShareBytes = 128 * kMiB;
  static constexpr std::uint64_t kDefaultBytes = 512 * kMiB;

  // At least one share there is, however little was given.
  explicit MemoryBudget(Runtime& runtime, std::uint64_t bytes = kDefaultBytes)
      : changed_(runtime.NewEventCount()),
        shares_(static_cast<int>(std::max<std::uint64_t>(1, bytes / kShareBytes))) {}

  class Share {
   public:
    ~Share();
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;

   private:
    friend class MemoryBudget;
    explicit Share(MemoryBudget& budget) : budget_(budget) {}
    MemoryBudget& budget_;
  };
  // Waits for its turn. kCancelled.
  Result<std::unique_ptr<Share>> Take();

  int shares() const { return shares_; }
  // At most so many exports, and so many imports, run at once: each leaves the other one share.
  int most_of_a_kind() const { return std::max(1, shares_ - 1); }

 private:
  const std::unique_ptr<EventCount> changed_;
  const int shares_;
  std::mutex mutex_;
  int taken_ GUARDED_BY(mutex_) = 0;
  std::uint64_t tickets_ GUARDED_BY(mutex_) = 0;
  std::set<std::uint64_t> waiting_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::transfer
