// Informer: a cache of one kind of object, kept by list and watch. Reads are of the past; writes go
// to the client.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "base/kube/object.h"

namespace thinsnap::kube {

// Objects are shared and immutable.
using ObjectPtr = std::shared_ptr<const Json>;

// Thread-safe. Start() spawns its loop in the group: list, watch, list again after kOutOfRange;
// errors are retried with backoff from 0.2 s to 30 s, and logged when they are not the last one
// again.
class Informer {
 public:
  // Called from the informer's task, after the cache changed; must not block. Old is null for a new
  // object, current is null for a removed one.
  using Handler = std::function<void(const ObjectPtr& old, const ObjectPtr& current)>;

  Informer(Runtime& runtime, KubeClient& client, ResourceType type, std::string ns = "",
           std::string label_selector = "", std::string field_selector = "");

  void AddHandler(Handler handler);  // before Start
  void Start(TaskGroup& group);
  // Waits until the first list is in the cache.
  Status WaitForSync(MonoTime deadline = kForever);
  bool synced() const;
  // OK once the first list is in the cache; before that kUnavailable, with the reason if there is
  // one: what an absent object means.
  Status CheckSynced() const;

  ObjectPtr Get(const ObjectKey& key) const;  // null when absent
  // Sorted by key; ns empty: all.
  std::vector<ObjectPtr> List(const std::string& ns = "") const;
  const ResourceType& type() const { return type_; }

 private:
  void Loop();
  void Tell(const Error& trouble);
  Status ListAndWatch();
  void Replace(ObjectList list);
  void Apply(WatchEvent event);
  void Notify(const ObjectPtr& old, const ObjectPtr& current);

  Runtime& runtime_;
  KubeClient& client_;
  const ResourceType type_;
  const std::string ns_, label_selector_, field_selector_;
  std::vector<Handler> handlers_;
  std::unique_ptr<EventCount> changed_;
  std::string told_;  // the trouble last logged; of the loop only

  mutable std::mutex mutex_;
  std::map<ObjectKey, ObjectPtr> objects_ GUARDED_BY(mutex_);
  std::string resource_version_ GUARDED_BY(mutex_);
  bool synced_ GUARDED_BY(mutex_) = false;
  std::string trouble_ GUARDED_BY(mutex_);  // why the last list or watch ended
};

// One informer for each kind, shared by the controllers of a process.
class InformerSet {
 public:
  InformerSet(Runtime& runtime, KubeClient& client) : runtime_(runtime), client_(client) {}
  // Made at the first call. All calls come before StartAll.
  Informer& For(const ResourceType& type);
  void StartAll(TaskGroup& group);
  Status WaitForSync(MonoTime deadline = kForever);

 private:
  Runtime& runtime_;
  KubeClient& client_;
  std::map<ResourceType, std::unique_ptr<Informer>> informers_;
};

}  // namespace thinsnap::kube
