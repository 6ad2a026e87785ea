// Backoff: when what failed may be tried again. Pauses double up to a limit, and each is drawn from
// the upper half of its length, so that what failed together does not come back together.
#pragma once

#include <algorithm>

#include "base/core/clock.h"
#include "base/core/random.h"

namespace thinsnap::transfer {

class Backoff {
 public:
  bool failing() const { return pause_ != Duration::zero(); }
  MonoTime not_before() const { return not_before_; }

  void Failed(MonoTime now, Duration first, Duration last, Random& random) {
    pause_ = failing() ? std::min(pause_ * 2, last) : first;
    const auto half = static_cast<std::uint64_t>((pause_ / 2).count());
    not_before_ = now + pause_ / 2 + Duration(random.Below(half + 1));
  }
  void Reset() { *this = Backoff(); }

 private:
  Duration pause_ = Duration::zero();
  MonoTime not_before_ = MonoTime::min();
};

}  // namespace thinsnap::transfer
