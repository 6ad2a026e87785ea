#include "simulator/registry/watch.h"

#include <algorithm>
#include <utility>

#include "base/core/guarded.h"

namespace thinsnap::registry {

using objects::StoreEvent;
using schema::ApiError;
using schema::ApiResult;
using schema::FieldError;
using schema::FieldErrors;

namespace {

constexpr auto kSweep = std::chrono::seconds(1);
constexpr auto kDefaultTimeout = std::chrono::minutes(30);

FieldErrors CheckQuery(const WatchQuery& query) {
  FieldErrors errors;
  const std::string field = "resourceVersionMatch";
  if (query.says_initial_events && query.match != "NotOlderThan") {
    errors.push_back(FieldError::Forbidden(
        field, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"));
  }
  if (!query.says_initial_events && !query.match.empty()) {
    errors.push_back(FieldError::Forbidden(
        field, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"));
  }
  return errors;
}

}  // namespace

class WatchHub::Watch final : public WatchHub::Handle {
 public:
  Watch(Target target, objects::LabelSelector labels, objects::FieldSelector fields,
        std::shared_ptr<WatchSink> sink, std::shared_ptr<EventCount> wake)
      : target_(std::move(target)),
        labels_(std::move(labels)),
        fields_(std::move(fields)),
        sink_(std::move(sink)),
        wake_(std::move(wake)) {}

  void Close() override {
    closed_ = true;
    wake_->Notify();
  }
  bool closed() const { return closed_; }

  bool Matches(const objects::StoredObject& object) const {
    if (!target_.ns.empty() && object.key().ns != target_.ns) return false;
    return labels_.Matches(object.value()) && fields_.Matches(object.value());
  }

  // Under the store's mutex.
  void OnStoreEvent(const StoreEvent& event) {
    if (closed_) return;
    std::lock_guard lock(mutex_);
    if (live_) {
      Deliver(event);
    } else {
      waiting_.push_back(event);
    }
  }

  // The state at the beginning, then what came meanwhile.
  void GoLive(const std::vector<objects::ObjectRef>& initial, bool bookmark,
              objects::Revision revision) {
    std::lock_guard lock(mutex_);
    for (const auto& object : initial) {
      if (!closed_ && !sink_->OnEvent(WatchEventType::kAdded, object)) Close();
    }
    if (bookmark && !closed_ && !sink_->OnBookmark(revision, true)) Close();
    for (const auto& event : waiting_) Deliver(event);
    waiting_.clear();
    live_ = true;
  }

  // Under the store's mutex.
  void Bookmark(objects::Revision revision) {
    std::lock_guard lock(mutex_);
    if (live_ && !closed_ && !sink_->OnBookmark(revision, false)) Close();
  }

  void End() {
    subscription.reset();
    std::lock_guard lock(mutex_);
    closed_ = true;
    sink_->OnEnd();
  }

  std::unique_ptr<objects::VersionedStore::Subscription> subscription;
  MonoTime deadline{};
  MonoTime next_bookmark = kForever;

 private:
  void Deliver(const StoreEvent& event) {
    if (closed_) return;
    const bool before = event.previous && Matches(*event.previous);
    const bool after = event.type != StoreEvent::Type::kDeleted && Matches(*event.object);
    bool wanted = true;
    if (after) {
      wanted =
          sink_->OnEvent(before ? WatchEventType::kModified : WatchEventType::kAdded, event.object);
    } else if (before && event.type == StoreEvent::Type::kDeleted) {
      wanted = sink_->OnEvent(WatchEventType::kDeleted, event.object);
    } else if (before) {
      // It has left the selection: the last matching state, at the version at which it left.
      Json last = event.previous->value();
      Set(last, "metadata.resourceVersion", std::to_string(event.revision));
      wanted = sink_->OnEvent(WatchEventType::kDeleted,
                              std::make_shared<objects::StoredObject>(
                                  event.previous->key(), std::move(last), event.revision));
    }
    if (!wanted) Close();
  }

  const Target target_;
  const objects::LabelSelector labels_;
  const objects::FieldSelector fields_;
  const std::shared_ptr<WatchSink> sink_;
  const std::shared_ptr<EventCount> wake_;
  std::atomic<bool> closed_{false};
  std::mutex mutex_;
  bool live_ GUARDED_BY(mutex_) = false;
  std::vector<StoreEvent> waiting_ GUARDED_BY(mutex_);
};

WatchHub::WatchHub(Runtime& runtime, Registry& registry, Duration bookmark_interval)
    : runtime_(runtime),
      registry_(registry),
      bookmark_interval_(bookmark_interval),
      wake_(runtime.NewEventCount()),
      tasks_(runtime) {
  tasks_.Spawn("watches", [this] { Sweep(); });
}

WatchHub::~WatchHub() {
  Stop();
  tasks_.Stop();
  tasks_.Join();
}

ApiResult<std::shared_ptr<WatchHub::Handle>> WatchHub::Start(
    const Target& target, const WatchQuery& query, const std::shared_ptr<WatchSink>& sink) {
  FieldErrors errors = CheckQuery(query);
  if (!errors.empty())
    return ApiError::Invalid("meta.k8s.io", "ListOptions", "", std::move(errors));
  auto labels = TRY(objects::LabelSelector::Parse(query.label_selector));
  auto fields =
      TRY(objects::FieldSelector::Parse(query.field_selector, *target.kind, *target.version));
  auto watch = std::make_shared<Watch>(target, std::move(labels), std::move(fields), sink, wake_);
  const MonoTime now = runtime_.clock().MonoNow();
  watch->deadline =
      now + (query.timeout_seconds > 0 ? Duration(std::chrono::seconds(query.timeout_seconds))
                                       : Duration(kDefaultTimeout));
  if (query.bookmarks) {
    watch->next_bookmark =
        std::min<MonoTime>(now + bookmark_interval_, watch->deadline - 2 * Duration(kSweep));
  }

  auto deliver = [raw = watch.get()](const StoreEvent& event) { raw->OnStoreEvent(event); };
  objects::VersionedStore& store = registry_.store();
  objects::Revision after = 0;
  if (!query.resource_version.empty()) after = TRY(ParseRevision(query.resource_version));
  if (after == 0 || query.send_initial_events) {
    if (after > store.revision()) {
      ApiError error =
          ApiError::Timeout("Too large resource version: " + query.resource_version, 1);
      error.causes = {{"ResourceVersionTooLarge", "", "Too large resource version"}};
      return error;
    }
    objects::StoreListOptions options;
    options.ns = target.ns;
    options.filter = [raw = watch.get()](const objects::StoredObject& object) {
      return raw->Matches(object);
    };
    auto started = store.ListAndWatch(target.kind->storage_resource, options, deliver);
    watch->subscription = std::move(started.subscription);
    watch->GoLive(started.list.items, query.send_initial_events, started.list.revision);
  } else {
    auto started = store.Watch(target.kind->storage_resource, after, deliver);
    if (!started.ok()) {
      if (started.error().code() != Code::kOutOfRange) return ApiError::From(started.error());
      return ApiError::Expired("too old resource version: " + query.resource_version + " (" +
                               std::to_string(store.revision()) + ")");
    }
    watch->subscription = std::move(*started);
    watch->GoLive({}, false, 0);
  }
  {
    std::lock_guard lock(mutex_);
    if (!stopped_) {
      watches_.push_back(watch);
      return std::shared_ptr<Handle>(watch);
    }
  }
  watch->End();
  return std::shared_ptr<Handle>(watch);
}

void WatchHub::Sweep() {
  for (;;) {
    const auto seen = wake_->Seen();
    const MonoTime now = runtime_.clock().MonoNow();
    std::vector<std::shared_ptr<Watch>> over, due;
    {
      std::lock_guard lock(mutex_);
      for (auto& watch : watches_) {
        if (watch->closed() || watch->deadline <= now) {
          over.push_back(std::move(watch));
        } else if (watch->next_bookmark <= now) {
          // The last one comes shortly before the end, so that the client goes on from there.
          const MonoTime last = watch->deadline - 2 * Duration(kSweep);
          const MonoTime regular = now + bookmark_interval_;
          watch->next_bookmark = last <= now ? kForever : std::min(regular, last);
          due.push_back(watch);
        }
      }
      std::erase(watches_, nullptr);
    }
    if (!due.empty()) {
      registry_.store().AtRevision([&](objects::Revision revision) {
        for (const auto& watch : due) watch->Bookmark(revision);
      });
    }
    for (const auto& watch : over) watch->End();
    over.clear();
    due.clear();
    const auto waited = wake_->Wait(seen, now + kSweep);
    if (waited.Is(Code::kCancelled)) return;
  }
}

void WatchHub::Stop() {
  std::vector<std::shared_ptr<Watch>> all;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    all.swap(watches_);
  }
  for (const auto& watch : all) watch->End();
}

std::size_t WatchHub::open() const {
  std::lock_guard lock(mutex_);
  return watches_.size();
}

}  // namespace thinsnap::registry
