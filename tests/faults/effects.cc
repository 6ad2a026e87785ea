#include "tests/faults/effects.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <sstream>

namespace thinsnap::faults {
namespace {

// Longer than what is polled for, shorter than any patience.
constexpr Duration kStaleFor = std::chrono::seconds(3);

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  std::sort(lines.begin(), lines.end());
  return lines;
}

// "- line" for what is missing, "+ line" for what is too much.
std::string Difference(const std::string& expected, const std::string& found) {
  const auto before = Lines(expected), after = Lines(found);
  std::vector<std::string> missing, extra;
  std::set_difference(before.begin(), before.end(), after.begin(), after.end(),
                      std::back_inserter(missing));
  std::set_difference(after.begin(), after.end(), before.begin(), before.end(),
                      std::back_inserter(extra));
  std::string text;
  constexpr std::size_t kShown = 12;
  for (std::size_t i = 0; i < missing.size() && i < kShown; ++i) text += "- " + missing[i] + "\n";
  for (std::size_t i = 0; i < extra.size() && i < kShown; ++i) text += "+ " + extra[i] + "\n";
  return text;
}

void Compare(const std::string& expected, const std::string& found, const std::string& name) {
  if (found.empty()) {
    ADD_FAILURE() << "after " << name;
  } else if (const auto difference = Difference(expected, found); !difference.empty()) {
    ADD_FAILURE() << "after " << name << " it ended differently:\n" << difference;
  }
}

std::string RunJourney(std::uint64_t seed, const Journey& journey, Effects& effects) {
  FiberRuntime runtime(seed);
  std::string state;
  const Status ran = runtime.Run([&] { state = journey(runtime, effects); });
  EXPECT_TRUE(ran.ok()) << ran.error().ToString();
  return state;
}

}  // namespace

const char* FaultName(Fault fault) {
  switch (fault) {
    case Fault::kCrash:
      return "a crash after";
    case Fault::kNotDone:
      return "no connection at";
    case Fault::kFull:
      return "no room at";
    case Fault::kAnswerLost:
      return "a lost answer to";
    case Fault::kStale:
      return "stale watches after";
    case Fault::kUnread:
      return "no answer to";
  }
  return "";
}

void Effects::Begin() {
  const std::lock_guard lock(mutex_);
  counting_ = true;
}

void Effects::End() {
  const std::lock_guard lock(mutex_);
  counting_ = false;
}

std::optional<Fault> Effects::Next(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (!counting_ || fault_ == Fault::kUnread) return std::nullopt;
  log_.push_back(what);
  const int number = static_cast<int>(log_.size());
  if (number != at_ && (again_ == 0 || number != at_ + again_)) return std::nullopt;
  fired_ = true;
  return fault_;
}

bool Effects::IsUnread(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (!counting_ || fault_ != Fault::kUnread || !reads_.insert(what).second) return false;
  log_.push_back(what);
  if (static_cast<int>(log_.size()) != at_) return false;
  fired_ = true;
  return true;
}

std::vector<std::string> Effects::log() const {
  const std::lock_guard lock(mutex_);
  return log_;
}

bool Effects::fired() const {
  const std::lock_guard lock(mutex_);
  return fired_;
}

bool Process::dead() const {
  const std::lock_guard lock(mutex_);
  return dead_;
}

void Process::Kill() {
  {
    const std::lock_guard lock(mutex_);
    dead_ = true;
  }
  group_.Stop();
}

void Process::GoStale() {
  const std::lock_guard lock(mutex_);
  stale_until_ = runtime_.clock().MonoNow() + kStaleFor;
}

Status Process::WaitWhileStale() {
  for (;;) {
    Duration left;
    {
      const std::lock_guard lock(mutex_);
      left = stale_until_ - runtime_.clock().MonoNow();
    }
    if (left <= Duration::zero()) return {};
    TRY(runtime_.SleepFor(left));
  }
}

void Sweep(std::uint64_t seed, const std::vector<Fault>& faults, const Journey& journey) {
  SweepPairs(seed, faults, 0, journey);
}

void SweepPairs(std::uint64_t seed, const std::vector<Fault>& faults, int reach,
                const Journey& journey) {
  Effects undisturbed;
  const std::string expected = RunJourney(seed, journey, undisturbed);
  ASSERT_FALSE(testing::Test::HasFailure()) << "already undisturbed";
  ASSERT_FALSE(undisturbed.log().empty());
  for (const Fault fault : faults) {
    for (int again = std::min(reach, 1); again <= reach; ++again) {
      for (int at = 1;; ++at) {
        Effects effects(at, fault, again);
        const std::string found = RunJourney(seed, journey, effects);
        if (!effects.fired()) break;
        auto name = std::string(FaultName(fault)) +
                    (fault == Fault::kUnread ? " read " : " effect ") + std::to_string(at) + ", " +
                    effects.log()[static_cast<std::size_t>(at) - 1];
        if (again > 0) name += ", and again " + std::to_string(again) + " later";
        Compare(expected, found, name);
      }
    }
  }
}

}  // namespace thinsnap::faults
