// Context: what every reconciler works with, and the small steps that all of them take.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/data/json.h"
#include "base/kube/client.h"
#include "base/kube/controller.h"
#include "base/kube/event_recorder.h"
#include "base/kube/object.h"
#include "snapshotter/api/fields.h"
#include "snapshotter/api/kinds.h"
#include "snapshotter/operator/backend.h"

namespace thinsnap::backup {

// What a process remembers to do less: losing it costs requests, never correctness. Thread-safe.
class Memory {
 public:
  // True at the first call for the key and once `interval` has passed since the last true.
  bool Due(const std::string& key, MonoTime now, Duration interval);
  // What was learnt last under the key is this value.
  bool Knows(const std::string& key, const std::string& value);
  void Learn(const std::string& key, const std::string& value);

 private:
  std::mutex mutex_;
  std::map<std::string, MonoTime> last_ GUARDED_BY(mutex_);
  std::map<std::string, std::string> values_ GUARDED_BY(mutex_);
};

struct Context {
  Runtime& runtime;
  Random& random;
  kube::KubeClient& client;
  kube::EventRecorder& events;
  Backends& backends;
  const Kinds& kinds;
  const OperatorOptions& options;
  Memory& memory;

  WallTime Now() const { return runtime.clock().Now(); }
  std::string NowText() const { return FormatRfc3339(Now()); }
};

// How long until something that cannot be watched is looked at again.
inline constexpr Duration kRetryInterval = std::chrono::seconds(10);

// True of what the next try may not meet: the server was not reached, an answer was lost, a race.
bool MayPass(const Error& error);

// Nothing when the object does not exist.
Result<std::optional<Json>> GetIfExists(kube::KubeClient& client, const kube::ResourceType& type,
                                        const kube::ObjectKey& key);
// The object that stands there now; an existing one is left as it is.
Result<Json> EnsureExists(kube::KubeClient& client, const kube::ResourceType& type,
                          const Json& object);
// Missing is fine.
Status DeleteIfExists(kube::KubeClient& client, const kube::ResourceType& type,
                      const kube::ObjectKey& key);

// Writes status where it differs; kAborted when somebody else wrote the object. Updates `after` to
// what is stored.
Status WriteStatus(Context& context, const kube::ResourceType& type, const Json& before,
                   Json& after);
Status EnsureFinalizer(Context& context, const kube::ResourceType& type, Json& object);
Status DropFinalizer(Context& context, const kube::ResourceType& type, Json& object);

// Sets the condition; where that changes anything, an event says so too: Warning when `good` is
// false.
void Report(Context& context, Json& object, std::string_view condition, bool status,
            std::string_view reason, std::string_view message, bool good);
// The condition's status says whether it is good.
inline void Report(Context& context, Json& object, std::string_view condition, bool status,
                   std::string_view reason, std::string_view message) {
  Report(context, object, condition, status, reason, message, status);
}
// A condition that is there only while something is wrong: False with the sentences, or absent.
void ReportTrouble(Context& context, Json& object, std::string_view condition,
                   std::string_view reason, const std::vector<std::string>& sentences);
// uid of kube-system, which names this cluster.
Result<std::string> ClusterUid(Context& context);

}  // namespace thinsnap::backup
