#include "snapshotter/store/memory_store.h"

#include <algorithm>

#include "snapshotter/store/key.h"

namespace thinsnap::store {
namespace {

constexpr std::size_t kPageSize = 1000;

Error NoSuchObject(const ObjectStore& store, const std::string& key) {
  return Error(Code::kNotFound, store.Describe() + ": no object \"" + key + "\"");
}

}  // namespace

WallTime MemoryObjectStore::Date() const {
  return std::chrono::floor<std::chrono::seconds>(clock_.Now());
}

Result<PutResult> MemoryObjectStore::Put(const std::string& key, ByteSpan body,
                                         const PutCondition& condition) {
  TRY(CheckKey(key));
  auto bytes = std::make_shared<const Bytes>(body.begin(), body.end());
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(key);
  if (condition.if_absent && found != objects_.end()) {
    return Error(Code::kFailedPrecondition, Describe() + ": object \"" + key + "\" exists already");
  }
  if (!condition.if_match.empty() &&
      (found == objects_.end() || found->second.info.etag != condition.if_match)) {
    return Error(Code::kFailedPrecondition, Describe() + ": object \"" + key + "\" has changed");
  }
  const WallTime date = Date();
  ObjectInfo info{.key = key,
                  .size = body.size(),
                  .etag = "m" + std::to_string(next_etag_++),
                  .modified = date};
  PutResult result{.etag = info.etag, .date = date};
  objects_[key] = Entry{std::move(bytes), std::move(info)};
  return result;
}

Result<Object> MemoryObjectStore::Get(const std::string& key, std::optional<ByteRange> range) {
  TRY(CheckKey(key));
  std::shared_ptr<const Bytes> bytes;
  Object object;
  {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(key);
    if (found == objects_.end()) return NoSuchObject(*this, key);
    bytes = found->second.bytes;
    object.info = found->second.info;
    object.date = Date();
  }
  if (!range) {
    object.bytes = *bytes;
    return object;
  }
  if (range->offset >= bytes->size()) {
    return Error(Code::kOutOfRange,
                 Describe() + ": range starts beyond the end of \"" + key + "\"");
  }
  const std::uint64_t length = std::min(range->length, bytes->size() - range->offset);
  const auto from = bytes->begin() + static_cast<std::ptrdiff_t>(range->offset);
  object.bytes.assign(from, from + static_cast<std::ptrdiff_t>(length));
  return object;
}

Result<ObjectInfo> MemoryObjectStore::Head(const std::string& key) {
  TRY(CheckKey(key));
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(key);
  if (found == objects_.end()) return NoSuchObject(*this, key);
  return found->second.info;
}

Result<Page> MemoryObjectStore::List(const std::string& prefix, const std::string& after) {
  const std::lock_guard lock(mutex_);
  Page page;
  page.date = Date();
  auto at = after > prefix ? objects_.upper_bound(after) : objects_.lower_bound(prefix);
  if (at != objects_.end() && at->first == after) ++at;
  for (; at != objects_.end() && at->first.starts_with(prefix); ++at) {
    if (page.objects.size() == kPageSize) {
      page.more = true;
      break;
    }
    page.objects.push_back(at->second.info);
  }
  return page;
}

Status MemoryObjectStore::Delete(const std::string& key) {
  TRY(CheckKey(key));
  const std::lock_guard lock(mutex_);
  objects_.erase(key);
  return {};
}

}  // namespace thinsnap::store
