// A KubeClient in front of another one: each call travels first, and may get lost on the way.
#pragma once

#include "base/kube/client.h"

namespace thinsnap::kube {

class ForwardingClient : public KubeClient {
 public:
  explicit ForwardingClient(KubeClient& inner) : inner_(inner) {}

  Result<Json> Get(const ResourceType& type, const ObjectKey& key) override {
    TRY(Travel("get"));
    return inner_.Get(type, key);
  }
  Result<ObjectList> List(const ResourceType& type, const std::string& ns,
                          const ListOptions& options) override {
    TRY(Travel("list"));
    return inner_.List(type, ns, options);
  }
  Status Watch(const ResourceType& type, const std::string& ns, const WatchOptions& options,
               const std::function<Status(WatchEvent)>& on_event) override {
    TRY(Travel("watch"));
    return inner_.Watch(type, ns, options, on_event);
  }
  Result<Json> Create(const ResourceType& type, const Json& object) override {
    TRY(Travel("create"));
    return inner_.Create(type, object);
  }
  Result<Json> Update(const ResourceType& type, const Json& object,
                      const std::string& subresource) override {
    TRY(Travel("update"));
    return inner_.Update(type, object, subresource);
  }
  Result<Json> Patch(const ResourceType& type, const ObjectKey& key, PatchType patch_type,
                     const Json& patch, const PatchOptions& options) override {
    TRY(Travel("patch"));
    return inner_.Patch(type, key, patch_type, patch, options);
  }
  Result<Json> Delete(const ResourceType& type, const ObjectKey& key,
                      const DeleteOptions& options) override {
    TRY(Travel("delete"));
    return inner_.Delete(type, key, options);
  }
  Result<Json> CreateSubresource(const ResourceType& type, const ObjectKey& key,
                                 const std::string& subresource, const Json& object) override {
    TRY(Travel("create"));
    return inner_.CreateSubresource(type, key, subresource, object);
  }

 protected:
  virtual Status Travel(std::string_view verb) = 0;

 private:
  KubeClient& inner_;
};

}  // namespace thinsnap::kube
