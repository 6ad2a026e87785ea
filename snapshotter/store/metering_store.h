// MeteringObjectStore: counts requests and bytes by verb, for metrics and for people who pay by
// request.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "snapshotter/store/object_store.h"

namespace thinsnap::store {

enum class StoreVerb : std::uint8_t { kPut, kGet, kHead, kList, kDelete };
inline constexpr std::array<std::string_view, 5> kStoreVerbNames = {"put", "get", "head", "list",
                                                                    "delete"};

// Thread-safe; grows only. A repeated request counts again.
class StoreMeter {
 public:
  struct Counts {
    std::uint64_t requests = 0;
    std::uint64_t errors = 0;  // of them; kNotFound and kFailedPrecondition are answers, not errors
    std::uint64_t bytes = 0;   // put or got
  };

  Counts Of(StoreVerb verb) const;
  // Over all verbs.
  Counts Total() const;
  void Count(StoreVerb verb, bool error, std::uint64_t bytes);

 private:
  struct Counters {
    std::atomic<std::uint64_t> requests = 0;
    std::atomic<std::uint64_t> errors = 0;
    std::atomic<std::uint64_t> bytes = 0;
  };
  std::array<Counters, 5> counters_;
};

class MeteringObjectStore final : public ObjectStore {
 public:
  MeteringObjectStore(std::unique_ptr<ObjectStore> inner, std::shared_ptr<StoreMeter> meter)
      : inner_(std::move(inner)), meter_(std::move(meter)) {}

  Result<PutResult> Put(const std::string& key, ByteSpan body,
                        const PutCondition& condition = {}) override;
  Result<Object> Get(const std::string& key,
                     std::optional<ByteRange> range = std::nullopt) override;
  Result<ObjectInfo> Head(const std::string& key) override;
  Result<Page> List(const std::string& prefix, const std::string& after = "") override;
  Status Delete(const std::string& key) override;
  std::string Describe() const override { return inner_->Describe(); }

 private:
  const std::unique_ptr<ObjectStore> inner_;
  const std::shared_ptr<StoreMeter> meter_;
};

}  // namespace thinsnap::store
