// pvc-protection and pv-protection: a claim that a scheduled pod names, and a volume that is bound,
// outlive their deletion. A pod that merely ended still counts, since the node may still have the
// volume mounted.
#include <algorithm>

#include "simulator/controllers/parts.h"
#include "simulator/placement/pod_state.h"

namespace thinsnap::controllers {

namespace {

namespace types = kube::types;
using kube::ObjectKey;
using kube::Requeue;

constexpr char kClaimFinalizer[] = "kubernetes.io/pvc-protection";
constexpr char kVolumeFinalizer[] = "kubernetes.io/pv-protection";

bool UsesClaim(const Json& pod, const std::string& claim) {
  if (placement::NodeOf(pod).empty()) return false;
  const auto claims = placement::ClaimsOf(pod);
  return std::find(claims.begin(), claims.end(), claim) != claims.end();
}

class ClaimProtection final : public QueuePart {
 public:
  explicit ClaimProtection(const Context& context)
      : QueuePart(context, "pvc-protection-controller"),
        claims_(For(types::kPersistentVolumeClaim)),
        pods_(For(types::kPod)) {
    queue_.WatchOwn(claims_);
    queue_.WatchMapped(pods_, [](const Json& pod) {
      std::vector<ObjectKey> keys;
      for (const auto& claim : placement::ClaimsOf(pod))
        keys.push_back({kube::NamespaceOf(pod), claim});
      return keys;
    });
  }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    const auto cached = claims_.Get(key);
    if (!cached) return Requeue::Done();
    Json claim = *cached;
    if (!kube::IsDeleting(claim)) {
      if (kube::HasFinalizer(claim, kClaimFinalizer)) return Requeue::Done();
      kube::AddFinalizer(claim, kClaimFinalizer);
      TRY(client_.Update(types::kPersistentVolumeClaim, claim));
      return Requeue::Done();
    }
    if (!kube::HasFinalizer(claim, kClaimFinalizer)) return Requeue::Done();
    for (const auto& pod : pods_.List(key.ns)) {
      if (UsesClaim(*pod, key.name)) return Requeue::Done();
    }
    // A pod that the cache has not seen yet would lose its volume.
    const auto live = TRY(client_.List(types::kPod, key.ns));
    for (const Json& pod : live.items) {
      if (UsesClaim(pod, key.name)) return Requeue::Done();
    }
    kube::RemoveFinalizer(claim, kClaimFinalizer);
    TRY(client_.Update(types::kPersistentVolumeClaim, claim));
    return Requeue::Done();
  }

  kube::Informer& claims_;
  kube::Informer& pods_;
};

class VolumeProtection final : public QueuePart {
 public:
  explicit VolumeProtection(const Context& context)
      : QueuePart(context, "pv-protection-controller"), volumes_(For(types::kPersistentVolume)) {
    queue_.WatchOwn(volumes_);
  }

 private:
  Result<Requeue> Reconcile(const ObjectKey& key) override {
    const auto cached = volumes_.Get(key);
    if (!cached) return Requeue::Done();
    Json volume = *cached;
    const bool protected_now = kube::HasFinalizer(volume, kVolumeFinalizer);
    if (!kube::IsDeleting(volume)) {
      if (protected_now) return Requeue::Done();
      kube::AddFinalizer(volume, kVolumeFinalizer);
    } else {
      if (!protected_now || StringAt(volume, "status.phase") == "Bound") return Requeue::Done();
      kube::RemoveFinalizer(volume, kVolumeFinalizer);
    }
    TRY(client_.Update(types::kPersistentVolume, volume));
    return Requeue::Done();
  }

  kube::Informer& volumes_;
};

}  // namespace

std::unique_ptr<Part> MakeClaimProtection(const Context& context) {
  return std::make_unique<ClaimProtection>(context);
}

std::unique_ptr<Part> MakeVolumeProtection(const Context& context) {
  return std::make_unique<VolumeProtection>(context);
}

}  // namespace thinsnap::controllers
