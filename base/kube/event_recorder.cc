#include "base/kube/event_recorder.h"

#include <map>
#include <mutex>
#include <tuple>

#include "base/core/guarded.h"
#include "base/core/log.h"
#include "base/core/text.h"
#include "base/kube/object.h"

namespace thinsnap::kube {

struct EventRecorder::State {
  KubeClient& client;
  Clock& clock;
  Random& random;
  const std::string component;

  struct Known {
    ObjectKey key;
    std::int64_t count = 0;
  };
  std::mutex mutex;
  // By the object's uid, type, reason and message; forgotten all at once when there are many.
  std::map<std::tuple<std::string, std::string, std::string, std::string>, Known> known
      GUARDED_BY(mutex);
};

EventRecorder::EventRecorder(KubeClient& client, Clock& clock, Random& random,
                             std::string component)
    : state_(new State{client, clock, random, std::move(component), {}, {}}) {}

EventRecorder::~EventRecorder() = default;

void EventRecorder::Emit(const Json& object, std::string_view type, std::string_view reason,
                         std::string_view message) {
  State& state = *state_;
  const std::string now = FormatRfc3339(state.clock.Now());
  const std::string text(CutText(message, 1024));
  const auto identity =
      std::make_tuple(UidOf(object), std::string(type), std::string(reason), text);
  State::Known repeated;
  {
    const std::lock_guard lock(state.mutex);
    if (state.known.size() > 4096) state.known.clear();
    if (const auto found = state.known.find(identity); found != state.known.end()) {
      ++found->second.count;
      repeated = found->second;
    }
  }
  if (repeated.count > 0) {
    const Json patch = JsonObject({{"count", repeated.count}, {"lastTimestamp", now}});
    if (state.client.Patch(types::kEvent, repeated.key, PatchType::kMerge, patch).ok()) return;
  }
  const std::string ns = NamespaceOf(object).empty() ? "default" : NamespaceOf(object);
  const ObjectKey key{ns, NameOf(object).substr(0, 230) + "." + HexEncode([&] {
                            Bytes suffix(8);
                            state.random.Fill(suffix);
                            return suffix;
                          }())};
  Json event = NewObject(types::kEvent, key);
  Set(event, "involvedObject",
      JsonObject({{"apiVersion", StringAt(object, "apiVersion")},
                  {"kind", StringAt(object, "kind")},
                  {"name", NameOf(object)},
                  {"namespace", NamespaceOf(object)},
                  {"uid", UidOf(object)},
                  {"resourceVersion", ResourceVersionOf(object)}}));
  Set(event, "type", Json(type));
  Set(event, "reason", Json(reason));
  Set(event, "message", Json(text));
  Set(event, "source", JsonObject({{"component", state.component}}));
  Set(event, "reportingComponent", Json(state.component));
  Set(event, "firstTimestamp", Json(now));
  Set(event, "lastTimestamp", Json(now));
  Set(event, "count", 1);
  const Result<Json> made = state.client.Create(types::kEvent, event);
  if (!made.ok()) {
    LogDebug("events", "dropped " + std::string(reason) + ": " + made.error().ToString());
    return;
  }
  const std::lock_guard lock(state.mutex);
  state.known[identity] = {key, 1};
}

}  // namespace thinsnap::kube
