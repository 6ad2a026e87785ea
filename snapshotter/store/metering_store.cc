#include "snapshotter/store/metering_store.h"

namespace thinsnap::store {
namespace {

template <typename T>
bool IsError(const Result<T>& result) {
  return !result.ok() && !result.Is(Code::kNotFound) && !result.Is(Code::kFailedPrecondition);
}

}  // namespace

StoreMeter::Counts StoreMeter::Of(StoreVerb verb) const {
  const Counters& counters = counters_.at(static_cast<std::size_t>(verb));
  return {counters.requests, counters.errors, counters.bytes};
}

StoreMeter::Counts StoreMeter::Total() const {
  Counts total;
  for (const Counters& counters : counters_) {
    total.requests += counters.requests;
    total.errors += counters.errors;
    total.bytes += counters.bytes;
  }
  return total;
}

void StoreMeter::Count(StoreVerb verb, bool error, std::uint64_t bytes) {
  Counters& counters = counters_.at(static_cast<std::size_t>(verb));
  ++counters.requests;
  if (error) ++counters.errors;
  counters.bytes += bytes;
}

Result<PutResult> MeteringObjectStore::Put(const std::string& key, ByteSpan body,
                                           const PutCondition& condition) {
  auto result = inner_->Put(key, body, condition);
  meter_->Count(StoreVerb::kPut, IsError(result), result.ok() ? body.size() : 0);
  return result;
}

Result<Object> MeteringObjectStore::Get(const std::string& key, std::optional<ByteRange> range) {
  auto result = inner_->Get(key, range);
  meter_->Count(StoreVerb::kGet, IsError(result), result.ok() ? result->bytes.size() : 0);
  return result;
}

Result<ObjectInfo> MeteringObjectStore::Head(const std::string& key) {
  auto result = inner_->Head(key);
  meter_->Count(StoreVerb::kHead, IsError(result), 0);
  return result;
}

Result<Page> MeteringObjectStore::List(const std::string& prefix, const std::string& after) {
  auto result = inner_->List(prefix, after);
  meter_->Count(StoreVerb::kList, IsError(result), 0);
  return result;
}

Status MeteringObjectStore::Delete(const std::string& key) {
  auto result = inner_->Delete(key);
  meter_->Count(StoreVerb::kDelete, IsError(result), 0);
  return result;
}

}  // namespace thinsnap::store
