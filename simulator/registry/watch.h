// WatchHub: all watches that are open. A watch is a subscription of the store, filtered and handed
// to a sink; the hub ends it in time, sends bookmarks and drops it once its sink is gone. An open
// watch holds no thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/runtime.h"
#include "simulator/objects/selectors.h"
#include "simulator/registry/registry.h"

namespace thinsnap::registry {

struct WatchQuery {
  std::string label_selector, field_selector, resource_version, match;
  bool send_initial_events = false;
  bool says_initial_events = false;  // either way
  bool bookmarks = false;
  int timeout_seconds = 0;  // 0: half an hour
};

enum class WatchEventType : std::uint8_t { kAdded, kModified, kDeleted };

// Where events go. OnEvent and OnBookmark come in order, mostly under the store's mutex: they must
// not block nor call the store. False: no longer wanted.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  virtual bool OnEvent(WatchEventType type, const objects::ObjectRef& object) = 0;
  virtual bool OnBookmark(objects::Revision revision, bool initial_events_end) = 0;
  // Nothing follows. Also after Handle::Close; never under the store's mutex.
  virtual void OnEnd() = 0;
};

class WatchHub {
 public:
  WatchHub(Runtime& runtime, Registry& registry, Duration bookmark_interval);
  ~WatchHub();
  WatchHub(const WatchHub&) = delete;
  WatchHub& operator=(const WatchHub&) = delete;

  // Ends with Close() from the sink's side, with the hub, or in time.
  class Handle {
   public:
    virtual ~Handle() = default;
    // The sink is gone. From anywhere, callbacks of the sink included.
    virtual void Close() = 0;
  };
  // Checks the query and begins: initial events are delivered from within this call. 410 when the
  // version is too old.
  schema::ApiResult<std::shared_ptr<Handle>> Start(const Target& target, const WatchQuery& query,
                                                   const std::shared_ptr<WatchSink>& sink);
  // Ends all watches; later ones end at once.
  void Stop();
  std::size_t open() const;

 private:
  class Watch;
  void Sweep();

  Runtime& runtime_;
  Registry& registry_;
  const Duration bookmark_interval_;
  std::shared_ptr<EventCount> wake_;
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<Watch>> watches_ GUARDED_BY(mutex_);
  bool stopped_ GUARDED_BY(mutex_) = false;
  TaskGroup tasks_;
};

}  // namespace thinsnap::registry
