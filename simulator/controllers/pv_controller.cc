// The binder of claims and volumes. Binding is four writes, each of them a place to crash: the
// volume's claimRef, the volume's phase, the claim's volumeName, the claim's status. Every pass
// starts from what is there and does what is missing, so each write may be the last one.
#include <utility>

#include "simulator/controllers/parts.h"
#include "simulator/placement/volume_match.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::ObjectPtr;
using kube::Requeue;

class VolumeBinder final : public Part {
 public:
  explicit VolumeBinder(const Context& context)
      : context_(context),
        client_(context.client),
        events_(context.client, context.runtime.clock(), context.random,
                "persistentvolume-controller"),
        claims_(context.informers.For(types::kPersistentVolumeClaim)),
        volumes_(context.informers.For(types::kPersistentVolume)),
        classes_(context.informers.For(types::kStorageClass)),
        claim_queue_(context.runtime, "persistentvolume-binder-claims",
                     [this](const ObjectKey& key) { return SyncClaim(key); }),
        volume_queue_(context.runtime, "persistentvolume-binder-volumes",
                      [this](const ObjectKey& key) { return SyncVolume(key); }) {
    claim_queue_.WatchOwn(claims_);
    volume_queue_.WatchOwn(volumes_);
    claim_queue_.WatchMapped(volumes_,
                             [this](const Json& volume) { return ClaimsConcerned(volume); });
    volume_queue_.WatchMapped(claims_,
                              [this](const Json& claim) { return VolumesConcerned(claim); });
    claim_queue_.WatchMapped(classes_, [this](const Json&) { return UnboundClaims(); });
  }

  void Start(TaskGroup& group) override {
    claim_queue_.Start(group);
    volume_queue_.Start(group);
  }

 private:
  std::vector<ObjectKey> UnboundClaims() const {
    std::vector<ObjectKey> keys;
    for (const auto& claim : claims_.List()) {
      if (!placement::IsFullyBound(*claim)) keys.push_back(kube::KeyOf(*claim));
    }
    return keys;
  }

  // The claim that the volume names; a free volume may be what any unbound claim waits for.
  std::vector<ObjectKey> ClaimsConcerned(const Json& volume) const {
    const auto name = StringAt(volume, "spec.claimRef.name");
    if (name.empty()) return UnboundClaims();
    return {{StringAt(volume, "spec.claimRef.namespace"), name}};
  }

  std::vector<ObjectKey> VolumesConcerned(const Json& claim) const {
    std::vector<ObjectKey> keys;
    if (const auto name = StringAt(claim, "spec.volumeName"); !name.empty())
      keys.push_back({"", name});
    for (const auto& volume : volumes_.List()) {
      if (StringAt(*volume, "spec.claimRef.name") == kube::NameOf(claim) &&
          StringAt(*volume, "spec.claimRef.namespace") == kube::NamespaceOf(claim)) {
        keys.push_back(kube::KeyOf(*volume));
      }
    }
    return keys;
  }

  Result<Requeue> SyncClaim(const ObjectKey& key) {
    const ObjectPtr claim = claims_.Get(key);
    if (!claim) return Requeue::Done();
    if (kube::AnnotationOf(*claim, placement::kBindCompleted).empty())
      return SyncUnboundClaim(claim);
    return SyncBoundClaim(claim);
  }

  Result<Requeue> SyncUnboundClaim(const ObjectPtr& claim) {
    if (const auto name = StringAt(*claim, "spec.volumeName"); !name.empty()) {
      const ObjectPtr volume = volumes_.Get({"", name});
      // The volume may come, or be released by another claim.
      if (!volume || (FindObject(*volume, "spec.claimRef") != nullptr &&
                      !placement::IsReservedFor(*volume, *claim))) {
        return SetPending(*claim);
      }
      return Bind(*volume, *claim);
    }
    const ObjectPtr storage_class = classes_.Get({"", placement::StorageClassOf(*claim)});
    const bool wait_for_pod = storage_class && placement::BindsLate(*storage_class) &&
                              kube::AnnotationOf(*claim, placement::kSelectedNode).empty();
    if (const ObjectPtr volume =
            placement::FindVolumeFor(*claim, volumes_.List(), nullptr, wait_for_pod)) {
      return Bind(*volume, *claim);
    }
    if (kube::IsDeleting(*claim)) return Requeue::Done();
    if (placement::WantsDefaultClass(*claim)) {
      if (const ObjectPtr fallback = placement::DefaultClass(classes_.List()))
        return AssignClass(*claim, kube::NameOf(*fallback));
    }
    if (StringAt(*claim, "status.phase") != "Pending") return SetPending(*claim);
    if (wait_for_pod) {
      events_.Emit(*claim, "Normal", "WaitForFirstConsumer",
                   "waiting for first consumer to be created before binding");
    } else if (storage_class) {
      return RequestProvisioning(*claim, *storage_class);
    } else if (const auto name = placement::StorageClassOf(*claim); !name.empty()) {
      events_.Emit(*claim, "Warning", "ProvisioningFailed",
                   "storageclass.storage.k8s.io \"" + name + "\" not found");
    } else {
      events_.Emit(*claim, "Normal", "FailedBinding",
                   "no persistent volumes available for this claim and no storage class is set");
    }
    return Requeue::Done();
  }

  Result<Requeue> AssignClass(Json claim, const std::string& name) {
    Set(claim, "spec.storageClassName", Json(name));
    TRY(client_.Update(types::kPersistentVolumeClaim, claim));
    return Requeue::Done();
  }

  Result<Requeue> SetPending(Json claim) {
    if (StringAt(claim, "status.phase") == "Pending") return Requeue::Done();
    Set(claim, "status.phase", "Pending");
    TRY(client_.Update(types::kPersistentVolumeClaim, claim, "status"));
    return Requeue::Done();
  }

  // The annotations are what an external provisioner acts on.
  Result<Requeue> RequestProvisioning(Json claim, const Json& storage_class) {
    const auto provisioner = StringAt(storage_class, "provisioner");
    if (provisioner == "kubernetes.io/no-provisioner") {
      events_.Emit(claim, "Normal", "FailedBinding",
                   "no persistent volume fits, and storage class \"" + kube::NameOf(storage_class) +
                       "\" provisions none");
      return Requeue::Done();
    }
    if (kube::AnnotationOf(claim, placement::kStorageProvisioner) != provisioner) {
      kube::SetAnnotation(claim, placement::kStorageProvisioner, provisioner);
      kube::SetAnnotation(claim, placement::kBetaStorageProvisioner, provisioner);
      claim = TRY(client_.Update(types::kPersistentVolumeClaim, claim));
    }
    events_.Emit(claim, "Normal", "ExternalProvisioning",
                 "Waiting for a volume to be created either by the external provisioner '" +
                     provisioner +
                     "' or manually by the system administrator. If volume creation is delayed, "
                     "please verify that "
                     "the provisioner is running and correctly registered.");
    return Requeue::Done();
  }

  Result<Requeue> SyncBoundClaim(const ObjectPtr& claim) {
    const auto name = StringAt(*claim, "spec.volumeName");
    if (name.empty()) {
      return Lose(
          *claim, "ClaimLost",
          "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
    }
    ObjectPtr volume = volumes_.Get({"", name});
    if (!volume) {
      // Losing a claim cannot be undone: the cache is not enough.
      auto live = client_.Get(types::kPersistentVolume, {"", name});
      if (live.Is(Code::kNotFound)) {
        return Lose(*claim, "ClaimLost",
                    "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
      }
      volume = std::make_shared<const Json>(TRY(std::move(live)));
    }
    if (FindObject(*volume, "spec.claimRef") == nullptr ||
        placement::IsReservedFor(*volume, *claim))
      return Bind(*volume, *claim);
    return Lose(*claim, "ClaimMisbound",
                "Two claims are bound to the same volume, this one is bound incorrectly");
  }

  Result<Requeue> Lose(Json claim, const char* reason, const char* message) {
    if (StringAt(claim, "status.phase") == "Lost") return Requeue::Done();
    Set(claim, "status.phase", "Lost");
    Remove(claim, "status.capacity");
    claim = TRY(client_.Update(types::kPersistentVolumeClaim, claim, "status"));
    events_.Emit(claim, "Warning", reason, message);
    return Requeue::Done();
  }

  Result<Requeue> Bind(Json volume, Json claim) {
    if (!placement::IsBoundTo(volume, claim)) {
      if (FindObject(volume, "spec.claimRef") == nullptr)
        kube::SetAnnotation(volume, placement::kBoundByController, "yes");
      Set(volume, "spec.claimRef",
          Json{{"kind", "PersistentVolumeClaim"},
               {"apiVersion", "v1"},
               {"namespace", kube::NamespaceOf(claim)},
               {"name", kube::NameOf(claim)},
               {"uid", kube::UidOf(claim)},
               {"resourceVersion", kube::ResourceVersionOf(claim)}});
      volume = TRY(client_.Update(types::kPersistentVolume, volume));
    }
    if (StringAt(volume, "status.phase") != "Bound") volume = TRY(SetVolumePhase(volume, "Bound"));
    if (StringAt(claim, "spec.volumeName") != kube::NameOf(volume) ||
        kube::AnnotationOf(claim, placement::kBindCompleted).empty()) {
      if (StringAt(claim, "spec.volumeName").empty()) {
        kube::SetAnnotation(claim, placement::kBoundByController, "yes");
        Set(claim, "spec.volumeName", Json(kube::NameOf(volume)));
      }
      kube::SetAnnotation(claim, placement::kBindCompleted, "yes");
      claim = TRY(client_.Update(types::kPersistentVolumeClaim, claim));
    }
    // From here on the size belongs to the resizer and the kubelet.
    if (StringAt(claim, "status.phase") != "Bound") {
      Set(claim, "status.phase", "Bound");
      Set(claim, "status.accessModes", JsonArray(ArrayAt(volume, "spec.accessModes")));
      if (const Json* capacity = Find(volume, "spec.capacity"))
        Set(claim, "status.capacity", *capacity);
      TRY(client_.Update(types::kPersistentVolumeClaim, claim, "status"));
    }
    return Requeue::Done();
  }

  Result<Json> SetVolumePhase(Json volume, const char* phase) {
    Set(volume, "status.phase", phase);
    Set(volume, "status.lastPhaseTransitionTime", Json(FormatRfc3339(context_.Now())));
    return client_.Update(types::kPersistentVolume, volume, "status");
  }

  Result<Requeue> SetPhaseUnless(const Json& volume, const char* phase) {
    if (StringAt(volume, "status.phase") != phase) TRY(SetVolumePhase(volume, phase));
    return Requeue::Done();
  }

  Result<Requeue> SyncVolume(const ObjectKey& key) {
    const ObjectPtr volume = volumes_.Get(key);
    if (!volume) return Requeue::Done();
    const auto claim_name = StringAt(*volume, "spec.claimRef.name");
    const auto claim_uid = StringAt(*volume, "spec.claimRef.uid");
    if (claim_name.empty() || claim_uid.empty()) return SetPhaseUnless(*volume, "Available");

    const ObjectKey claim_key{StringAt(*volume, "spec.claimRef.namespace"), claim_name};
    ObjectPtr claim = claims_.Get(claim_key);
    if (!claim || kube::UidOf(*claim) != claim_uid) {
      // A released volume may be destroyed: only the server's word counts.
      auto live = client_.Get(types::kPersistentVolumeClaim, claim_key);
      if (live.Is(Code::kNotFound)) return Release(*volume);
      claim = std::make_shared<const Json>(TRY(std::move(live)));
      if (kube::UidOf(*claim) != claim_uid) return Release(*volume);
    }
    const auto bound_name = StringAt(*claim, "spec.volumeName");
    if (bound_name.empty()) {
      claim_queue_.Add(claim_key);
      return Requeue::Done();
    }
    if (bound_name == key.name) return SetPhaseUnless(*volume, "Bound");
    return Unbind(*volume);
  }

  Result<Requeue> Release(const Json& volume) {
    const auto phase = StringAt(volume, "status.phase");
    // Whoever provisioned it acts on Released by the reclaim policy.
    if (phase == "Released" || phase == "Failed") return Requeue::Done();
    return SetPhaseUnless(volume, "Released");
  }

  // The claim took another volume.
  Result<Requeue> Unbind(Json volume) {
    if (!kube::AnnotationOf(volume, placement::kProvisionedBy).empty() &&
        StringAt(volume, "spec.persistentVolumeReclaimPolicy") == "Delete") {
      return Release(volume);
    }
    if (!kube::AnnotationOf(volume, placement::kBoundByController).empty()) {
      Remove(volume, "spec.claimRef");
      EnsureObject(volume, "metadata.annotations").erase(placement::kBoundByController);
    } else {
      Remove(volume, "spec.claimRef.uid");
    }
    volume = TRY(client_.Update(types::kPersistentVolume, volume));
    return SetPhaseUnless(volume, "Available");
  }

  const Context context_;
  kube::KubeClient& client_;
  kube::EventRecorder events_;
  kube::Informer& claims_;
  kube::Informer& volumes_;
  kube::Informer& classes_;
  kube::Controller claim_queue_;
  kube::Controller volume_queue_;
};

}  // namespace

std::unique_ptr<Part> MakeVolumeBinder(const Context& context) {
  return std::make_unique<VolumeBinder>(context);
}

}  // namespace thinsnap::controllers
