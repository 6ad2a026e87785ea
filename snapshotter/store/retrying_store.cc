#include "snapshotter/store/retrying_store.h"

#include <algorithm>

#include "base/core/log.h"

namespace thinsnap::store {
namespace {

constexpr int kTold = 3;

}  // namespace

Status RetryingObjectStore::WaitBefore(int attempt) {
  Duration bound = options_.first_wait;
  for (int i = 1; i < attempt && bound < options_.longest_wait; ++i) bound *= 2;
  bound = std::min(bound, options_.longest_wait);
  const auto half = static_cast<std::uint64_t>(bound.count() / 2);
  return runtime_.SleepFor(Duration(static_cast<Duration::rep>(half + random_.Below(half + 1))));
}

template <typename T>
Result<T> RetryingObjectStore::Repeat(bool unknown_outcome_too,
                                      const std::function<Result<T>()>& request) {
  bool was_unknown = false;
  for (int attempt = 1;; ++attempt) {
    Result<T> result = request();
    if (result.ok()) return result;
    const Code code = result.error().code();
    // kAborted: S3 refused a write because another one of the key was under way.
    const bool repeatable = code == Code::kUnavailable || code == Code::kDeadlineExceeded ||
                            code == Code::kAborted ||
                            (code == Code::kUnknownOutcome && unknown_outcome_too);
    if (!repeatable || attempt >= options_.attempts) {
      // Whatever the last attempt says, an earlier one may have been done.
      if (was_unknown && repeatable) return Error(Code::kUnknownOutcome, result.error().message());
      return result;
    }
    was_unknown = was_unknown || code == Code::kUnknownOutcome;
    // A person who waits is told why; a short stumble is nobody's business.
    const LogLevel level = attempt == kTold ? LogLevel::kWarning : LogLevel::kDebug;
    Log(level, "store",
        "attempt " + std::to_string(attempt) +
            " failed, trying again: " + result.error().message());
    if (auto waited = WaitBefore(attempt); !waited.ok())
      return std::move(waited).error().In(result.error().message());
  }
}

Result<PutResult> RetryingObjectStore::Put(const std::string& key, ByteSpan body,
                                           const PutCondition& condition) {
  const bool unconditional = !condition.if_absent && condition.if_match.empty();
  return Repeat<PutResult>(unconditional, [&] { return inner_->Put(key, body, condition); });
}

Result<Object> RetryingObjectStore::Get(const std::string& key, std::optional<ByteRange> range) {
  return Repeat<Object>(true, [&] { return inner_->Get(key, range); });
}

Result<ObjectInfo> RetryingObjectStore::Head(const std::string& key) {
  return Repeat<ObjectInfo>(true, [&] { return inner_->Head(key); });
}

Result<Page> RetryingObjectStore::List(const std::string& prefix, const std::string& after) {
  return Repeat<Page>(true, [&] { return inner_->List(prefix, after); });
}

Status RetryingObjectStore::Delete(const std::string& key) {
  return Repeat<void>(true, [&] { return inner_->Delete(key); });
}

}  // namespace thinsnap::store
