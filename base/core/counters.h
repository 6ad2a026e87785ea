// Counters: the figures that a process shows of itself, in Prometheus' text format.
//
// A family has a name, a help text and a kind; a series is a family with the values of its labels.
// What comes from outside (a namespace, a repository) may be a label's value: a family keeps at
// most kMostSeries of them and counts the rest under "other", so that nobody bloats the process.
// Source: Prometheus exposition formats, text format 0.0.4.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/core/clock.h"
#include "base/core/guarded.h"

namespace thinsnap {

// What a series is told apart by, in the order in which it is shown.
using Labels = std::vector<std::pair<std::string, std::string>>;

// Thread-safe. Units are base units, and part of the name: bytes, seconds; what only grows ends in
// _total.
class Counters {
 public:
  static constexpr std::size_t kMostSeries = 1000;
  enum class Kind : std::uint8_t { kCounter, kGauge, kHistogram };

  // Each family once, before its first figure; `name` has letters, digits and '_' only.
  void Describe(const std::string& name, Kind kind, const std::string& help);

  void Add(const std::string& counter, const Labels& labels, double by = 1);
  void Set(const std::string& gauge, const Labels& labels, double value);
  // A series of a gauge that stands for nothing any more.
  void Clear(const std::string& gauge);
  // In buckets from 1 ms to 10 minutes.
  void Observe(const std::string& histogram, const Labels& labels, Duration took);

  // Run before each rendering, one after the other, without the lock: figures that are looked up
  // only when somebody asks. What they use outlives this.
  void BeforeRender(std::function<void(Counters&)> collect);

  // All that was described, by name; a family without a figure shows its help only.
  std::string Render();

 private:
  struct Series {
    double value = 0;                    // of a histogram: the sum
    std::vector<std::uint64_t> buckets;  // of a histogram: not cumulative; the last has no bound
  };
  struct Family {
    Kind kind = Kind::kCounter;
    std::string help;
    std::map<std::string, Series> series;  // by the labels as shown, without braces
  };

  Series& Find(const std::string& name, Kind kind, const Labels& labels) REQUIRES(mutex_);

  std::mutex mutex_;
  std::map<std::string, Family> families_ GUARDED_BY(mutex_);
  std::vector<std::function<void(Counters&)>> collectors_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap
