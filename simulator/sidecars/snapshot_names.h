// The names by which the parties of a snapshot find each other: annotations, finalizers, object
// names.
#pragma once

#include <string>

#include "base/data/json.h"
#include "base/kube/object.h"

namespace thinsnap::sidecars {

inline constexpr char kBeingCreated[] =
    "snapshot.storage.kubernetes.io/volumesnapshot-being-created";
inline constexpr char kBeingDeleted[] =
    "snapshot.storage.kubernetes.io/volumesnapshot-being-deleted";
inline constexpr char kDeletionSecretName[] = "snapshot.storage.kubernetes.io/deletion-secret-name";
inline constexpr char kDeletionSecretNamespace[] =
    "snapshot.storage.kubernetes.io/deletion-secret-namespace";
inline constexpr char kDefaultSnapshotClass[] = "snapshot.storage.kubernetes.io/is-default-class";
inline constexpr char kAllowVolumeModeChange[] =
    "snapshot.storage.kubernetes.io/allow-volume-mode-change";
inline constexpr char kGroupHandle[] = "groupsnapshot.storage.k8s.io/volumeGroupSnapshotHandle";

inline constexpr char kContentFinalizer[] =
    "snapshot.storage.kubernetes.io/volumesnapshotcontent-bound-protection";
inline constexpr char kAsSourceFinalizer[] =
    "snapshot.storage.kubernetes.io/volumesnapshot-as-source-protection";
inline constexpr char kBoundFinalizer[] =
    "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection";
inline constexpr char kClaimFinalizer[] = "snapshot.storage.kubernetes.io/pvc-as-source-protection";
inline constexpr char kRestoreFinalizer[] =
    "provisioner.storage.kubernetes.io/volumesnapshot-as-source-protection";
inline constexpr char kCloneFinalizer[] = "provisioner.storage.kubernetes.io/cloning-protection";

inline constexpr char kSnapshotGroup[] = "snapshot.storage.k8s.io";

inline std::string DynamicContentName(const Json& snapshot) {
  return "snapcontent-" + kube::UidOf(snapshot);
}

// The content that belongs to the snapshot, whoever made it; "" for a pre-provisioned one without a
// name.
inline std::string ContentNameOf(const Json& snapshot) {
  if (auto bound = StringAt(snapshot, "status.boundVolumeSnapshotContentName"); !bound.empty())
    return bound;
  if (auto given = StringAt(snapshot, "spec.source.volumeSnapshotContentName"); !given.empty())
    return given;
  return DynamicContentName(snapshot);
}

// content.spec.volumeSnapshotRef names this snapshot, by uid as well where that is written.
inline bool RefersTo(const Json& content, const Json& snapshot) {
  const auto uid = StringAt(content, "spec.volumeSnapshotRef.uid");
  return StringAt(content, "spec.volumeSnapshotRef.namespace") == kube::NamespaceOf(snapshot) &&
         StringAt(content, "spec.volumeSnapshotRef.name") == kube::NameOf(snapshot) &&
         (uid.empty() || uid == kube::UidOf(snapshot));
}

}  // namespace thinsnap::sidecars
