#include "simulator/objects/kind_fields.h"

namespace thinsnap::objects {
namespace {

using field::Absent;
using field::Address;
using field::Amounts;
using field::AtLeast;
using field::Choice;
using field::Label;
using field::Labels;
using field::LabelValue;
using field::Natural;
using field::NodeTerm;
using field::OneOf;
using field::PathWithDomain;
using field::PortName;
using field::Qualified;
using field::Range;
using field::Required;
using field::Selector;
using field::Share;
using field::Subdomain;
using field::Unique;

constexpr std::string_view kPort = "1 65535";
constexpr std::string_view kAccessModes =
    "ReadOnlyMany|ReadWriteMany|ReadWriteOnce|ReadWriteOncePod";

struct KindRule {
  std::string_view resource;
  FieldRule rule;
};

// Rules of one kind stand together.
// clang-format off
constexpr KindRule kRules[] = {
    {"persistentvolumeclaims", {"spec.storageClassName", Subdomain}},
    {"persistentvolumeclaims", {"spec.selector", Selector}},
    {"persistentvolumeclaims", {"spec.dataSource.name", Required}},
    {"persistentvolumeclaims", {"spec.dataSourceRef.name", Required}},

    {"persistentvolumes", {"spec.accessModes", Required}},
    {"persistentvolumes", {"spec.accessModes[-]", OneOf, kAccessModes}},
    {"persistentvolumes", {"spec.persistentVolumeReclaimPolicy", OneOf, "Delete|Recycle|Retain"}},
    {"persistentvolumes", {"spec.volumeMode", OneOf, "Block|Filesystem"}},
    {"persistentvolumes", {"spec.storageClassName", Subdomain}},
    {"persistentvolumes", {"spec.nodeAffinity.required", Required, "must specify required node constraints"}},
    {"persistentvolumes", {"spec.nodeAffinity.required.nodeSelectorTerms", Required,
                           "must have at least one node selector term"}},
    {"persistentvolumes", {"spec.nodeAffinity.required.nodeSelectorTerms[]", NodeTerm}},
    {"persistentvolumes", {"spec.csi.driver", Required}},
    {"persistentvolumes", {"spec.csi.driver", Subdomain}},
    {"persistentvolumes", {"spec.csi.volumeHandle", Required}},
    {"persistentvolumes", {"spec.csi.controllerPublishSecretRef.name", Required}},
    {"persistentvolumes", {"spec.csi.nodeStageSecretRef.name", Required}},
    {"persistentvolumes", {"spec.csi.nodePublishSecretRef.name", Required}},
    {"persistentvolumes", {"spec.csi.controllerExpandSecretRef.name", Required}},
    {"persistentvolumes", {"spec.nfs.server", Required}},
    {"persistentvolumes", {"spec.hostPath.path", Required}},
    {"persistentvolumes", {"spec.local.path", Required}},

    {"storageclasses.storage.k8s.io", {"provisioner", Required}},
    {"storageclasses.storage.k8s.io", {"provisioner", Qualified}},
    {"storageclasses.storage.k8s.io", {"reclaimPolicy", OneOf, "Delete|Retain"}},
    {"storageclasses.storage.k8s.io", {"volumeBindingMode", OneOf, "Immediate|WaitForFirstConsumer"}},
    {"storageclasses.storage.k8s.io", {"allowedTopologies[].matchLabelExpressions[].values", Required}},
    {"storageclasses.storage.k8s.io", {"allowedTopologies[].matchLabelExpressions[].values", Unique}},
    {"csidrivers.storage.k8s.io", {"spec.fsGroupPolicy", OneOf, "File|None|ReadWriteOnceWithFSType"}},
    {"csidrivers.storage.k8s.io", {"spec.volumeLifecycleModes[-]", OneOf, "Ephemeral|Persistent"}},
    {"csidrivers.storage.k8s.io", {"spec.tokenRequests", Unique, "audience"}},
    {"csidrivers.storage.k8s.io", {"spec.tokenRequests[].expirationSeconds", AtLeast,
                                   "600 may not specify a duration less than 10 minutes"}},
    {"csinodes.storage.k8s.io", {"spec.drivers[].name", Required}},
    {"csinodes.storage.k8s.io", {"spec.drivers[].nodeID", Required}},
    {"csinodes.storage.k8s.io", {"spec.drivers", Unique, "name"}},
    {"csinodes.storage.k8s.io", {"spec.drivers[].allocatable.count", Natural}},
    {"volumeattachments.storage.k8s.io", {"spec.attacher", Required}},
    {"volumeattachments.storage.k8s.io", {"spec.nodeName", Required}},
    {"volumeattachments.storage.k8s.io", {"spec.source", Required,
      "must specify exactly one of inlineVolumeSpec and persistentVolumeName"}},
    {"csistoragecapacities.storage.k8s.io", {"storageClassName", Required}},
    {"csistoragecapacities.storage.k8s.io", {"storageClassName", Subdomain}},
    {"csistoragecapacities.storage.k8s.io", {"nodeTopology", Selector}},
    {"csistoragecapacities.storage.k8s.io", {"capacity", Amounts}},
    {"volumeattributesclasses.storage.k8s.io", {"driverName", Required}},
    {"volumeattributesclasses.storage.k8s.io", {"parameters", Required, "must contain at least one key/value pair"}},

    {"deployments.apps", {"spec.minReadySeconds", Natural}},
    {"deployments.apps", {"spec.revisionHistoryLimit", Natural}},
    {"deployments.apps", {"spec.progressDeadlineSeconds", Natural}},
    {"deployments.apps", {"spec.strategy.rollingUpdate.maxUnavailable", Share}},
    {"replicasets.apps", {"spec.minReadySeconds", Natural}},
    {"daemonsets.apps", {"spec.minReadySeconds", Natural}},
    {"daemonsets.apps", {"spec.revisionHistoryLimit", Natural}},
    {"daemonsets.apps", {"spec.updateStrategy.type", OneOf, "RollingUpdate|OnDelete"}},
    {"statefulsets.apps", {"spec.serviceName", Label}},
    {"statefulsets.apps", {"spec.podManagementPolicy", Choice, "OrderedReady|Parallel"}},
    {"statefulsets.apps", {"spec.updateStrategy.type", Choice, "RollingUpdate|OnDelete"}},
    {"statefulsets.apps", {"spec.updateStrategy.rollingUpdate.partition", Natural}},
    {"statefulsets.apps", {"spec.minReadySeconds", Natural}},
    {"statefulsets.apps", {"spec.ordinals.start", Natural}},
    {"statefulsets.apps", {"spec.persistentVolumeClaimRetentionPolicy.whenDeleted", OneOf, "Retain|Delete"}},
    {"statefulsets.apps", {"spec.persistentVolumeClaimRetentionPolicy.whenScaled", OneOf, "Retain|Delete"}},
    {"statefulsets.apps", {"spec.volumeClaimTemplates[].metadata.name", Label}},
    {"replicationcontrollers", {"spec.replicas", Natural}},
    {"replicationcontrollers", {"spec.minReadySeconds", Natural}},
    {"controllerrevisions.apps", {"data", Required, "data is mandatory"}},
    {"controllerrevisions.apps", {"revision", Natural}},

    {"jobs.batch", {"spec.completionMode", OneOf, "NonIndexed|Indexed"}},
    {"jobs.batch", {"spec.podReplacementPolicy", OneOf, "Failed|TerminatingOrFailed"}},
    {"jobs.batch", {"spec.managedBy", PathWithDomain}},
    {"jobs.batch", {"spec.podFailurePolicy.rules[].action", OneOf, "Count|FailIndex|FailJob|Ignore"}},
    {"jobs.batch", {"spec.podFailurePolicy.rules[].onExitCodes.operator", OneOf, "In|NotIn"}},
    {"jobs.batch", {"spec.podFailurePolicy.rules[].onPodConditions[].type", Required}},
    {"cronjobs.batch", {"spec.startingDeadlineSeconds", Natural}},
    {"cronjobs.batch", {"spec.successfulJobsHistoryLimit", Natural}},
    {"cronjobs.batch", {"spec.failedJobsHistoryLimit", Natural}},
    {"cronjobs.batch", {"spec.jobTemplate.spec.completionMode", OneOf, "NonIndexed|Indexed"}},

    {"services", {"spec.selector", Labels}},
    {"services", {"spec.sessionAffinityConfig.clientIP.timeoutSeconds", Range,
                  "1 86400 must be greater than 0 and less than 86400"}},
    {"services", {"spec.ports[].targetPort", PortName}},
    {"services", {"spec.externalIPs[]", Address}},
    {"services", {"spec.ipFamilyPolicy", OneOf, "PreferDualStack|RequireDualStack|SingleStack"}},
    {"services", {"spec.internalTrafficPolicy", OneOf, "Cluster|Local"}},
    {"services", {"spec.loadBalancerClass", Qualified}},
    {"services", {"spec.trafficDistribution", OneOf, "PreferClose|PreferSameZone|PreferSameNode"}},
    {"endpoints", {"subsets[].addresses[].ip", Required}},
    {"endpoints", {"subsets[].addresses[].ip", Address}},
    {"endpoints", {"subsets[].ports[].port", Range, kPort}},
    {"endpoints", {"subsets[].ports[].name", Label}},

    {"nodes", {"spec.taints[].key", Required}},
    {"nodes", {"spec.taints[].key", Qualified}},
    {"nodes", {"spec.taints[].value", LabelValue}},
    {"nodes", {"spec.taints[].effect", OneOf, "NoSchedule|PreferNoSchedule|NoExecute"}},
    {"namespaces", {"spec.finalizers[-]", Qualified}},

    {"leases.coordination.k8s.io", {"spec.leaseDurationSeconds", AtLeast, "1 must be greater than 0"}},
    {"leases.coordination.k8s.io", {"spec.leaseTransitions", Natural}},
    {"priorityclasses.scheduling.k8s.io", {"preemptionPolicy", OneOf, "PreemptLowerPriority|Never"}},
    {"resourcequotas", {"spec.hard", Amounts, "[]"}},
    {"events.events.k8s.io", {"eventTime", Required}},

    {"roles.rbac.authorization.k8s.io", {"rules[].verbs", Required, "verbs must contain at least one value"}},
    {"roles.rbac.authorization.k8s.io", {"rules[].nonResourceURLs", Absent,
                                         "namespaced rules cannot apply to non-resource URLs"}},
    {"clusterroles.rbac.authorization.k8s.io", {"rules[].verbs", Required, "verbs must contain at least one value"}},
    {"clusterroles.rbac.authorization.k8s.io", {"aggregationRule.clusterRoleSelectors", Required,
      "at least one clusterRoleSelector required if aggregationRule is non-nil"}},
    {"clusterroles.rbac.authorization.k8s.io", {"aggregationRule.clusterRoleSelectors[]", Selector}},
    {"rolebindings.rbac.authorization.k8s.io", {"roleRef.apiGroup", OneOf, "rbac.authorization.k8s.io"}},
    {"rolebindings.rbac.authorization.k8s.io", {"roleRef.kind", OneOf, "Role|ClusterRole"}},
    {"rolebindings.rbac.authorization.k8s.io", {"roleRef.name", Required}},
    {"rolebindings.rbac.authorization.k8s.io", {"subjects[].name", Required}},
    {"rolebindings.rbac.authorization.k8s.io", {"subjects[].kind", OneOf, "ServiceAccount|User|Group"}},
    {"clusterrolebindings.rbac.authorization.k8s.io", {"roleRef.apiGroup", OneOf, "rbac.authorization.k8s.io"}},
    {"clusterrolebindings.rbac.authorization.k8s.io", {"roleRef.kind", OneOf, "ClusterRole"}},
    {"clusterrolebindings.rbac.authorization.k8s.io", {"roleRef.name", Required}},
    {"clusterrolebindings.rbac.authorization.k8s.io", {"subjects[].name", Required}},
    {"clusterrolebindings.rbac.authorization.k8s.io", {"subjects[].kind", OneOf, "ServiceAccount|User|Group"}},

    {"ingresses.networking.k8s.io", {"spec.rules[].http.paths[].pathType", Required, "pathType must be specified"}},
    {"ingresses.networking.k8s.io", {"spec.rules[].http.paths[].pathType", OneOf, "Exact|ImplementationSpecific|Prefix"}},
    {"ingressclasses.networking.k8s.io", {"spec.controller", PathWithDomain}},
    {"networkpolicies.networking.k8s.io", {"spec.podSelector", Selector}},
    {"networkpolicies.networking.k8s.io", {"spec.policyTypes[]", OneOf, "Ingress|Egress"}},
    {"poddisruptionbudgets.policy", {"spec.minAvailable", Share}},
    {"poddisruptionbudgets.policy", {"spec.maxUnavailable", Share}},
    {"poddisruptionbudgets.policy", {"spec.selector", Selector}},
    {"horizontalpodautoscalers.autoscaling", {"spec.scaleTargetRef.kind", Required}},
    {"horizontalpodautoscalers.autoscaling", {"spec.scaleTargetRef.name", Required}},
    {"horizontalpodautoscalers.autoscaling", {"spec.maxReplicas", AtLeast, "1 must be set and greater than 0"}},
    {"endpointslices.discovery.k8s.io", {"addressType", OneOf, "FQDN|IPv4|IPv6"}},
    {"endpointslices.discovery.k8s.io", {"endpoints[].addresses", Required, "must contain at least 1 address"}},
};

constexpr ImmutableField kImmutable[] = {
    {"persistentvolumes", "spec.volumeMode", "volumeMode"},
    {"storageclasses.storage.k8s.io", "provisioner", "provisioner"},
    {"storageclasses.storage.k8s.io", "parameters", "parameters"},
    {"storageclasses.storage.k8s.io", "reclaimPolicy", "reclaimPolicy"},
    {"storageclasses.storage.k8s.io", "volumeBindingMode", "volumeBindingMode"},
    {"csidrivers.storage.k8s.io", "spec.attachRequired", "spec.attachedRequired"},
    {"csidrivers.storage.k8s.io", "spec.volumeLifecycleModes", "spec.volumeLifecycleModes"},
    {"volumeattachments.storage.k8s.io", "spec", "spec"},
    {"volumeattributesclasses.storage.k8s.io", "driverName", "driverName"},
    {"volumeattributesclasses.storage.k8s.io", "parameters", "parameters"},
    {"secrets", "type", "type"},
    {"deployments.apps", "spec.selector", "spec.selector"},
    {"replicasets.apps", "spec.selector", "spec.selector"},
    {"daemonsets.apps", "spec.selector", "spec.selector"},
    {"controllerrevisions.apps", "data", "data"},
    {"priorityclasses.scheduling.k8s.io", "value", "value", "may not be changed in an update.", true},
    {"priorityclasses.scheduling.k8s.io", "preemptionPolicy", "preemptionPolicy"},
    {"resourcequotas", "spec.scopes", "spec.scopes"},
    {"rolebindings.rbac.authorization.k8s.io", "roleRef", "roleRef"},
    {"clusterrolebindings.rbac.authorization.k8s.io", "roleRef", "roleRef"},
};
// clang-format on

}  // namespace

void CheckKindFields(std::string_view group_resource, const Json& object,
                     schema::FieldErrors& errors) {
  for (const KindRule& row : kRules) {
    if (row.resource == group_resource) CheckFields(object, {&row.rule, 1}, "", errors);
  }
}

std::span<const ImmutableField> ImmutableFields() { return kImmutable; }

}  // namespace thinsnap::objects
