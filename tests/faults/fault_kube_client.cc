#include "tests/faults/fault_kube_client.h"

#include <utility>

#include "base/kube/object.h"

namespace thinsnap::faults {

using kube::ObjectKey;
using kube::ResourceType;

Result<Json> FaultKubeClient::Get(const ResourceType& type, const ObjectKey& key) {
  return Observe<Json>(effects_, process_, "get " + type.kind + " " + key.ToString(),
                       [&] { return inner_.Get(type, key); });
}

Result<kube::ObjectList> FaultKubeClient::List(const ResourceType& type, const std::string& ns,
                                               const kube::ListOptions& options) {
  return Observe<kube::ObjectList>(effects_, process_,
                                   "list " + type.kind + " " + ns + " " + options.label_selector,
                                   [&] { return inner_.List(type, ns, options); });
}

Status FaultKubeClient::Watch(const ResourceType& type, const std::string& ns,
                              const kube::WatchOptions& options,
                              const std::function<Status(kube::WatchEvent)>& on_event) {
  const auto seen = [&](kube::WatchEvent event) -> Status {
    TRY(process_.WaitWhileStale());
    if (process_.dead()) return Process::Gone();
    return on_event(std::move(event));
  };
  return Observe<void>(effects_, process_, "watch " + type.kind + " " + ns,
                       [&] { return inner_.Watch(type, ns, options, seen); });
}

Result<Json> FaultKubeClient::Write(const std::string& verb, const ResourceType& type,
                                    const ObjectKey& key,
                                    const std::function<Result<Json>()>& write) {
  if (type == kube::types::kEvent) {
    if (process_.dead()) return Process::Gone();
    return write();
  }
  return Perform<Json>(effects_, process_, verb + " " + type.kind + " " + key.ToString(), write);
}

Result<Json> FaultKubeClient::Create(const ResourceType& type, const Json& object) {
  return Write("create", type, kube::KeyOf(object), [&] { return inner_.Create(type, object); });
}

Result<Json> FaultKubeClient::Update(const ResourceType& type, const Json& object,
                                     const std::string& subresource) {
  return Write("update " + subresource, type, kube::KeyOf(object),
               [&] { return inner_.Update(type, object, subresource); });
}

Result<Json> FaultKubeClient::Patch(const ResourceType& type, const ObjectKey& key,
                                    kube::PatchType patch_type, const Json& patch,
                                    const kube::PatchOptions& options) {
  return Write("patch " + options.subresource, type, key,
               [&] { return inner_.Patch(type, key, patch_type, patch, options); });
}

Result<Json> FaultKubeClient::Delete(const ResourceType& type, const ObjectKey& key,
                                     const kube::DeleteOptions& options) {
  return Write("delete", type, key, [&] { return inner_.Delete(type, key, options); });
}

Result<Json> FaultKubeClient::CreateSubresource(const ResourceType& type, const ObjectKey& key,
                                                const std::string& subresource,
                                                const Json& object) {
  return Write("create " + subresource, type, key,
               [&] { return inner_.CreateSubresource(type, key, subresource, object); });
}

}  // namespace thinsnap::faults
