// MemoryObjectStore: the contract in its plainest form, for tests and simulations.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/core/guarded.h"
#include "snapshotter/store/object_store.h"

namespace thinsnap::store {

class MemoryObjectStore final : public ObjectStore {
 public:
  explicit MemoryObjectStore(Clock& clock, std::string name = "test")
      : clock_(clock), name_(std::move(name)) {}

  Result<PutResult> Put(const std::string& key, ByteSpan body,
                        const PutCondition& condition = {}) override;
  Result<Object> Get(const std::string& key,
                     std::optional<ByteRange> range = std::nullopt) override;
  Result<ObjectInfo> Head(const std::string& key) override;
  Result<Page> List(const std::string& prefix, const std::string& after = "") override;
  Status Delete(const std::string& key) override;
  std::string Describe() const override { return "memory:" + name_; }

 private:
  struct Entry {
    std::shared_ptr<const Bytes> bytes;
    ObjectInfo info;
  };

  WallTime Date() const;

  Clock& clock_;
  const std::string name_;
  std::mutex mutex_;
  std::map<std::string, Entry> objects_ GUARDED_BY(mutex_);
  std::uint64_t next_etag_ GUARDED_BY(mutex_) = 1;
};

}  // namespace thinsnap::store
