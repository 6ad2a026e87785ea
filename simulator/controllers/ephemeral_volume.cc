// Generic ephemeral volumes: the claim <pod>-<volume> of each, owned by its pod, so that it goes
// with it.
#include "simulator/controllers/parts.h"
#include "simulator/placement/pod_state.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::Requeue;

class EphemeralVolumes final : public QueuePart {
 public:
  explicit EphemeralVolumes(const Context& context)
      : QueuePart(context, "ephemeral-volume-controller"),
        pods_(For(types::kPod)),
        claims_(For(types::kPersistentVolumeClaim)) {
    queue_.WatchOwn(pods_);
    queue_.WatchOwned(claims_, "Pod");
  }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    const auto pod = pods_.Get(key);
    if (!pod || !placement::IsActive(*pod)) return Requeue::Done();
    for (const Json& volume : ArrayAt(*pod, "spec.volumes")) {
      const Json* claim_template = Find(volume, "ephemeral.volumeClaimTemplate");
      if (claim_template != nullptr)
        TRY(EnsureClaim(*pod, StringAt(volume, "name"), *claim_template));
    }
    return Requeue::Done();
  }

  Status EnsureClaim(const Json& pod, const std::string& volume, const Json& claim_template) {
    const ObjectKey key{kube::NamespaceOf(pod), kube::NameOf(pod) + "-" + volume};
    if (const auto present = claims_.Get(key)) {
      if (kube::IsOwnedBy(*present, kube::UidOf(pod))) return {};
      events_.Emit(pod, "Warning", "EphemeralVolumeConflict",
                   "PVC " + key.ToString() + " was not created for pod " +
                       kube::KeyOf(pod).ToString() + " (pod is not owner)");
      return {};
    }
    Json claim = kube::NewObject(types::kPersistentVolumeClaim, key);
    for (const char* member : {"metadata.labels", "metadata.annotations", "spec"}) {
      if (const Json* value = Find(claim_template, member)) Set(claim, member, *value);
    }
    kube::AddOwnerReference(claim, kube::OwnerReference(pod));
    auto created = client_.Create(types::kPersistentVolumeClaim, claim);
    if (created.ok() || created.Is(Code::kAlreadyExists)) return {};
    events_.Emit(pod, "Warning", "ProvisioningFailed",
                 "ephemeral volume " + volume + ": " + created.error().message());
    return std::move(created).error();
  }

  kube::Informer& pods_;
  kube::Informer& claims_;
};

}  // namespace

std::unique_ptr<Part> MakeEphemeralVolumes(const Context& context) {
  return std::make_unique<EphemeralVolumes>(context);
}

}  // namespace thinsnap::controllers
