// What goes wrong at one external effect of a run, and how a test goes through all of them.
//
// Vocabulary
//   Effect   a write to something that outlives the process: the API server, a bucket, a pool, the
//            mounts. Effects of a run are numbered from 1, in the order in which they happen.
//   Read     what a process sees of the same things. Of reads of one thing, the first is numbered.
//   Process  who makes effects and can be killed: its seams are cut all at once, then its tasks are
//            stopped, so that unwinding has no effect any more.
//   Sweep    a journey undisturbed, then again for each fault at each of its effects; whatever
//            happened on the way, it must end in the same state. Every run is the same up to its
//            fault: one that is not, or in which the fault never happens, fails.
//
// A crash before an effect leaves what a crash after the effect before it leaves: there is one
// fault for both.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/core/fiber_runtime.h"
#include "base/core/result.h"
#include "base/core/runtime.h"

namespace thinsnap::faults {

enum class Fault {
  kCrash,       // done; then the process is killed and its answer with it
  kNotDone,     // kUnavailable
  kFull,        // kResourceExhausted, not done: a disk, a quota
  kAnswerLost,  // done; kUnknownOutcome, the process lives on
  kStale,       // done and answered; watches of the process show nothing for a while
  kUnread,      // of a read: kUnavailable
};
const char* FaultName(Fault fault);

class Effects {
 public:
  Effects() = default;  // only counts
  // `again`: once more so many effects later, 0: not.
  Effects(int at, Fault fault, int again = 0) : at_(at), again_(again), fault_(fault) {}

  // Effects before this do not count: what a journey starts from.
  void Begin();
  // Effects from here on do not count: a test that looks or tidies up.
  void End();
  // What happens at this effect, if anything.
  std::optional<Fault> Next(const std::string& what);
  // True if this read gets no answer.
  bool IsUnread(const std::string& what);

  std::vector<std::string> log() const;    // of the effects
  std::vector<std::string> reads() const;  // of the first reads
  int fired() const;                       // how often

 private:
  const int at_ = -1, again_ = 0;
  const Fault fault_ = Fault::kCrash;
  mutable std::mutex mutex_;
  std::vector<std::string> log_, reads_;
  std::set<std::string> seen_;
  bool counting_ = false;
  int fired_ = 0;
};

// Thread-safe.
class Process {
 public:
  explicit Process(Runtime& runtime) : runtime_(runtime), group_(runtime) {}
  // Ends as one that is asked to.
  ~Process() { Kill(); }

  TaskGroup& group() { return group_; }
  bool dead() const;
  // From one of its own tasks, too.
  void Kill();
  void Join() { group_.Join(); }
  // Watches wait here before they tell anything.
  Status WaitWhileStale();
  void GoStale();
  static Error Gone() { return {Code::kCancelled, "the process was killed"}; }

 private:
  Runtime& runtime_;
  TaskGroup group_;
  mutable std::mutex mutex_;
  bool dead_ = false;
  MonoTime stale_until_{};
};

// Makes an effect, or does not, as the fault wants it.
template <typename T>
Result<T> Perform(Effects& effects, Process& process, const std::string& what,
                  const std::function<Result<T>()>& effect) {
  if (process.dead()) return Process::Gone();
  const auto fault = effects.Next(what);
  if (fault == Fault::kNotDone) return Error(Code::kUnavailable, what + ": not reached");
  if (fault == Fault::kFull) return Error(Code::kResourceExhausted, what + ": no room");
  Result<T> result = effect();
  if (fault == Fault::kCrash) {
    process.Kill();
    return Process::Gone();
  }
  if (fault == Fault::kAnswerLost)
    return Error(Code::kUnknownOutcome, what + ": the answer was lost");
  if (fault == Fault::kStale) process.GoStale();
  return result;
}

// Reads, or does not.
template <typename T>
Result<T> Observe(Effects& effects, Process& process, const std::string& what,
                  const std::function<Result<T>()>& read) {
  if (process.dead()) return Process::Gone();
  if (effects.IsUnread(what)) return Error(Code::kUnavailable, what + ": not reached");
  return read();
}

// The root task of a world on virtual time. It answers the state in which it ends, as lines of
// text, and fails the test by itself where it cannot go on.
using Journey = std::function<std::string(FiberRuntime& runtime, Effects& effects)>;
void Sweep(std::uint64_t seed, const std::vector<Fault>& faults, const Journey& journey);
// Each fault twice, the second one within `reach` effects: whoever mends what the first one left is
// disturbed, too.
void SweepPairs(std::uint64_t seed, const std::vector<Fault>& faults, int reach,
                const Journey& journey);

}  // namespace thinsnap::faults
