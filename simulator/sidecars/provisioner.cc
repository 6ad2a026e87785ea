// csi-provisioner, the creating half: a volume for each claim that was handed to the driver. The
// name pvc-<uid> makes CreateVolume repeatable; a call whose outcome is unknown is repeated until
// it is known, even if the claim has gone, so that no volume is left behind unseen.
#include <mutex>
#include <utility>

#include "base/core/guarded.h"
#include "simulator/placement/volume_match.h"
#include "simulator/sidecars/parameters.h"
#include "simulator/sidecars/parts.h"
#include "simulator/sidecars/provision_plan.h"
#include "simulator/sidecars/snapshot_names.h"
#include "simulator/sidecars/volume_sources.h"

namespace thinsnap::sidecars {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::ObjectPtr;
using kube::Requeue;

constexpr int kWorkers = 4;

class Provisioner final : public QueuePart {
 public:
  explicit Provisioner(const Context& context)
      : QueuePart(context, context.options.driver_name + "_provisioner"),
        sidecar_(context),
        driver_(context.options.driver_name),
        claims_(For(types::kPersistentVolumeClaim)),
        classes_(For(types::kStorageClass)),
        nodes_(For(types::kNode)),
        csi_nodes_(For(types::kCsiNode)),
        identity_(std::to_string(UnixSeconds(context.Now())) + "-" + context.random.NameSuffix(5) +
                  "-" + driver_),
        sources_(context.client, claims_, driver_, context.driver),
        sweep_(context.runtime, "provisioner-sweep",
               [this](const ObjectKey& key) { return Sweep(key); }),
        backoffs_(context.runtime.clock(), context.options.retry_start, context.options.retry_max) {
    queue_.WatchOwn(claims_);
    sweep_.WatchOwn(For(types::kVolumeSnapshot));
    sweep_.WatchMapped(claims_, [](const Json& claim) {
      std::vector<ObjectKey> keys{
          {kube::NamespaceOf(claim), StringAt(DataSourceOf(claim), "name")}};
      if (kube::HasFinalizer(claim, kCloneFinalizer)) keys.push_back(kube::KeyOf(claim));
      return keys;
    });
    const auto waiting = [this](const Json&) {
      std::vector<ObjectKey> keys;
      for (const auto& claim : claims_.List()) {
        if (StringAt(*claim, "spec.volumeName").empty()) keys.push_back(kube::KeyOf(*claim));
      }
      return keys;
    };
    queue_.WatchMapped(classes_, waiting);
    queue_.WatchMapped(csi_nodes_, waiting);
    queue_.WatchMapped(For(types::kVolumeSnapshot), [this](const Json& snapshot) {
      std::vector<ObjectKey> keys;
      for (const auto& claim : claims_.List(kube::NamespaceOf(snapshot))) {
        if (StringAt(*claim, "spec.volumeName").empty() &&
            StringAt(DataSourceOf(*claim), "name") == kube::NameOf(snapshot)) {
          keys.push_back(kube::KeyOf(*claim));
        }
      }
      return keys;
    });
  }

  void Start(TaskGroup& group) override {
    queue_.Start(group, kWorkers);
    sweep_.Start(group);
  }

 private:
  // A claim whose CreateVolume has no known outcome yet, with what it was asked with.
  struct InProgress {
    Json claim, storage_class;
    csi::v1::CreateVolumeRequest request;
  };

  Result<Requeue> Reconcile(const ObjectKey& key) override {
    const ObjectPtr claim = claims_.Get(key);
    if (auto pending = TakeInProgress(key, claim ? kube::UidOf(*claim) : ""))
      return Create(*pending);
    if (!claim || kube::IsDeleting(*claim)) return Requeue::Done();
    if (!AwaitsDriver(*claim, driver_)) {
      TRY(Settle(*claim));
      return Requeue::Done();
    }
    const ObjectPtr storage_class = classes_.Get({"", placement::StorageClassOf(*claim)});
    if (!storage_class || StringAt(*storage_class, "provisioner") != driver_)
      return Requeue::Done();
    const auto node = kube::AnnotationOf(*claim, placement::kSelectedNode);
    if (placement::BindsLate(*storage_class) && node.empty()) return Requeue::Done();
    if (const auto wait = backoffs_.Remaining(BackoffKey(*claim)); wait > Duration::zero())
      return Requeue::After(wait);
    const auto made = client_.Get(types::kPersistentVolume, {"", VolumeNameOf(*claim)});
    if (made.ok()) {
      TRY(Settle(*claim));
      return Requeue::Done();
    }
    if (!made.Is(Code::kNotFound)) return made.error();

    const Json source = DataSourceOf(*claim);
    if (!source.is_null() && !IsVolumeSource(source)) {
      events_.Emit(*claim, "Normal", "Provisioning",
                   "Assuming an external populator will provision the volume");
      return Requeue::Done();
    }
    events_.Emit(
        *claim, "Normal", "Provisioning",
        "External provisioner is provisioning volume for claim \"" + key.ToString() + "\"");
    auto request = Prepare(*claim, *storage_class, source, node);
    if (request.Is(Code::kNotFound)) return Reschedule(*claim, request.error());
    if (!request.ok())
      return Fail(*claim, *storage_class, request.error(), request.error().message());
    return Create({*claim, *storage_class, std::move(*request)});
  }

  // A refusal for one node says nothing about the next, so each has a wait of its own.
  static std::string BackoffKey(const Json& claim) {
    return kube::UidOf(claim) + "@" + kube::AnnotationOf(claim, placement::kSelectedNode);
  }

  // A snapshot or claim whose last restore or clone ended while this program was not running, or
  // could not be let go then.
  Result<Requeue> Sweep(const ObjectKey& key) {
    if (key.name.empty()) return Requeue::Done();
    {
      std::lock_guard lock(mutex_);
      for (const auto& [claim, pending] : in_progress_) {
        if (claim.ns == key.ns && StringAt(DataSourceOf(pending.claim), "name") == key.name)
          return Requeue::Done();
      }
    }
    TRY(sources_.Sweep(key));
    return Requeue::Done();
  }

  std::optional<InProgress> TakeInProgress(const ObjectKey& key, const std::string& uid) {
    std::lock_guard lock(mutex_);
    const auto known = in_progress_.find(key);
    if (known == in_progress_.end()) return std::nullopt;
    // A claim that is still there is asked for afresh: the node may have changed.
    if (kube::UidOf(known->second.claim) == uid) {
      const bool deleting = [&] {
        const ObjectPtr claim = claims_.Get(key);
        return claim && kube::IsDeleting(*claim);
      }();
      if (!deleting) return std::nullopt;
    }
    InProgress pending = std::move(known->second);
    in_progress_.erase(known);
    return pending;
  }

  void Remember(const InProgress& pending) {
    std::lock_guard lock(mutex_);
    in_progress_[kube::KeyOf(pending.claim)] = pending;
  }
  // The PV is there, though the answer to its creation was lost.
  Status Settle(const Json& claim) {
    {
      std::lock_guard lock(mutex_);
      const auto known = in_progress_.find(kube::KeyOf(claim));
      if (known == in_progress_.end() || kube::UidOf(known->second.claim) != kube::UidOf(claim))
        return {};
    }
    TRY(sources_.Release(claim));
    Forget(claim);
    return {};
  }
  void Forget(const Json& claim) {
    std::lock_guard lock(mutex_);
    in_progress_.erase(kube::KeyOf(claim));
  }

  // kNotFound: the selected node is gone.
  Result<csi::v1::CreateVolumeRequest> Prepare(const Json& claim, const Json& storage_class,
                                               const Json& source, const std::string& node) {
    auto request = TRY(VolumeRequest(claim, storage_class, *sidecar_.driver, sidecar_.options));
    if (!source.is_null()) {
      auto filled = sources_.Fill(claim, source, request);
      if (!filled.ok()) return Settled(std::move(filled).error());
    }
    Variables variables{{"pv.name", request.name()},
                        {"pvc.name", kube::NameOf(claim)},
                        {"pvc.namespace", kube::NamespaceOf(claim)}};
    if (const JsonObject* annotations = FindObject(claim, "metadata.annotations")) {
      for (const auto& [key, value] : *annotations) {
        if (value.is_string())
          variables.emplace("pvc.annotations['" + std::string(key) + "']", value.get_string());
      }
    }
    const auto secret = TRY(SecretReference(ParametersOf(storage_class), "provisioner", variables));
    auto secrets = ReadSecret(client_, secret);
    if (!secrets.ok()) return Settled(std::move(secrets).error());
    for (const auto& [key, value] : *secrets) (*request.mutable_secrets())[key] = value;
    const bool bound_to_nodes = !node.empty() || sidecar_.options.immediate_topology ||
                                !ArrayAt(storage_class, "allowedTopologies").empty();
    if (sidecar_.driver->topology && bound_to_nodes) {
      *request.mutable_accessibility_requirements() =
          TRY(PlanTopology({driver_, node, sidecar_.options.strict_topology, storage_class,
                            nodes_.List(), csi_nodes_.List(), request.name()}));
    }
    return request;
  }

  // A missing Secret or snapshot is no missing node.
  static Error Settled(Error error) {
    if (error.code() != Code::kNotFound) return error;
    return {Code::kFailedPrecondition, error.message()};
  }

  Result<Requeue> Create(const InProgress& pending) {
    const Json& claim = pending.claim;
    const auto answer = sidecar_.csi.CreateVolume(
        CallWithin(context_.runtime, sidecar_.options.volume_timeout), pending.request);
    if (!answer.ok()) {
      if (Runtime::Cancelled()) return answer.error();
      const Code code = answer.error().code();
      if (code == Code::kAborted) {
        // At work: the call itself waited as long as it could, so the next one follows at once.
        Remember(pending);
        events_.Emit(claim, "Warning", "ProvisioningFailed",
                     "failed to provision volume with StorageClass \"" +
                         kube::NameOf(pending.storage_class) + "\": " + RpcError(answer.error()));
        return Requeue::After(sidecar_.options.retry_start);
      }
      if (!IsVolumeErrorFinal(code)) {
        Remember(pending);
      } else {
        Forget(claim);
        TRY(sources_.Release(claim));
        if (code == Code::kResourceExhausted && sidecar_.driver->topology &&
            !kube::AnnotationOf(claim, placement::kSelectedNode).empty()) {
          return Reschedule(claim, Error(code, RpcError(answer.error())));
        }
      }
      return Fail(claim, pending.storage_class, answer.error(), RpcError(answer.error()));
    }
    const auto& volume = answer->volume();
    if (const auto fits = CheckVolume(pending.request, volume); !fits.ok()) {
      TRY(Discard(pending, volume.volume_id()));
      Forget(claim);
      TRY(sources_.Release(claim));
      return Fail(claim, pending.storage_class, fits.error(), fits.error().message());
    }
    const Json pv =
        TRY(NewVolume(claim, pending.storage_class, pending.request, volume, driver_, identity_));
    Remember(pending);  // until the PV is there, the volume is known to nobody but us
    auto created = client_.Create(types::kPersistentVolume, pv);
    if (!created.ok() && !created.Is(Code::kAlreadyExists)) return std::move(created).error();
    Forget(claim);
    backoffs_.Forget(BackoffKey(claim));
    events_.Emit(claim, "Normal", "ProvisioningSucceeded",
                 "Successfully provisioned volume " + kube::NameOf(pv));
    TRY(sources_.Release(claim));
    return Requeue::Done();
  }

  Status Discard(const InProgress& pending, const std::string& volume_id) {
    if (volume_id.empty()) return {};
    csi::v1::DeleteVolumeRequest request;
    request.set_volume_id(volume_id);
    *request.mutable_secrets() = pending.request.secrets();
    auto deleted = sidecar_.csi.DeleteVolume(
        CallWithin(context_.runtime, sidecar_.options.volume_timeout), request);
    if (!deleted.ok()) return std::move(deleted).error();
    return {};
  }

  Result<Requeue> Fail(const Json& claim, const Json& storage_class, const Error& error,
                       const std::string& message) {
    if (error.code() == Code::kCancelled && Runtime::Cancelled()) return error;
    if (error.code() == Code::kAborted) return error;  // a lost race of ours
    events_.Emit(claim, "Warning", "ProvisioningFailed",
                 "failed to provision volume with StorageClass \"" + kube::NameOf(storage_class) +
                     "\": " + message);
    return Requeue::After(backoffs_.Next(BackoffKey(claim)));
  }

  // Gives the claim back to the scheduler.
  Result<Requeue> Reschedule(const Json& claim, const Error& why) {
    events_.Emit(claim, "Warning", "ProvisioningFailed",
                 "failed to provision volume with StorageClass \"" +
                     placement::StorageClassOf(claim) + "\": " + why.message());
    // So that the same node, chosen again, is not asked in a circle.
    backoffs_.Next(BackoffKey(claim));
    auto live = client_.Get(types::kPersistentVolumeClaim, kube::KeyOf(claim));
    if (live.Is(Code::kNotFound)) return Requeue::Done();
    Json current = TRY(std::move(live));
    if (kube::UidOf(current) != kube::UidOf(claim)) return Requeue::Done();
    Json* annotations = FindMutable(current, "metadata.annotations");
    if (annotations == nullptr || !annotations->is_object() ||
        annotations->get_object().erase(placement::kSelectedNode) == 0) {
      return Requeue::Done();
    }
    TRY(client_.Update(types::kPersistentVolumeClaim, current));
    return Requeue::Done();
  }

  const Context sidecar_;
  const std::string driver_;
  kube::Informer& claims_;
  kube::Informer& classes_;
  kube::Informer& nodes_;
  kube::Informer& csi_nodes_;
  const std::string identity_;
  VolumeSources sources_;
  kube::Controller sweep_;
  Backoffs backoffs_;

  std::mutex mutex_;
  std::map<ObjectKey, InProgress> in_progress_ GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<Part> MakeProvisioner(const Context& context) {
  return std::make_unique<Provisioner>(context);
}

}  // namespace thinsnap::sidecars
