// RetryingObjectStore: the one place where requests to a store are repeated. Repeats what is safe
// to repeat, with exponential backoff and jitter; a conditional write whose answer was lost is the
// caller's to resolve by reading.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/core/random.h"
#include "base/core/runtime.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::store {

struct RetryOptions {
  int attempts = 8;
  Duration first_wait =
      std::chrono::milliseconds(200);  // each wait is a random half to whole of its bound
  Duration longest_wait = std::chrono::seconds(15);
};

class RetryingObjectStore final : public ObjectStore {
 public:
  RetryingObjectStore(Runtime& runtime, Random& random, std::unique_ptr<ObjectStore> inner,
                      RetryOptions options = {})
      : runtime_(runtime), random_(random), inner_(std::move(inner)), options_(options) {}

  Result<PutResult> Put(const std::string& key, ByteSpan body,
                        const PutCondition& condition = {}) override;
  Result<Object> Get(const std::string& key,
                     std::optional<ByteRange> range = std::nullopt) override;
  Result<ObjectInfo> Head(const std::string& key) override;
  Result<Page> List(const std::string& prefix, const std::string& after = "") override;
  Status Delete(const std::string& key) override;
  std::string Describe() const override { return inner_->Describe(); }

 private:
  template <typename T>
  Result<T> Repeat(bool unknown_outcome_too, const std::function<Result<T>()>& request);
  Status WaitBefore(int attempt);

  Runtime& runtime_;
  Random& random_;
  const std::unique_ptr<ObjectStore> inner_;
  const RetryOptions options_;
};

}  // namespace thinsnap::store
