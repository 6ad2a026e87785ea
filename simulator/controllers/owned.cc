#include "simulator/controllers/owned.h"

#include "base/kube/object.h"

namespace thinsnap::controllers {

Result<std::vector<Json>> ListOwned(kube::KubeClient& client, const kube::ResourceType& type,
                                    const Json& owner) {
  auto listed = TRY(client.List(type, kube::NamespaceOf(owner)));
  std::vector<Json> owned;
  for (Json& object : listed.items) {
    const Json* controller = kube::ControllerOf(object);
    if (controller != nullptr && StringAt(*controller, "uid") == kube::UidOf(owner))
      owned.push_back(std::move(object));
  }
  return owned;
}

Status CreateOwnedPod(const Context& context, kube::EventRecorder& events, const Json& owner,
                      Json pod, const std::string& prefix) {
  if (kube::NameOf(pod).empty()) {
    Set(pod, "metadata.name", Json(prefix.substr(0, 57) + "-" + context.random.NameSuffix(5)));
  }
  auto created = context.client.Create(kube::types::kPod, pod);
  if (created.ok()) {
    events.Emit(owner, "Normal", "SuccessfulCreate", "Created pod: " + kube::NameOf(pod));
    return {};
  }
  events.Emit(owner, "Warning", "FailedCreate", "Error creating: " + created.error().message());
  return std::move(created).error();
}

Status DeleteOwnedPod(const Context& context, kube::EventRecorder& events, const Json& owner,
                      const Json& pod) {
  kube::DeleteOptions options;
  options.uid = kube::UidOf(pod);
  auto deleted = context.client.Delete(kube::types::kPod, kube::KeyOf(pod), options);
  if (deleted.Is(Code::kNotFound)) return {};
  if (!deleted.ok()) return std::move(deleted).error();
  events.Emit(owner, "Normal", "SuccessfulDelete", "Deleted pod: " + kube::NameOf(pod));
  return {};
}

Result<Json> WriteStatus(kube::KubeClient& client, const kube::ResourceType& type, Json object,
                         Json status) {
  const Json* present = Find(object, "status");
  if (present != nullptr && *present == status) return object;
  Set(object, "status", std::move(status));
  return client.Update(type, object, "status");
}

}  // namespace thinsnap::controllers
