#include "simulator/schema/defaults.h"

#include <map>
#include <string>
#include <string_view>

#include "base/core/bytes.h"
#include "simulator/schema/crd.h"

namespace thinsnap::schema {
namespace {

// Sets the member where it is absent.
void Default(Json& object, std::string_view path, Json value) {
  if (Find(object, path) == nullptr) Set(object, path, std::move(value));
}

// Sets the member where it is absent or an empty text, which Go's decoder leaves for either.
void DefaultText(Json& object, std::string_view path, std::string_view value) {
  if (StringAt(object, path).empty()) Set(object, path, Json(value));
}

// Runs over the elements of an array.
template <typename Visit>
void ForEach(Json& object, std::string_view path, Visit visit) {
  Json* array = FindMutable(object, path);
  if (array == nullptr || !array->is_array()) return;
  for (Json& element : array->get_array()) visit(element);
}

// A tag that moves is pulled each time.
std::string PullPolicy(std::string_view image) {
  if (image.find('@') != std::string_view::npos) return "IfNotPresent";
  const auto colon = image.rfind(':');
  const auto slash = image.rfind('/');
  const bool tagged =
      colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  return !tagged || image.substr(colon + 1) == "latest" ? "Always" : "IfNotPresent";
}

void DefaultHttpGet(Json& handler) {
  if (Find(handler, "httpGet") == nullptr) return;
  Default(handler, "httpGet.path", Json("/"));
  Default(handler, "httpGet.scheme", Json("HTTP"));
}

void DefaultProbe(Json& container, std::string_view path) {
  Json* probe = FindMutable(container, path);
  if (probe == nullptr || !probe->is_object()) return;
  Default(*probe, "timeoutSeconds", Json(1));
  Default(*probe, "periodSeconds", Json(10));
  Default(*probe, "successThreshold", Json(1));
  Default(*probe, "failureThreshold", Json(3));
  DefaultHttpGet(*probe);
  if (Find(*probe, "grpc") != nullptr) Default(*probe, "grpc.service", Json(""));
}

void DefaultFieldSource(Json& source) {
  if (Find(source, "fieldRef") != nullptr) Default(source, "fieldRef.apiVersion", Json("v1"));
  if (Find(source, "resourceFieldRef") != nullptr)
    Default(source, "resourceFieldRef.divisor", Json("0"));
}

void DefaultContainer(Json& container) {
  Default(container, "imagePullPolicy", Json(PullPolicy(StringAt(container, "image"))));
  Default(container, "resources", Json(JsonObject()));
  Default(container, "terminationMessagePath", Json("/dev/termination-log"));
  Default(container, "terminationMessagePolicy", Json("File"));
  for (const char* probe : {"livenessProbe", "readinessProbe", "startupProbe"})
    DefaultProbe(container, probe);
  for (const char* hook : {"lifecycle.postStart", "lifecycle.preStop"}) {
    if (Json* handler = FindMutable(container, hook)) DefaultHttpGet(*handler);
  }
  ForEach(container, "ports", [](Json& port) { Default(port, "protocol", Json("TCP")); });
  ForEach(container, "env", [](Json& variable) {
    if (Json* source = FindMutable(variable, "valueFrom")) DefaultFieldSource(*source);
  });
  // Requests follow limits.
  if (const JsonObject* limits = FindObject(container, "resources.limits")) {
    const JsonObject copy = *limits;
    for (const auto& [key, value] : copy) {
      if (StringIn(container, "resources.requests", key).empty())
        EnsureObject(container, "resources.requests")[key] = value;
    }
  }
}

void DefaultVolume(Json& volume) {
  // Without any source it is an empty folder.
  if (volume.is_object() && volume.get_object().size() <= 1)
    Default(volume, "emptyDir", Json(JsonObject()));
  for (const char* source : {"configMap", "secret", "downwardAPI", "projected"}) {
    if (Find(volume, source) != nullptr)
      Default(volume, std::string(source) + ".defaultMode", Json(420));
  }
  if (Find(volume, "hostPath") != nullptr) Default(volume, "hostPath.type", Json(""));
  ForEach(volume, "downwardAPI.items", DefaultFieldSource);
  if (Find(volume, "ephemeral.volumeClaimTemplate.spec") != nullptr)
    Default(volume, "ephemeral.volumeClaimTemplate.spec.volumeMode", Json("Filesystem"));
  if (Find(volume, "image") != nullptr)
    Default(volume, "image.pullPolicy", Json(PullPolicy(StringAt(volume, "image.reference"))));
  ForEach(volume, "projected.sources", [](Json& source) {
    if (Find(source, "serviceAccountToken") != nullptr) {
      Default(source, "serviceAccountToken.expirationSeconds", Json(3600));
    }
    ForEach(source, "downwardAPI.items", DefaultFieldSource);
  });
}

void DefaultPodSpec(Json& object, std::string_view path, const char* restart_policy = "Always") {
  Json* spec = FindMutable(object, path);
  if (spec == nullptr || !spec->is_object()) return;
  Default(*spec, "dnsPolicy", Json("ClusterFirst"));
  Default(*spec, "restartPolicy", Json(restart_policy));
  Default(*spec, "schedulerName", Json("default-scheduler"));
  Default(*spec, "securityContext", Json(JsonObject()));
  Default(*spec, "terminationGracePeriodSeconds", Json(30));
  if (IntAt(*spec, "terminationGracePeriodSeconds") < 0)
    Set(*spec, "terminationGracePeriodSeconds", Json(1));
  if (const std::string account = StringAt(*spec, "serviceAccountName"); !account.empty()) {
    Default(*spec, "serviceAccount", Json(account));
  } else if (const std::string old_name = StringAt(*spec, "serviceAccount"); !old_name.empty()) {
    Set(*spec, "serviceAccountName", Json(old_name));
  }
  ForEach(*spec, "containers", DefaultContainer);
  ForEach(*spec, "ephemeralContainers", DefaultContainer);
  ForEach(*spec, "initContainers", DefaultContainer);
  ForEach(*spec, "volumes", DefaultVolume);
  if (!BoolAt(*spec, "hostNetwork")) return;
  // On the host's network a port is the host's own.
  for (const char* list : {"containers", "initContainers"}) {
    ForEach(*spec, list, [](Json& container) {
      ForEach(container, "ports", [](Json& port) {
        if (IntAt(port, "hostPort") == 0) Set(port, "hostPort", Json(IntAt(port, "containerPort")));
      });
    });
  }
}

void DefaultClaim(Json& claim, std::string_view spec = "spec") {
  Default(claim, std::string(spec) + ".volumeMode", Json("Filesystem"));
}

void DefaultPod(Json& pod) {
  DefaultPodSpec(pod, "spec");
  Default(pod, "spec.enableServiceLinks", Json(true));
}

void DefaultJobSpec(Json& object, const std::string& at, bool of_job) {
  DefaultPodSpec(object, at + "template.spec");
  if (!of_job) return;
  // Neither given: one pod. Only parallelism given: a work queue.
  if (Find(object, at + "completions") == nullptr && Find(object, at + "parallelism") == nullptr) {
    Set(object, at + "completions", Json(1));
  }
  Default(object, at + "parallelism", Json(1));
  const bool by_index = Find(object, at + "backoffLimitPerIndex") != nullptr;
  Default(object, at + "backoffLimit", Json(by_index ? 2147483647 : 6));
  Default(object, at + "completionMode", Json("NonIndexed"));
  Default(object, at + "suspend", Json(false));
  Default(object, at + "manualSelector", Json(false));
  const bool fails = Find(object, at + "podFailurePolicy") != nullptr;
  Default(object, at + "podReplacementPolicy", Json(fails ? "Failed" : "TerminatingOrFailed"));
}

void DefaultJob(Json& job) {
  // A Job without labels takes those of its template.
  if (FindObject(job, "metadata.labels") == nullptr) {
    if (const Json* labels = Find(job, "spec.template.metadata.labels")) {
      const Json copy = *labels;
      Set(job, "metadata.labels", copy);
    }
  }
  DefaultJobSpec(job, "spec.", true);
}

void DefaultCronJob(Json& cron_job) {
  Default(cron_job, "spec.concurrencyPolicy", Json("Allow"));
  Default(cron_job, "spec.suspend", Json(false));
  Default(cron_job, "spec.successfulJobsHistoryLimit", Json(3));
  Default(cron_job, "spec.failedJobsHistoryLimit", Json(1));
  DefaultJobSpec(cron_job, "spec.jobTemplate.spec.", false);
}

void DefaultDeployment(Json& deployment) {
  Default(deployment, "spec.replicas", Json(1));
  Default(deployment, "spec.strategy.type", Json("RollingUpdate"));
  if (StringAt(deployment, "spec.strategy.type") == "RollingUpdate") {
    Default(deployment, "spec.strategy.rollingUpdate.maxUnavailable", Json("25%"));
    Default(deployment, "spec.strategy.rollingUpdate.maxSurge", Json("25%"));
  }
  Default(deployment, "spec.revisionHistoryLimit", Json(10));
  Default(deployment, "spec.progressDeadlineSeconds", Json(600));
  DefaultPodSpec(deployment, "spec.template.spec");
}

void DefaultStatefulSet(Json& set) {
  Default(set, "spec.replicas", Json(1));
  Default(set, "spec.podManagementPolicy", Json("OrderedReady"));
  Default(set, "spec.updateStrategy.type", Json("RollingUpdate"));
  if (StringAt(set, "spec.updateStrategy.type") == "RollingUpdate") {
    Default(set, "spec.updateStrategy.rollingUpdate.partition", Json(0));
  }
  Default(set, "spec.revisionHistoryLimit", Json(10));
  Default(set, "spec.persistentVolumeClaimRetentionPolicy.whenDeleted", Json("Retain"));
  Default(set, "spec.persistentVolumeClaimRetentionPolicy.whenScaled", Json("Retain"));
  DefaultPodSpec(set, "spec.template.spec");
  ForEach(set, "spec.volumeClaimTemplates", [](Json& claim) {
    Default(claim, "apiVersion", Json("v1"));
    Default(claim, "kind", Json("PersistentVolumeClaim"));
    DefaultClaim(claim);
    Default(claim, "status", Json(JsonObject({{"phase", "Pending"}})));
  });
}

void DefaultDaemonSet(Json& set) {
  Default(set, "spec.updateStrategy.type", Json("RollingUpdate"));
  if (StringAt(set, "spec.updateStrategy.type") == "RollingUpdate") {
    Default(set, "spec.updateStrategy.rollingUpdate.maxUnavailable", Json(1));
    Default(set, "spec.updateStrategy.rollingUpdate.maxSurge", Json(0));
  }
  Default(set, "spec.revisionHistoryLimit", Json(10));
  DefaultPodSpec(set, "spec.template.spec");
}

void DefaultReplicaSet(Json& set) {
  Default(set, "spec.replicas", Json(1));
  DefaultPodSpec(set, "spec.template.spec");
}

// Plain text is kept as data.
void DefaultSecret(Json& secret) {
  Default(secret, "type", Json("Opaque"));
  const JsonObject* plain = FindObject(secret, "stringData");
  if (plain == nullptr) return;
  JsonObject data;
  if (const JsonObject* given = FindObject(secret, "data")) data = *given;
  for (const auto& [key, value] : *plain) {
    if (!value.is_string()) continue;
    const auto& text = value.get_string();
    data[key] = Base64Encode(AsBytes({text.data(), text.size()}));
  }
  Set(secret, "data", std::move(data));
  Remove(secret, "stringData");
}

void DefaultService(Json& service) {
  Default(service, "spec.type", Json("ClusterIP"));
  Default(service, "spec.sessionAffinity", Json("None"));
  const std::string type = StringAt(service, "spec.type");
  if (type != "ExternalName") Default(service, "spec.internalTrafficPolicy", Json("Cluster"));
  if (type == "NodePort" || type == "LoadBalancer")
    Default(service, "spec.externalTrafficPolicy", Json("Cluster"));
  if (type == "LoadBalancer") Default(service, "spec.allocateLoadBalancerNodePorts", Json(true));
  if (StringAt(service, "spec.clusterIP") == "None")
    Default(service, "spec.clusterIPs", Json(JsonArray({Json("None")})));
  if (StringAt(service, "spec.sessionAffinity") == "ClientIP")
    Default(service, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", Json(10800));
  ForEach(service, "spec.ports", [](Json& port) {
    Default(port, "protocol", Json("TCP"));
    if (const Json* number = Find(port, "port")) {
      const Json copy = *number;
      Default(port, "targetPort", copy);
    }
  });
}

// What a member of `from` has and `to` lacks.
void DefaultAmounts(Json& item, const char* to, const char* from) {
  const JsonObject* source = FindObject(item, from);
  if (source == nullptr || source->empty()) return;
  const JsonObject amounts = *source;
  JsonObject& target = EnsureObject(item, to);
  for (const auto& [name, value] : amounts) {
    if (!target.contains(name)) target[name] = value;
  }
}

void DefaultLimitRange(Json& range) {
  ForEach(range, "spec.limits", [](Json& item) {
    if (StringAt(item, "type") != "Container") return;
    DefaultAmounts(item, "default", "max");
    DefaultAmounts(item, "defaultRequest", "default");
    DefaultAmounts(item, "defaultRequest", "min");
  });
}

void DefaultStorageClass(Json& storage_class) {
  Default(storage_class, "reclaimPolicy", Json("Delete"));
  Default(storage_class, "volumeBindingMode", Json("Immediate"));
}

void DefaultVolumeObject(Json& volume) {
  Default(volume, "spec.persistentVolumeReclaimPolicy", Json("Retain"));
  Default(volume, "spec.volumeMode", Json("Filesystem"));
  if (Find(volume, "spec.hostPath") != nullptr) Default(volume, "spec.hostPath.type", Json(""));
}

// Who selects nothing selects what it makes.
void DefaultReplicationController(Json& controller) {
  Default(controller, "spec.replicas", Json(1));
  if (const JsonObject* labels = FindObject(controller, "spec.template.metadata.labels")) {
    const JsonObject copy = *labels;
    if (FindObject(controller, "spec.selector") == nullptr) Set(controller, "spec.selector", copy);
    if (FindObject(controller, "metadata.labels") == nullptr)
      Set(controller, "metadata.labels", copy);
  }
  DefaultPodSpec(controller, "spec.template.spec");
}

void DefaultEndpoints(Json& endpoints) {
  ForEach(endpoints, "subsets", [](Json& subset) {
    ForEach(subset, "ports", [](Json& port) { Default(port, "protocol", Json("TCP")); });
  });
}

void DefaultEndpointSlice(Json& slice) {
  ForEach(slice, "ports", [](Json& port) {
    Default(port, "name", Json(""));
    Default(port, "protocol", Json("TCP"));
  });
}

void DefaultNetworkPolicy(Json& policy) {
  for (const char* direction : {"spec.ingress", "spec.egress"}) {
    ForEach(policy, direction, [](Json& rule) {
      ForEach(rule, "ports", [](Json& port) { Default(port, "protocol", Json("TCP")); });
    });
  }
  JsonArray types = {Json("Ingress")};
  if (!ArrayAt(policy, "spec.egress").empty()) types.emplace_back("Egress");
  Default(policy, "spec.policyTypes", Json(std::move(types)));
}

void DefaultAutoscaler(Json& scaler) {
  Default(scaler, "spec.minReplicas", Json(1));
  if (!ArrayAt(scaler, "spec.metrics").empty()) return;
  Set(scaler, "spec.metrics",
      Json(JsonArray({{{"type", "Resource"},
                       {"resource",
                        {{"name", "cpu"},
                         {"target", {{"type", "Utilization"}, {"averageUtilization", 80}}}}}}})));
}

void DefaultNode(Json& node) {
  if (const std::string range = StringAt(node, "spec.podCIDR"); !range.empty())
    Default(node, "spec.podCIDRs", Json(JsonArray({Json(range)})));
  if (const JsonObject* capacity = FindObject(node, "status.capacity")) {
    const JsonObject copy = *capacity;
    Default(node, "status.allocatable", copy);
  }
}

void DefaultCsiDriver(Json& driver) {
  Default(driver, "spec.attachRequired", Json(true));
  Default(driver, "spec.podInfoOnMount", Json(false));
  Default(driver, "spec.storageCapacity", Json(false));
  Default(driver, "spec.fsGroupPolicy", Json("ReadWriteOnceWithFSType"));
  Default(driver, "spec.requiresRepublish", Json(false));
  Default(driver, "spec.seLinuxMount", Json(false));
  Default(driver, "spec.volumeLifecycleModes", Json(JsonArray({Json("Persistent")})));
}

void DefaultRoleRef(Json& binding) {
  DefaultText(binding, "roleRef.apiGroup", "rbac.authorization.k8s.io");
  ForEach(binding, "subjects", [](Json& subject) {
    const std::string kind = StringAt(subject, "kind");
    if (kind == "User" || kind == "Group")
      DefaultText(subject, "apiGroup", "rbac.authorization.k8s.io");
  });
}

}  // namespace

void DefaultBuiltin(const Kind& kind, const KindVersion& version, Json& object) {
  static_cast<void>(version);
  using Function = void (*)(Json&);
  static const std::map<std::string_view, Function> kDefaults = {
      {"pods", DefaultPod},
      {"persistentvolumeclaims", [](Json& claim) { DefaultClaim(claim); }},
      {"persistentvolumes", DefaultVolumeObject},
      {"secrets", DefaultSecret},
      {"services", DefaultService},
      {"limitranges", DefaultLimitRange},
      {"podtemplates", [](Json& pod) { DefaultPodSpec(pod, "template.spec"); }},
      {"jobs.batch", DefaultJob},
      {"cronjobs.batch", DefaultCronJob},
      {"deployments.apps", DefaultDeployment},
      {"statefulsets.apps", DefaultStatefulSet},
      {"daemonsets.apps", DefaultDaemonSet},
      {"replicasets.apps", DefaultReplicaSet},
      {"storageclasses.storage.k8s.io", DefaultStorageClass},
      {"csidrivers.storage.k8s.io", DefaultCsiDriver},
      {"rolebindings.rbac.authorization.k8s.io", DefaultRoleRef},
      {"clusterrolebindings.rbac.authorization.k8s.io", DefaultRoleRef},
      {"customresourcedefinitions.apiextensions.k8s.io", DefaultCrd},
      {"horizontalpodautoscalers.autoscaling", DefaultAutoscaler},
      {"namespaces",
       [](Json& ns) {
         const std::string name = StringAt(ns, "metadata.name");
         if (name.empty()) return;
         JsonObject labels;
         if (const JsonObject* given = FindObject(ns, "metadata.labels")) labels = *given;
         labels["kubernetes.io/metadata.name"] = name;
         Set(ns, "metadata.labels", std::move(labels));
       }},
      {"replicationcontrollers", DefaultReplicationController},
      {"endpoints", DefaultEndpoints},
      {"endpointslices.discovery.k8s.io", DefaultEndpointSlice},
      {"networkpolicies.networking.k8s.io", DefaultNetworkPolicy},
      {"nodes", DefaultNode},
      {"priorityclasses.scheduling.k8s.io",
       [](Json& priority) { Default(priority, "preemptionPolicy", Json("PreemptLowerPriority")); }},
  };
  const auto found = kDefaults.find(kind.group_resource());
  if (found != kDefaults.end()) found->second(object);
}

}  // namespace thinsnap::schema
