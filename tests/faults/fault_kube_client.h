// A KubeClient of a process whose writes are effects. Events do not count: they are lost without
// harm.
#pragma once

#include <functional>
#include <string>

#include "base/kube/client.h"
#include "tests/faults/effects.h"

namespace thinsnap::faults {

class FaultKubeClient final : public kube::KubeClient {
 public:
  FaultKubeClient(kube::KubeClient& inner, Effects& effects, Process& process)
      : inner_(inner), effects_(effects), process_(process) {}

  Result<Json> Get(const kube::ResourceType& type, const kube::ObjectKey& key) override;
  Result<kube::ObjectList> List(const kube::ResourceType& type, const std::string& ns,
                                const kube::ListOptions& options) override;
  Status Watch(const kube::ResourceType& type, const std::string& ns,
               const kube::WatchOptions& options,
               const std::function<Status(kube::WatchEvent)>& on_event) override;
  Result<Json> Create(const kube::ResourceType& type, const Json& object) override;
  Result<Json> Update(const kube::ResourceType& type, const Json& object,
                      const std::string& subresource) override;
  Result<Json> Patch(const kube::ResourceType& type, const kube::ObjectKey& key,
                     kube::PatchType patch_type, const Json& patch,
                     const kube::PatchOptions& options) override;
  Result<Json> Delete(const kube::ResourceType& type, const kube::ObjectKey& key,
                      const kube::DeleteOptions& options) override;
  Result<Json> CreateSubresource(const kube::ResourceType& type, const kube::ObjectKey& key,
                                 const std::string& subresource, const Json& object) override;

 private:
  Result<Json> Write(const std::string& verb, const kube::ResourceType& type,
                     const kube::ObjectKey& key, const std::function<Result<Json>()>& write);

  kube::KubeClient& inner_;
  Effects& effects_;
  Process& process_;
};

}  // namespace thinsnap::faults
