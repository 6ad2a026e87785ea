#include "base/core/choices.h"

#include <algorithm>
#include <utility>

namespace thinsnap {

std::size_t SeededChoices::Pick(std::span<const TaskNumber> ready) {
  return static_cast<std::size_t>(random_.Below(ready.size()));
}

PctChoices::PctChoices(std::uint64_t seed, int depth, std::uint64_t steps) : seed_(seed) {
  ASSERT(depth >= 1 && steps >= static_cast<std::uint64_t>(depth));
  SeededRandom random(seed);
  while (falls_at_.size() + 1 < static_cast<std::size_t>(depth)) {
    falls_at_.insert(random.Below(steps));
  }
}

bool PctChoices::IsAbove(TaskNumber a, TaskNumber b) const {
  const auto fallen_a = fallen_.find(a), fallen_b = fallen_.find(b);
  if (fallen_a != fallen_.end() && fallen_b != fallen_.end()) {
    return fallen_a->second < fallen_b->second;
  }
  if (fallen_a != fallen_.end() || fallen_b != fallen_.end()) return fallen_b != fallen_.end();
  // Drawn from seed and number, so that nothing is kept for each of millions of tasks.
  return std::pair(MixedSeed(seed_, a), a) > std::pair(MixedSeed(seed_, b), b);
}

std::size_t PctChoices::Pick(std::span<const TaskNumber> ready) {
  const auto highest = [&] {
    return std::min_element(ready.begin(), ready.end(),
                            [this](TaskNumber a, TaskNumber b) { return IsAbove(a, b); });
  };
  if (falls_at_.contains(step_)) fallen_[*highest()] = step_;
  ++step_;
  return static_cast<std::size_t>(highest() - ready.begin());
}

std::size_t RecordedChoices::Pick(std::span<const TaskNumber> ready) {
  const std::size_t place = inner_.Pick(ready);
  list_.push_back(static_cast<std::uint32_t>(place));
  return place;
}

std::size_t ReplayedChoices::Pick(std::span<const TaskNumber> ready) {
  if (next_ == list_.size()) return 0;
  return std::min<std::size_t>(list_[next_++], ready.size() - 1);
}

}  // namespace thinsnap
