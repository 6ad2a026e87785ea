// MemoryKube: as much of an API server as a kubelet needs, in memory. It believes everything: no
// schema, no defaults.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/core/runtime.h"
#include "base/kube/client.h"

namespace thinsnap::kubelet {

class MemoryKube final : public kube::KubeClient {
 public:
  explicit MemoryKube(Runtime& runtime)
      : changed_(runtime.NewEventCount()), clock_(runtime.clock()) {}

  Result<Json> Get(const kube::ResourceType& type, const kube::ObjectKey& key) override;
  Result<kube::ObjectList> List(const kube::ResourceType& type, const std::string& ns,
                                const kube::ListOptions& options = {}) override;
  Status Watch(const kube::ResourceType& type, const std::string& ns,
               const kube::WatchOptions& options,
               const std::function<Status(kube::WatchEvent)>& on_event) override;
  Result<Json> Create(const kube::ResourceType& type, const Json& object) override;
  Result<Json> Update(const kube::ResourceType& type, const Json& object,
                      const std::string& subresource = "") override;
  // Merge patches only.
  Result<Json> Patch(const kube::ResourceType& type, const kube::ObjectKey& key,
                     kube::PatchType patch_type, const Json& patch,
                     const kube::PatchOptions& options = {}) override;
  // Pods wait for their kubelet unless the grace period is 0.
  Result<Json> Delete(const kube::ResourceType& type, const kube::ObjectKey& key,
                      const kube::DeleteOptions& options = {}) override;
  Result<Json> CreateSubresource(const kube::ResourceType& type, const kube::ObjectKey& key,
                                 const std::string& subresource, const Json& object) override;

  // Watches say nothing while they are held.
  void HoldWatches(bool hold);
  // Asked before each Update; an error is its answer.
  std::function<Status(const kube::ResourceType& type, const Json& object)> before_update;
  // Makes or replaces the object as it is given, uid and all.
  void Put(const kube::ResourceType& type, Json object);
  // The kinds that anybody has listed.
  std::set<kube::ResourceType> listed();

  // Waits until the object is as asked; null: until it is gone. False after a minute.
  bool WaitFor(const kube::ResourceType& type, const kube::ObjectKey& key,
               const std::function<bool(const Json* object)>& check);

 private:
  struct Change {
    std::uint64_t version;
    std::string resource;
    kube::WatchEvent event;
  };
  Result<Json> Store(const kube::ResourceType& type, Json object, kube::WatchEvent::Type change);

  std::unique_ptr<EventCount> changed_;
  Clock& clock_;
  std::mutex mutex_;
  std::uint64_t version_ = 1;
  bool hold_watches_ = false;
  std::map<std::string, std::map<kube::ObjectKey, Json>> objects_;
  std::vector<Change> changes_;  // by version
  std::set<kube::ResourceType> listed_;
};

}  // namespace thinsnap::kubelet
