// KindWatcher: eyes on every kind that can be deleted, custom ones included as their definitions
// come and go. What the garbage collector and the namespace controller stand on.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "simulator/controllers/part.h"

namespace thinsnap::controllers {

class KindWatcher final : public Part {
 public:
  // Old is null for a new object, current is null for a removed one. Called from informers' tasks;
  // must not block.
  using Handler = std::function<void(const kube::ResourceType& type, const kube::ObjectPtr& old,
                                     const kube::ObjectPtr& current)>;

  explicit KindWatcher(const Context& context);
  ~KindWatcher() override;

  void AddHandler(Handler handler);  // before Start and before the informers start
  void Start(TaskGroup& group) override;

  // All that are served, whether or not their watch has begun. Thread-safe.
  std::vector<kube::ResourceType> Types() const;
  std::optional<kube::ResourceType> Find(const std::string& api_version,
                                         const std::string& kind) const;
  // False while a kind's cache is still being filled.
  bool Synced() const;

 private:
  struct Custom;

  Result<kube::Requeue> SyncDefinition(const kube::ObjectKey& key);
  void Tell(const kube::ResourceType& type, const kube::ObjectPtr& old,
            const kube::ObjectPtr& current);

  const Context context_;
  kube::Informer& definitions_;
  kube::Controller queue_;
  std::vector<Handler> handlers_;
  std::vector<kube::ResourceType> built_in_;
  TaskGroup* group_ = nullptr;

  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Custom>> custom_
      GUARDED_BY(mutex_);  // by the definition's name
};

// The built-in kinds that can be listed, watched and deleted; without Events, which nobody owns.
std::vector<kube::ResourceType> DeletableKinds();

}  // namespace thinsnap::controllers
