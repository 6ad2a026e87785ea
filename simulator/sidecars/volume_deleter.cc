// csi-provisioner, the deleting half: released volumes whose policy is Delete. The finalizer keeps
// the PersistentVolume until the driver's volume is gone, whoever deletes it first.
#include "simulator/placement/volume_match.h"
#include "simulator/sidecars/parameters.h"
#include "simulator/sidecars/parts.h"
#include "simulator/sidecars/provision_plan.h"

namespace thinsnap::sidecars {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::ObjectPtr;
using kube::Requeue;

constexpr int kWorkers = 2;

class VolumeDeleter final : public QueuePart {
 public:
  explicit VolumeDeleter(const Context& context)
      : QueuePart(context, context.options.driver_name + "_provisioner-deleter"),
        sidecar_(context),
        driver_(context.options.driver_name),
        volumes_(For(types::kPersistentVolume)),
        backoffs_(context.runtime.clock(), context.options.retry_start, context.options.retry_max) {
    queue_.WatchOwn(volumes_);
  }

  void Start(TaskGroup& group) override { queue_.Start(group, kWorkers); }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    const ObjectPtr cached = volumes_.Get(key);
    if (!cached) {
      backoffs_.Forget(key.name);
      return Requeue::Done();
    }
    Json volume = *cached;
    if (kube::AnnotationOf(volume, placement::kProvisionedBy) != driver_) return Requeue::Done();
    const bool deletes = StringAt(volume, "spec.persistentVolumeReclaimPolicy") == "Delete";
    if (!deletes || StringAt(volume, "status.phase") != "Released")
      return FollowPolicy(std::move(volume), deletes);
    if (const auto wait = backoffs_.Remaining(key.name); wait > Duration::zero())
      return Requeue::After(wait);
    if (const std::string node = TRY(AttachedTo(key.name)); !node.empty()) {
      return Fail(volume, "persistentvolume " + key.name + " is still attached to node " + node);
    }
    // What cannot be undone is not decided from a cache.
    auto live = client_.Get(types::kPersistentVolume, key);
    if (live.Is(Code::kNotFound)) return Requeue::Done();
    volume = TRY(std::move(live));
    if (kube::UidOf(volume) != kube::UidOf(*cached) || !IsToGo(volume)) return Requeue::Done();
    return Delete(std::move(volume));
  }

  // The node; empty where it is attached nowhere, as are all volumes of a driver that does not
  // attach: its sidecars may not even look.
  Result<std::string> AttachedTo(const std::string& volume) {
    if (!sidecar_.driver->attach) return std::string();
    const auto attachments = TRY(client_.List(types::kVolumeAttachment, ""));
    for (const Json& attachment : attachments.items) {
      if (StringAt(attachment, "spec.source.persistentVolumeName") == volume)
        return StringAt(attachment, "spec.nodeName");
    }
    return std::string();
  }

  bool IsToGo(const Json& volume) const {
    return kube::AnnotationOf(volume, placement::kProvisionedBy) == driver_ &&
           StringAt(volume, "spec.persistentVolumeReclaimPolicy") == "Delete" &&
           StringAt(volume, "status.phase") == "Released";
  }

  // A policy that a person changed: the finalizer belongs to volumes that are to be deleted only.
  Result<Requeue> FollowPolicy(Json volume, bool deletes) {
    if (deletes == kube::HasFinalizer(volume, kVolumeFinalizer)) return Requeue::Done();
    if (deletes) {
      if (kube::IsDeleting(volume)) return Requeue::Done();
      kube::AddFinalizer(volume, kVolumeFinalizer);
    } else {
      kube::RemoveFinalizer(volume, kVolumeFinalizer);
    }
    auto updated = client_.Update(types::kPersistentVolume, volume);
    if (!updated.ok() && !updated.Is(Code::kNotFound)) return std::move(updated).error();
    return Requeue::Done();
  }

  Result<Requeue> Delete(Json volume) {
    const auto key = kube::KeyOf(volume);
    csi::v1::DeleteVolumeRequest request;
    request.set_volume_id(StringAt(volume, "spec.csi.volumeHandle"));
    const auto secret_name = kube::AnnotationOf(volume, kDeletionSecretNameOfVolume);
    const auto secret_ns = kube::AnnotationOf(volume, kDeletionSecretNamespaceOfVolume);
    if (!secret_name.empty() && !secret_ns.empty()) {
      // Upstream goes on without a Secret that is gone; so the driver decides.
      const auto secrets = ReadSecret(client_, ObjectKey{secret_ns, secret_name});
      if (!secrets.ok() && !secrets.Is(Code::kNotFound)) return secrets.error();
      if (secrets.ok()) {
        for (const auto& [name, value] : *secrets) (*request.mutable_secrets())[name] = value;
      }
    }
    const auto answer = sidecar_.csi.DeleteVolume(
        CallWithin(context_.runtime, sidecar_.options.volume_timeout), request);
    if (!answer.ok()) {
      if (Runtime::Cancelled()) return answer.error();
      return Fail(volume, RpcError(answer.error()));
    }
    backoffs_.Forget(key.name);
    kube::DeleteOptions this_one;
    this_one.uid = kube::UidOf(volume);
    const auto deleted = client_.Delete(types::kPersistentVolume, key, this_one);
    if (!deleted.ok() && !deleted.Is(Code::kNotFound)) return deleted.error();
    auto live = client_.Get(types::kPersistentVolume, key);
    if (live.Is(Code::kNotFound)) return Requeue::Done();
    volume = TRY(std::move(live));
    if (kube::UidOf(volume) != this_one.uid) return Requeue::Done();
    if (!kube::HasFinalizer(volume, kVolumeFinalizer)) return Requeue::Done();
    kube::RemoveFinalizer(volume, kVolumeFinalizer);
    auto updated = client_.Update(types::kPersistentVolume, volume);
    if (!updated.ok() && !updated.Is(Code::kNotFound)) return std::move(updated).error();
    return Requeue::Done();
  }

  Result<Requeue> Fail(const Json& volume, const std::string& message) {
    events_.Emit(volume, "Warning", "VolumeFailedDelete", message);
    return Requeue::After(backoffs_.Next(kube::NameOf(volume)));
  }

  const Context sidecar_;
  const std::string driver_;
  kube::Informer& volumes_;
  Backoffs backoffs_;
};

}  // namespace

std::unique_ptr<Part> MakeVolumeDeleter(const Context& context) {
  return std::make_unique<VolumeDeleter>(context);
}

}  // namespace thinsnap::sidecars
