// ObjectStore: the seam to object storage. What is put is there entirely or not at all and never
// changes by itself.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/core/bytes.h"
#include "base/core/clock.h"
#include "base/core/result.h"

namespace thinsnap::store {

struct ObjectInfo {
  std::string key;
  std::uint64_t size = 0;
  std::string etag;
  WallTime modified;  // by the store's clock, whole seconds
};

struct PutCondition {
  bool if_absent = false;  // If-None-Match: *
  std::string if_match{};  // an etag; empty: none
};

struct PutResult {
  std::string etag;
  WallTime date;  // the store's clock when it answered (HTTP Date); ages are differences of store
                  // times only
};

struct ByteRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

struct Object {
  Bytes bytes;
  ObjectInfo info;  // info.size is that of the whole object
  WallTime date;
};

struct Page {
  std::vector<ObjectInfo> objects;  // ascending by key, as bytes
  bool more = false;                // go on after objects.back().key
  WallTime date;
};

// Keys: '/'-separated, no empty part, no "." or "..", at most 1,000 bytes. Thread-safe and
// blocking. Listing and reading see every earlier acknowledged write. A Put or Delete whose answer
// was lost is kUnknownOutcome: repeating an unconditional one is harmless, a conditional one is
// resolved by reading the key.
class ObjectStore {
 public:
  virtual ~ObjectStore() = default;
  // kFailedPrecondition when the condition does not hold. Durable when it returns.
  virtual Result<PutResult> Put(const std::string& key, ByteSpan body,
                                const PutCondition& condition = {}) = 0;
  // kNotFound; kOutOfRange when the range starts beyond the end. A range past the end is cut.
  virtual Result<Object> Get(const std::string& key,
                             std::optional<ByteRange> range = std::nullopt) = 0;
  virtual Result<ObjectInfo> Head(const std::string& key) = 0;
  // Up to 1,000 objects whose key starts with the prefix and is greater than `after`.
  virtual Result<Page> List(const std::string& prefix, const std::string& after = "") = 0;
  // Missing is fine.
  virtual Status Delete(const std::string& key) = 0;
  // For people: "s3://bucket/prefix". Holds no secret.
  virtual std::string Describe() const = 0;
};

// Every object under the prefix, page by page, in order.
Status ListAll(ObjectStore& store, const std::string& prefix,
               const std::function<Status(const ObjectInfo&)>& visit);

}  // namespace thinsnap::store
