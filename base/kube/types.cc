#include "base/kube/object.h"

namespace thinsnap::kube::types {

const ResourceType kNamespace{"", "v1", "namespaces", "Namespace", false};
const ResourceType kNode{"", "v1", "nodes", "Node", false};
const ResourceType kPod{"", "v1", "pods", "Pod", true};
const ResourceType kSecret{"", "v1", "secrets", "Secret", true};
const ResourceType kConfigMap{"", "v1", "configmaps", "ConfigMap", true};
const ResourceType kEvent{"", "v1", "events", "Event", true};
const ResourceType kService{"", "v1", "services", "Service", true};
const ResourceType kServiceAccount{"", "v1", "serviceaccounts", "ServiceAccount", true};
const ResourceType kPersistentVolume{"", "v1", "persistentvolumes", "PersistentVolume", false};
const ResourceType kPersistentVolumeClaim{"", "v1", "persistentvolumeclaims",
                                          "PersistentVolumeClaim", true};
const ResourceType kStorageClass{"storage.k8s.io", "v1", "storageclasses", "StorageClass", false};
const ResourceType kCsiDriver{"storage.k8s.io", "v1", "csidrivers", "CSIDriver", false};
const ResourceType kCsiNode{"storage.k8s.io", "v1", "csinodes", "CSINode", false};
const ResourceType kVolumeAttachment{"storage.k8s.io", "v1", "volumeattachments",
                                     "VolumeAttachment", false};
const ResourceType kLease{"coordination.k8s.io", "v1", "leases", "Lease", true};
const ResourceType kJob{"batch", "v1", "jobs", "Job", true};
const ResourceType kCronJob{"batch", "v1", "cronjobs", "CronJob", true};
const ResourceType kDeployment{"apps", "v1", "deployments", "Deployment", true};
const ResourceType kReplicaSet{"apps", "v1", "replicasets", "ReplicaSet", true};
const ResourceType kStatefulSet{"apps", "v1", "statefulsets", "StatefulSet", true};
const ResourceType kDaemonSet{"apps", "v1", "daemonsets", "DaemonSet", true};
const ResourceType kControllerRevision{"apps", "v1", "controllerrevisions", "ControllerRevision",
                                       true};
const ResourceType kRole{"rbac.authorization.k8s.io", "v1", "roles", "Role", true};
const ResourceType kRoleBinding{"rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding",
                                true};
const ResourceType kClusterRole{"rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole",
                                false};
const ResourceType kClusterRoleBinding{"rbac.authorization.k8s.io", "v1", "clusterrolebindings",
                                       "ClusterRoleBinding", false};
const ResourceType kCustomResourceDefinition{
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false};
const ResourceType kVolumeSnapshot{"snapshot.storage.k8s.io", "v1", "volumesnapshots",
                                   "VolumeSnapshot", true};
const ResourceType kVolumeSnapshotContent{"snapshot.storage.k8s.io", "v1", "volumesnapshotcontents",
                                          "VolumeSnapshotContent", false};
const ResourceType kVolumeSnapshotClass{"snapshot.storage.k8s.io", "v1", "volumesnapshotclasses",
                                        "VolumeSnapshotClass", false};
const ResourceType kThinPool{"thinsnap.io", "v1alpha1", "thinpools", "ThinPool", false};

}  // namespace thinsnap::kube::types
