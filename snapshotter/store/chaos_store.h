// ChaosObjectStore: a store that fails as networks do: before the request arrived, or after it was
// done with the answer lost. Keeps a log of what was really done, in order.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/random.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::store {

struct ChaosOptions {
  // In thousandths of the requests.
  std::uint64_t fail_before = 0;  // kUnavailable, nothing done
  std::uint64_t lose_answer =
      0;  // a Put or Delete is done and answers kUnknownOutcome; reads: kUnavailable
};

// One Put or Delete that the inner store acknowledged.
struct ChaosEvent {
  enum class Kind { kPut, kDelete };
  Kind kind;
  std::string key;
  std::uint64_t size = 0;
};

class ChaosObjectStore final : public ObjectStore {
 public:
  ChaosObjectStore(std::unique_ptr<ObjectStore> inner, Random& random, ChaosOptions options)
      : owned_(std::move(inner)), inner_(*owned_), random_(random), options_(options) {}
  ChaosObjectStore(ObjectStore& inner, Random& random, ChaosOptions options)
      : inner_(inner), random_(random), options_(options) {}

  Result<PutResult> Put(const std::string& key, ByteSpan body,
                        const PutCondition& condition = {}) override;
  Result<Object> Get(const std::string& key,
                     std::optional<ByteRange> range = std::nullopt) override;
  Result<ObjectInfo> Head(const std::string& key) override;
  Result<Page> List(const std::string& prefix, const std::string& after = "") override;
  Status Delete(const std::string& key) override;
  std::string Describe() const override { return inner_.Describe(); }

  // From now on every request fails with kUnavailable and does nothing: a killed process, a cut
  // cable. Undo with false.
  void Cut(bool cut) { cut_ = cut; }
  // The request after the next `n` and all later ones fail as if cut.
  void CutAfter(std::uint64_t n) { budget_ = static_cast<std::int64_t>(n); }
  // Faults may be changed while running.
  void SetOptions(ChaosOptions options);

  std::uint64_t requests() const { return requests_; }
  std::vector<ChaosEvent> Log() const;

 private:
  Status Enter(const char* verb, const std::string& key);
  bool LosesAnswer();
  void Record(ChaosEvent::Kind kind, const std::string& key, std::uint64_t size);

  std::unique_ptr<ObjectStore> owned_;
  ObjectStore& inner_;
  Random& random_;
  std::atomic<bool> cut_ = false;
  std::atomic<std::int64_t> budget_ = -1;
  std::atomic<std::uint64_t> requests_ = 0;
  mutable std::mutex mutex_;
  ChaosOptions options_ GUARDED_BY(mutex_);
  std::vector<ChaosEvent> log_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::store
