// Claims and volumes: which belongs to which. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/data/json.h"
#include "base/kube/informer.h"

namespace thinsnap::placement {

inline constexpr char kBindCompleted[] = "pv.kubernetes.io/bind-completed";
inline constexpr char kBoundByController[] = "pv.kubernetes.io/bound-by-controller";
inline constexpr char kProvisionedBy[] = "pv.kubernetes.io/provisioned-by";
inline constexpr char kSelectedNode[] = "volume.kubernetes.io/selected-node";
inline constexpr char kStorageProvisioner[] = "volume.kubernetes.io/storage-provisioner";
inline constexpr char kBetaStorageProvisioner[] = "volume.beta.kubernetes.io/storage-provisioner";

// spec.storageClassName, or the old annotation. Empty: static volumes only.
std::string StorageClassOf(const Json& claim_or_volume);
// No class is named at all: the default one applies, also later.
bool WantsDefaultClass(const Json& claim);
// The default StorageClass: the newest of those so annotated, by name among equals. Null if there
// is none.
kube::ObjectPtr DefaultClass(const std::vector<kube::ObjectPtr>& classes);
bool BindsLate(const Json& storage_class);  // WaitForFirstConsumer

// spec.claimRef names this claim, and its uid is this claim's or not yet written.
bool IsReservedFor(const Json& volume, const Json& claim);
// As IsReservedFor, with the uid.
bool IsBoundTo(const Json& volume, const Json& claim);
// The claim is bound, and the binding is complete.
bool IsFullyBound(const Json& claim);

// Bytes of spec.capacity.storage and of spec.resources.requests.storage; 0 where unreadable.
std::int64_t CapacityOf(const Json& volume);
std::int64_t RequestOf(const Json& claim);

// The volume for an unbound claim: one reserved for it, else the smallest free one that satisfies
// class, access modes, volume mode, selector, size and, where given, the node. only_reserved:
// binding waits for a pod. Null if none.
kube::ObjectPtr FindVolumeFor(const Json& claim, const std::vector<kube::ObjectPtr>& volumes,
                              const Json* node, bool only_reserved);
// spec.nodeAffinity.required lets the volume be used on the node.
bool VolumeReachableFrom(const Json& volume, const Json& node);

}  // namespace thinsnap::placement
