// What every Kubernetes object has: metadata, owner references, finalizers, conditions, events.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/core/clock.h"
#include "base/data/json.h"
#include "base/kube/client.h"

namespace thinsnap::kube {

ObjectKey KeyOf(const Json& object);
std::string NameOf(const Json& object);
std::string NamespaceOf(const Json& object);
std::string UidOf(const Json& object);
std::string ResourceVersionOf(const Json& object);
std::string LabelOf(const Json& object, std::string_view key);
std::string AnnotationOf(const Json& object, std::string_view key);
void SetLabel(Json& object, std::string_view key, std::string_view value);
void SetAnnotation(Json& object, std::string_view key, std::string_view value);
bool IsDeleting(const Json& object);
bool HasFinalizer(const Json& object, std::string_view finalizer);
void AddFinalizer(Json& object, std::string_view finalizer);     // idempotent
void RemoveFinalizer(Json& object, std::string_view finalizer);  // idempotent

// An object with apiVersion, kind and metadata.
Json NewObject(const ResourceType& type, const ObjectKey& key);
// For metadata.ownerReferences.
Json OwnerReference(const Json& owner, bool controller = true, bool block_owner_deletion = true);
void AddOwnerReference(Json& object, Json reference);  // idempotent by uid
bool IsOwnedBy(const Json& object, std::string_view owner_uid);
// The reference with controller: true, or null.
const Json* ControllerOf(const Json& object);

// metav1.Condition in status.conditions: replaces the one of that type; lastTransitionTime changes
// only with status. Returns whether anything changed.
bool SetCondition(Json& object, std::string_view type, bool status, std::string_view reason,
                  std::string_view message, WallTime now);
// Null when there is no such condition.
const Json* FindCondition(const Json& object, std::string_view type);
bool ConditionIs(const Json& object, std::string_view type, std::string_view status = "True");

// The kinds that several libraries use.
namespace types {
extern const ResourceType kNamespace, kNode, kPod, kSecret, kConfigMap, kEvent, kService,
    kServiceAccount, kPersistentVolume, kPersistentVolumeClaim, kStorageClass, kCsiDriver, kCsiNode,
    kVolumeAttachment, kLease, kJob, kCronJob, kDeployment, kReplicaSet, kStatefulSet, kDaemonSet,
    kControllerRevision, kRole, kRoleBinding, kClusterRole, kClusterRoleBinding,
    kCustomResourceDefinition, kVolumeSnapshot, kVolumeSnapshotContent, kVolumeSnapshotClass,
    kThinPool;
}  // namespace types

}  // namespace thinsnap::kube
