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

struct Run {
  std::string state;
  std::uint64_t trace_hash = 0;
  std::vector<std::string> last_lines;
};

Run RunJourney(std::uint64_t seed, const Journey& journey, Effects& effects) {
  FiberRuntime runtime(seed);
  Run run;
  const Status ran = runtime.Run([&] { run.state = journey(runtime, effects); });
  EXPECT_TRUE(ran.ok()) << ran.error().ToString();
  run.trace_hash = runtime.trace_hash();
  run.last_lines = runtime.LastLines(10'000);
  return run;
}

// Something that is not drawn from the seed, an address or the real clock, decided what happened.
void ExpectSame(const Run& first, const Run& second, const std::string& name) {
  if (first.trace_hash == second.trace_hash) return;
  const auto& before = first.last_lines;
  const auto& after = second.last_lines;
  const auto [a, b] = std::mismatch(before.begin(), before.end(), after.begin(), after.end());
  ADD_FAILURE() << name << " went differently the second time: \""
                << (a == before.end() ? "the end" : *a) << "\" became \""
                << (b == after.end() ? "the end" : *b) << "\"";
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
  if (!counting_) return std::nullopt;
  log_.push_back(what);
  if (fault_ == Fault::kUnread) return std::nullopt;
  const int number = static_cast<int>(log_.size());
  if (number != at_ && (again_ == 0 || number != at_ + again_)) return std::nullopt;
  ++fired_;
  return fault_;
}

bool Effects::IsUnread(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (!counting_ || !seen_.insert(what).second) return false;
  reads_.push_back(what);
  if (fault_ != Fault::kUnread || static_cast<int>(reads_.size()) != at_) return false;
  ++fired_;
  return true;
}

std::vector<std::string> Effects::log() const {
  const std::lock_guard lock(mutex_);
  return log_;
}

std::vector<std::string> Effects::reads() const {
  const std::lock_guard lock(mutex_);
  return reads_;
}

int Effects::fired() const {
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
  Effects undisturbed, repeated;
  const Run expected = RunJourney(seed, journey, undisturbed);
  ASSERT_FALSE(testing::Test::HasFailure()) << "already undisturbed";
  ASSERT_FALSE(undisturbed.log().empty());
  ExpectSame(expected, RunJourney(seed, journey, repeated), "undisturbed, it");
  EXPECT_EQ(undisturbed.log(), repeated.log());
  for (const Fault fault : faults) {
    const auto places = fault == Fault::kUnread ? undisturbed.reads() : undisturbed.log();
    for (int again = std::min(reach, 1); again <= reach; ++again) {
      int second_ones = 0;
      for (std::size_t place = 0; place < places.size(); ++place) {
        const int at = static_cast<int>(place) + 1;
        auto name = std::string(FaultName(fault)) +
                    (fault == Fault::kUnread ? " read " : " effect ") + std::to_string(at) + ", " +
                    places[place];
        if (again > 0) name += ", and again " + std::to_string(again) + " later";
        Effects effects(at, fault, again);
        const Run found = RunJourney(seed, journey, effects);
        const auto happened = fault == Fault::kUnread ? effects.reads() : effects.log();
        if (effects.fired() == 0 ||
            !std::equal(places.begin(), places.begin() + at, happened.begin())) {
          ADD_FAILURE() << "it never came to " << name;
          continue;
        }
        if (effects.fired() > 1) ++second_ones;
        Compare(expected.state, found.state, name);
        if (place != 0) continue;
        Effects once_more(at, fault, again);
        ExpectSame(found, RunJourney(seed, journey, once_more), "after " + name + ", it");
      }
      EXPECT_TRUE(again == 0 || second_ones > 0) << FaultName(fault) << " never happened twice";
    }
  }
}

}  // namespace thinsnap::faults
