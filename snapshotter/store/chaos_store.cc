#include "snapshotter/store/chaos_store.h"

namespace thinsnap::store {

void ChaosObjectStore::SetOptions(ChaosOptions options) {
  const std::lock_guard lock(mutex_);
  options_ = options;
}

std::vector<ChaosEvent> ChaosObjectStore::Log() const {
  const std::lock_guard lock(mutex_);
  return log_;
}

Status ChaosObjectStore::Enter(const char* verb, const std::string& key) {
  ++requests_;
  for (std::int64_t left = budget_; left >= 0;) {
    if (left == 0) {
      cut_ = true;
      break;
    }
    if (budget_.compare_exchange_weak(left, left - 1)) break;
  }
  std::uint64_t share;
  {
    const std::lock_guard lock(mutex_);
    share = options_.fail_before;
  }
  if (cut_ || (share > 0 && random_.Below(1000) < share)) {
    return Error(Code::kUnavailable,
                 std::string(verb) + " " + key + ": injected fault: not reached");
  }
  return {};
}

bool ChaosObjectStore::LosesAnswer() {
  std::uint64_t share;
  {
    const std::lock_guard lock(mutex_);
    share = options_.lose_answer;
  }
  return share > 0 && random_.Below(1000) < share;
}

void ChaosObjectStore::Record(ChaosEvent::Kind kind, const std::string& key, std::uint64_t size) {
  const std::lock_guard lock(mutex_);
  log_.push_back(ChaosEvent{kind, key, size});
}

Result<PutResult> ChaosObjectStore::Put(const std::string& key, ByteSpan body,
                                        const PutCondition& condition) {
  TRY(Enter("put", key));
  auto result = inner_.Put(key, body, condition);
  if (result.ok()) Record(ChaosEvent::Kind::kPut, key, body.size());
  if (LosesAnswer())
    return Error(Code::kUnknownOutcome, "put " + key + ": injected fault: answer lost");
  return result;
}

Result<Object> ChaosObjectStore::Get(const std::string& key, std::optional<ByteRange> range) {
  TRY(Enter("get", key));
  auto result = inner_.Get(key, range);
  if (LosesAnswer())
    return Error(Code::kUnavailable, "get " + key + ": injected fault: answer lost");
  return result;
}

Result<ObjectInfo> ChaosObjectStore::Head(const std::string& key) {
  TRY(Enter("head", key));
  auto result = inner_.Head(key);
  if (LosesAnswer())
    return Error(Code::kUnavailable, "head " + key + ": injected fault: answer lost");
  return result;
}

Result<Page> ChaosObjectStore::List(const std::string& prefix, const std::string& after) {
  TRY(Enter("list", prefix));
  auto result = inner_.List(prefix, after);
  if (LosesAnswer())
    return Error(Code::kUnavailable, "list " + prefix + ": injected fault: answer lost");
  return result;
}

Status ChaosObjectStore::Delete(const std::string& key) {
  TRY(Enter("delete", key));
  auto result = inner_.Delete(key);
  if (result.ok()) Record(ChaosEvent::Kind::kDelete, key, 0);
  if (LosesAnswer())
    return Error(Code::kUnknownOutcome, "delete " + key + ": injected fault: answer lost");
  return result;
}

}  // namespace thinsnap::store
