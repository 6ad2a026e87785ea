// Stores that go wrong at one chosen moment.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "snapshotter/store/object_store.h"

namespace thinsnap::mover {

// Forwards everything; a test says what happens at the n-th request (from 0), or before a Put.
class FaultStore final : public store::ObjectStore {
 public:
  enum class Fault {
    kNotDone,      // kUnavailable, nothing happened
    kAnswerLost,   // done, and kUnknownOutcome (reads: kUnavailable)
    kUnknown,      // not done, and kUnknownOutcome (reads: kUnavailable)
    kCutFromHere,  // this and every later request: kUnavailable
  };

  explicit FaultStore(store::ObjectStore& inner) : inner_(inner) {}

  void Arm(std::int64_t request, Fault fault) {
    next_ = 0;
    at_ = request;
    fault_ = fault;
  }
  void Disarm() { at_ = -1; }
  std::int64_t requests() const { return next_; }
  std::map<std::string, int> CountByVerb() {
    std::lock_guard lock(mutex_);
    return verbs_;
  }
  void ResetCounts() {
    std::lock_guard lock(mutex_);
    verbs_.clear();
    next_ = 0;
  }
  // Called before each Put that gets through.
  std::function<void(const std::string& key)> before_put;

  Result<store::PutResult> Put(const std::string& key, ByteSpan body,
                               const store::PutCondition& condition) override {
    const bool hit = Enter("PUT");
    if (hit && fault_ == Fault::kUnknown) return Lost();
    if (hit && fault_ != Fault::kAnswerLost) return Gone();
    // A copy: the hook may take itself out while it runs.
    if (const auto hook = before_put) hook(key);
    auto result = inner_.Put(key, body, condition);
    if (hit) return Lost();
    return result;
  }
  Result<store::Object> Get(const std::string& key,
                            std::optional<store::ByteRange> range) override {
    if (Enter("GET")) return Gone();
    return inner_.Get(key, range);
  }
  Result<store::ObjectInfo> Head(const std::string& key) override {
    if (Enter("HEAD")) return Gone();
    return inner_.Head(key);
  }
  Result<store::Page> List(const std::string& prefix, const std::string& after) override {
    if (Enter("LIST")) return Gone();
    return inner_.List(prefix, after);
  }
  Status Delete(const std::string& key) override {
    const bool hit = Enter("DELETE");
    if (hit && fault_ == Fault::kUnknown) return Lost();
    if (hit && fault_ != Fault::kAnswerLost) return Gone();
    const Status status = inner_.Delete(key);
    if (hit) return Lost();
    return status;
  }
  std::string Describe() const override { return inner_.Describe(); }

 private:
  static Error Gone() { return Error(Code::kUnavailable, "the store is out of reach"); }
  static Error Lost() { return Error(Code::kUnknownOutcome, "the answer was lost"); }
  bool Enter(const char* verb) {
    const std::int64_t number = next_++;
    {
      std::lock_guard lock(mutex_);
      ++verbs_[verb];
    }
    if (at_ < 0) return false;
    return number == at_ || (fault_ == Fault::kCutFromHere && number > at_);
  }

  store::ObjectStore& inner_;
  std::atomic<std::int64_t> next_ = 0;
  std::atomic<std::int64_t> at_ = -1;
  std::atomic<Fault> fault_ = Fault::kNotDone;
  std::mutex mutex_;
  std::map<std::string, int> verbs_;
};

}  // namespace thinsnap::mover
