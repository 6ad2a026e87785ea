#include "simulator/objects/kind_fields.h"

namespace thinsnap::objects {
namespace {

using field::Absent;
using field::Absolute;
using field::Address;
using field::AtLeast;
using field::ConfigKey;
using field::HeaderName;
using field::Label;
using field::Labels;
using field::Mode;
using field::Natural;
using field::NoBacksteps;
using field::NodeTerm;
using field::OneOf;
using field::PortName;
using field::Qualified;
using field::Range;
using field::Relative;
using field::Required;
using field::Selector;
using field::Subdomain;
using field::Trimmed;
using field::Unique;

constexpr std::string_view kUserRange = "0 2147483647";
constexpr std::string_view kWeight = "1 100 must be in the range 1-100";
constexpr std::string_view kSeccomp = "Localhost|RuntimeDefault|Unconfined";

// clang-format off
constexpr FieldRule kPod[] = {
    {"activeDeadlineSeconds", Range, "1 2147483647"},
    {"terminationGracePeriodSeconds", Natural},
    {"restartPolicy", OneOf, "Always|OnFailure|Never"},
    {"dnsPolicy", OneOf, "ClusterFirst|ClusterFirstWithHostNet|Default|None"},
    {"hostname", Label}, {"subdomain", Label},
    {"nodeSelector", Labels},
    {"nodeName", Subdomain}, {"serviceAccountName", Subdomain},
    {"dnsConfig.nameservers[]", Address},
    {"hostAliases[].ip", Address}, {"hostAliases[].hostnames[]", Subdomain},
    {"readinessGates[].conditionType", Qualified},
    {"schedulingGates[].~name", Qualified},
    {"topologySpreadConstraints[].maxSkew", AtLeast, "1 must be greater than zero"},
    {"topologySpreadConstraints[].topologyKey", Required, "can not be empty"},
    {"topologySpreadConstraints[].whenUnsatisfiable", OneOf, "DoNotSchedule|ScheduleAnyway"},
    {"topologySpreadConstraints[].minDomains", AtLeast, "1 must be greater than zero"},
    {"topologySpreadConstraints[].nodeAffinityPolicy", OneOf, "Honor|Ignore"},
    {"topologySpreadConstraints[].nodeTaintsPolicy", OneOf, "Honor|Ignore"},
    {"topologySpreadConstraints[].labelSelector", Selector},
    {"tolerations[].key", Qualified},

    {"affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms", Required,
     "must have at least one node selector term"},
    {"affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[]", NodeTerm},
    {"affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[].weight", Range, kWeight},
    {"affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[].preference", NodeTerm},
    {"affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[].topologyKey", Required, "can not be empty"},
    {"affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[].labelSelector", Selector},
    {"affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[].weight", Range, kWeight},
    {"affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[].topologyKey", Required, "can not be empty"},
    {"affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[].labelSelector", Selector},
    {"affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[].weight", Range, kWeight},

    {"securityContext.runAsUser", Range, kUserRange}, {"securityContext.runAsGroup", Range, kUserRange},
    {"securityContext.fsGroup", Range, kUserRange},
    {"securityContext.supplementalGroups[]", Range, kUserRange},
    {"securityContext.fsGroupChangePolicy", OneOf, "Always|OnRootMismatch"},
    {"securityContext.supplementalGroupsPolicy", OneOf, "Merge|Strict"},
    {"securityContext.sysctls[].name", Required}, {"securityContext.sysctls", Unique, "name"},
    {"securityContext.seccompProfile.type", OneOf, kSeccomp},

    {"volumes[].hostPath.path", NoBacksteps},
    {"volumes[].hostPath.type", OneOf,
     "|BlockDevice|CharDevice|Directory|DirectoryOrCreate|File|FileOrCreate|Socket"},
    {"volumes[].configMap.defaultMode", Mode}, {"volumes[].secret.defaultMode", Mode},
    {"volumes[].projected.defaultMode", Mode}, {"volumes[].downwardAPI.defaultMode", Mode},
    {"volumes[].configMap.items[].key", Required}, {"volumes[].configMap.items[].path", Required},
    {"volumes[].configMap.items[].path", Relative}, {"volumes[].configMap.items[].mode", Mode},
    {"volumes[].secret.items[].key", Required}, {"volumes[].secret.items[].path", Required},
    {"volumes[].secret.items[].path", Relative}, {"volumes[].secret.items[].mode", Mode},
    {"volumes[].downwardAPI.~items[-].path", Required}, {"volumes[].downwardAPI.~items[-].path", Relative},
    {"volumes[].downwardAPI.~items[-].mode", Mode},
    {"volumes[].downwardAPI.~items[-].fieldRef.fieldPath", Required},
    {"volumes[].downwardAPI.~items[-].resourceFieldRef.containerName", Required},
    {"volumes[].projected.sources[].configMap.name", Required},
    {"volumes[].projected.sources[].configMap.items[].path", Relative},
    {"volumes[].projected.sources[].secret.name", Required},
    {"volumes[].projected.sources[].secret.items[].path", Relative},
    {"volumes[].projected.sources[].serviceAccountToken.path", Required},
    {"volumes[].projected.sources[].serviceAccountToken.path", Relative},
    {"volumes[].projected.sources[].serviceAccountToken.expirationSeconds", AtLeast,
     "600 may not specify a duration less than 10 minutes"},
    {"volumes[].ephemeral.volumeClaimTemplate.metadata.name", Absent, "cannot be set"},
    {"volumes[].csi.nodePublishSecretRef.name", Required},
    {"volumes[].nfs.server", Required}, {"volumes[].nfs.path", Required}, {"volumes[].nfs.path", Absolute},
    {"volumes[].image.reference", Required}, {"volumes[].gitRepo.repository", Required},
};

constexpr FieldRule kProbe[] = {
    {"terminationGracePeriodSeconds", AtLeast, "1 must be greater than 0"},
    {"httpGet.httpHeaders[-].~name", HeaderName}, {"httpGet.port", PortName}, {"tcpSocket.port", PortName},
    {"httpGet.scheme", OneOf, "HTTP|HTTPS"},
    {"initialDelaySeconds", Natural}, {"timeoutSeconds", Natural}, {"periodSeconds", Natural},
    {"successThreshold", Natural}, {"failureThreshold", Natural},
};

constexpr FieldRule kContainer[] = {
    {"image", Trimmed},
    {"imagePullPolicy", OneOf, "Always|IfNotPresent|Never"},
    {"terminationMessagePolicy", OneOf, "File|FallbackToLogsOnError"},
    {"ports[].name", PortName},
    {"resizePolicy[-].~resourceName", OneOf, "cpu|memory"},
    {"resizePolicy[-].~restartPolicy", OneOf, "NotRequired|RestartContainer"},
    {"volumeMounts[-].subPath", Relative}, {"volumeMounts[-].subPathExpr", Relative},
    {"volumeMounts[-].mountPropagation", OneOf, "Bidirectional|HostToContainer|None"},
    {"volumeMounts[-].recursiveReadOnly", OneOf, "Disabled|Enabled|IfPossible"},
    {"volumeDevices[].devicePath", NoBacksteps},
    {"env[].valueFrom.configMapKeyRef.key", ConfigKey}, {"env[].valueFrom.secretKeyRef.key", ConfigKey},
    {"env[].valueFrom.resourceFieldRef.resource", Required},
    {"env[].valueFrom.resourceFieldRef.resource", OneOf,
     "limits.cpu|limits.ephemeral-storage|limits.memory|requests.cpu|requests.ephemeral-storage|requests.memory"},
    {"envFrom[].configMapRef.name", Required}, {"envFrom[].secretRef.name", Required},
    {"securityContext.runAsUser", Range, kUserRange}, {"securityContext.runAsGroup", Range, kUserRange},
    {"securityContext.procMount", OneOf, "Default|Unmasked"},
    {"securityContext.seccompProfile.type", OneOf, kSeccomp},
    {"securityContext.appArmorProfile.type", OneOf, kSeccomp},
    {"readinessProbe.terminationGracePeriodSeconds", Absent, "must not be set for readinessProbes"},
};
// clang-format on

}  // namespace

const std::span<const FieldRule> kPodFields = kPod;
const std::span<const FieldRule> kContainerFields = kContainer;
const std::span<const FieldRule> kProbeFields = kProbe;

}  // namespace thinsnap::objects
