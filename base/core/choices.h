// Choices: who runs next, where more than one task could. All that is left to chance in a run on
// virtual time is asked here, so that the same answers give the same run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "base/core/random.h"

namespace thinsnap {

// Tasks are numbered from 1 in the order in which they were started.
using TaskNumber = std::uint64_t;

class Choices {
 public:
  virtual ~Choices() = default;
  // A place in `ready`, which has two tasks at least, those that wait longest first.
  virtual std::size_t Pick(std::span<const TaskNumber> ready) = 0;
};

// Any of them, all equally likely.
class SeededChoices final : public Choices {
 public:
  explicit SeededChoices(std::uint64_t seed) : random_(seed) {}
  std::size_t Pick(std::span<const TaskNumber> ready) override;

 private:
  SeededRandom random_;
};

// Probabilistic concurrency testing (Burckhardt et al., ASPLOS 2010): tasks have priorities drawn
// at random, the highest runs; at depth - 1 of the first `steps` choices, drawn at random, the one
// that would run falls below all others. Finds each bug that needs `depth` ordered events with
// probability 1 / (tasks * steps^(depth - 1)) at least, far more often than any choice does.
class PctChoices final : public Choices {
 public:
  PctChoices(std::uint64_t seed, int depth, std::uint64_t steps);
  std::size_t Pick(std::span<const TaskNumber> ready) override;

 private:
  // Of those that fell, the later ones are lower.
  bool IsAbove(TaskNumber a, TaskNumber b) const;

  const std::uint64_t seed_;
  std::uint64_t step_ = 0;
  std::set<std::uint64_t> falls_at_;
  std::map<TaskNumber, std::uint64_t> fallen_;  // at which choice
};

// Writes down what another one answers.
class RecordedChoices final : public Choices {
 public:
  explicit RecordedChoices(Choices& inner) : inner_(inner) {}
  std::size_t Pick(std::span<const TaskNumber> ready) override;
  const std::vector<std::uint32_t>& list() const { return list_; }

 private:
  Choices& inner_;
  std::vector<std::uint32_t> list_;
};

// Answers what was written down, and after its end always the first. A place that is not there any
// more, since the program changed, is the last one that is.
class ReplayedChoices final : public Choices {
 public:
  explicit ReplayedChoices(std::vector<std::uint32_t> list) : list_(std::move(list)) {}
  std::size_t Pick(std::span<const TaskNumber> ready) override;

 private:
  const std::vector<std::uint32_t> list_;
  std::size_t next_ = 0;
};

}  // namespace thinsnap
