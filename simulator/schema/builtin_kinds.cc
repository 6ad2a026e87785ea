// The table of built-in kinds. A row is what discovery, tables, selectors and the rules of writes
// need to know.
#include <algorithm>
#include <string_view>

#include "simulator/schema/kinds.h"

namespace thinsnap::schema {
namespace {

// flags: n namespaced, s status subresource, g generation, G graceful deletion, r DELETE answers
// the object, c PUT creates, v updates need a resourceVersion, x not stored (reviews: create only),
// d no deletecollection. subresources: "name:Kind[@group/version]:verb,verb"; status comes by its
// flag, scale by `scale`. columns: "Name[:type][*]" separated by |, * for priority 1; Name is there
// already. The type is string by default.
struct Row {
  const char *group, *version, *resource, *kind, *short_names, *categories, *flags, *message,
      *subresources, *selectable, *columns;
};

constexpr const char* kScale = "scale:Scale@autoscaling/v1:get,patch,update";

// clang-format off
constexpr Row kRows[] = {
    {"", "v1", "bindings", "Binding", "", "", "nx", "core.v1.Binding", "", "", ""},
    {"", "v1", "configmaps", "ConfigMap", "cm", "", "n", "core.v1.ConfigMap", "", "", "Data|Age"},
    {"", "v1", "endpoints", "Endpoints", "ep", "", "nc", "core.v1.Endpoints", "", "", "Endpoints|Age"},
    {"", "v1", "events", "Event", "ev", "", "nc", "core.v1.Event", "",
     "involvedObject.apiVersion involvedObject.fieldPath involvedObject.kind involvedObject.name involvedObject.namespace "
     "involvedObject.resourceVersion involvedObject.uid reason reportingComponent source type",
     "Last Seen|Type|Reason|Object|Subobject*|Source*|Message|First Seen*|Count*|Name*"},
    {"", "v1", "limitranges", "LimitRange", "limits", "", "nc", "core.v1.LimitRange", "", "", "Created At:date"},
    {"", "v1", "namespaces", "Namespace", "ns", "", "sd", "core.v1.Namespace", "finalize:Namespace:update", "name status.phase",
     "Status|Age"},
    {"", "v1", "nodes", "Node", "no", "", "s", "core.v1.Node", "", "spec.unschedulable",
     "Status|Roles|Age|Version|Internal-IP*|External-IP*|OS-Image*|Kernel-Version*|Container-Runtime*"},
    {"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "pvc", "", "nsr", "core.v1.PersistentVolumeClaim", "", "",
     "Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|VolumeMode*"},
    {"", "v1", "persistentvolumes", "PersistentVolume", "pv", "", "sr", "core.v1.PersistentVolume", "", "",
     "Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|VolumeMode*"},
    {"", "v1", "pods", "Pod", "po", "all", "nsgGr", "core.v1.Pod",
     "attach:PodAttachOptions:create,get binding:Binding:create ephemeralcontainers:Pod:get,patch,update "
     "eviction:Eviction@policy/v1:create exec:PodExecOptions:create,get log:Pod:get "
     "portforward:PodPortForwardOptions:create,get resize:Pod:get,patch,update",
     "spec.hostNetwork spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName "
     "status.nominatedNodeName status.phase status.podIP status.podIPs",
     "Ready|Status|Restarts|Age|IP*|Node*|Nominated Node*|Readiness Gates*"},
    {"", "v1", "podtemplates", "PodTemplate", "", "", "ngr", "core.v1.PodTemplate", "", "", "Containers|Images|Pod Labels"},
    {"", "v1", "replicationcontrollers", "ReplicationController", "rc", "all", "nsg", "core.v1.ReplicationController", kScale,
     "status.replicas", "Desired:integer|Current:integer|Ready:integer|Age|Containers*|Images*|Selector*"},
    {"", "v1", "resourcequotas", "ResourceQuota", "quota", "", "nsr", "core.v1.ResourceQuota", "", "", "Request|Limit|Age"},
    {"", "v1", "secrets", "Secret", "", "", "n", "core.v1.Secret", "", "type", "Type|Data|Age"},
    {"", "v1", "serviceaccounts", "ServiceAccount", "sa", "", "nr", "core.v1.ServiceAccount",
     "token:TokenRequest@authentication.k8s.io/v1:create", "", "Secrets|Age"},
    {"", "v1", "services", "Service", "svc", "all", "nsc", "core.v1.Service", "", "spec.clusterIP spec.type",
     "Type|Cluster-IP|External-IP|Port(s)|Age|Selector*"},

    {"apps", "v1", "controllerrevisions", "ControllerRevision", "", "", "n", "apps.v1.ControllerRevision", "", "",
     "Controller|Revision:integer|Age"},
    {"apps", "v1", "daemonsets", "DaemonSet", "ds", "all", "nsg", "apps.v1.DaemonSet", "", "",
     "Desired:integer|Current:integer|Ready:integer|Up-to-date:integer|Available:integer|Node Selector|Age|Containers*|"
     "Images*|Selector*"},
    {"apps", "v1", "deployments", "Deployment", "deploy", "all", "nsg", "apps.v1.Deployment", kScale, "",
     "Ready|Up-to-date|Available|Age|Containers*|Images*|Selector*"},
    {"apps", "v1", "replicasets", "ReplicaSet", "rs", "all", "nsg", "apps.v1.ReplicaSet", kScale, "status.replicas",
     "Desired:integer|Current:integer|Ready:integer|Age|Containers*|Images*|Selector*"},
    {"apps", "v1", "statefulsets", "StatefulSet", "sts", "all", "nsg", "apps.v1.StatefulSet", kScale, "",
     "Ready|Age|Containers*|Images*"},

    {"events.k8s.io", "v1", "events", "Event", "ev", "", "nc", "events.v1.Event", "",
     "reason regarding.apiVersion regarding.fieldPath regarding.kind regarding.name regarding.namespace "
     "regarding.resourceVersion regarding.uid reportingController type",
     "Last Seen|Type|Reason|Object|Subobject*|Source*|Message|First Seen*|Count*|Name*"},

    {"authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", "", "", "x",
     "authentication.v1.SelfSubjectReview", "", "", ""},
    {"authentication.k8s.io", "v1", "tokenreviews", "TokenReview", "", "", "x", "authentication.v1.TokenReview", "", "", ""},
    {"authorization.k8s.io", "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", "", "", "nx",
     "authorization.v1.LocalSubjectAccessReview", "", "", ""},
    {"authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", "", "", "x",
     "authorization.v1.SelfSubjectAccessReview", "", "", ""},
    {"authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", "", "", "x",
     "authorization.v1.SelfSubjectRulesReview", "", "", ""},
    {"authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", "", "", "x",
     "authorization.v1.SubjectAccessReview", "", "", ""},

    {"batch", "v1", "cronjobs", "CronJob", "cj", "all", "nsg", "batch.v1.CronJob", "", "",
     "Schedule|Timezone|Suspend:boolean|Active:integer|Last Schedule|Age|Containers*|Images*|Selector*"},
    {"batch", "v1", "jobs", "Job", "", "all", "nsg", "batch.v1.Job", "", "status.successful",
     "Status|Completions|Duration|Age|Containers*|Images*|Selector*"},

    {"rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", "", "", "c",
     "rbac.v1.ClusterRoleBinding", "", "", "Role|Age|Users*|Groups*|ServiceAccounts*"},
    {"rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", "", "", "c", "rbac.v1.ClusterRole", "", "",
     "Created At:date"},
    {"rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", "", "", "nc", "rbac.v1.RoleBinding", "", "",
     "Role|Age|Users*|Groups*|ServiceAccounts*"},
    {"rbac.authorization.k8s.io", "v1", "roles", "Role", "", "", "nc", "rbac.v1.Role", "", "", "Created At:date"},

    {"storage.k8s.io", "v1", "csidrivers", "CSIDriver", "", "", "rv", "storage.v1.CSIDriver", "", "",
     "AttachRequired:boolean|PodInfoOnMount:boolean|StorageCapacity:boolean|TokenRequests|RequiresRepublish:boolean|Modes|Age"},
    {"storage.k8s.io", "v1", "csinodes", "CSINode", "", "", "rv", "storage.v1.CSINode", "", "", "Drivers:integer|Age"},
    {"storage.k8s.io", "v1", "csistoragecapacities", "CSIStorageCapacity", "", "", "n", "storage.v1.CSIStorageCapacity", "", "",
     "StorageClass|Capacity"},
    {"storage.k8s.io", "v1", "storageclasses", "StorageClass", "sc", "", "r", "storage.v1.StorageClass", "", "",
     "Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age"},
    {"storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", "", "", "srv", "storage.v1.VolumeAttachment", "", "",
     "Attacher|PV|Node|Attached:boolean|Age"},
    {"storage.k8s.io", "v1", "volumeattributesclasses", "VolumeAttributesClass", "vac", "", "r",
     "storage.v1.VolumeAttributesClass", "", "", "DriverName|Age"},

    {"apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", "crd crds", "api-extensions", "sgv",
     "apiextensions.v1.CustomResourceDefinition", "", "", "Created At:date"},
    {"scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", "pc", "", "g", "scheduling.v1.PriorityClass", "", "",
     "Value:integer|Global-Default:boolean|Age|PreemptionPolicy"},
    {"coordination.k8s.io", "v1", "leases", "Lease", "", "", "ncv", "coordination.v1.Lease", "", "", "Holder|Age"},

    // Kept and shown, so that manifests that have them apply; nobody acts on them.
    {"autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "hpa", "all", "ns",
     "autoscaling.v2.HorizontalPodAutoscaler", "", "", "Reference|Targets|MinPods|MaxPods|Replicas|Age"},
    {"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", "", "", "ng", "discovery.v1.EndpointSlice", "", "",
     "AddressType|Ports|Endpoints|Age"},
    {"networking.k8s.io", "v1", "ingressclasses", "IngressClass", "", "", "g", "networking.v1.IngressClass", "", "",
     "Controller|Parameters|Age"},
    {"networking.k8s.io", "v1", "ingresses", "Ingress", "ing", "", "nsg", "networking.v1.Ingress", "", "",
     "Class|Hosts|Address|Ports|Age"},
    {"networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "netpol", "", "ng", "networking.v1.NetworkPolicy", "", "",
     "Pod-Selector|Age"},
    {"policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "pdb", "", "nsg", "policy.v1.PodDisruptionBudget", "", "",
     "Min Available|Max Unavailable|Allowed Disruptions:integer|Age"},
};
// clang-format on

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto end = std::min(text.find(separator), text.size());
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

Subresource ParseSubresource(std::string_view text) {
  const auto parts = Split(text, ':');
  Subresource subresource;
  subresource.name = parts[0];
  const auto kind = Split(parts[1], '@');
  subresource.kind = kind[0];
  if (kind.size() > 1) {
    const auto group = Split(kind[1], '/');
    subresource.group = group[0];
    subresource.version = group[1];
  }
  subresource.verbs = Split(parts[2], ',');
  return subresource;
}

std::vector<Column> ParseColumns(std::string_view text) {
  std::vector<Column> columns;
  if (text.empty()) return columns;
  columns.push_back({"Name", "string", "name", "Name must be unique within a namespace.", "", 0});
  for (auto& part : Split(text, '|')) {
    Column column;
    if (part.ends_with('*')) {
      column.priority = 1;
      part.pop_back();
    }
    const auto fields = Split(part, ':');
    column.name = fields[0];
    column.type = fields.size() > 1 ? fields[1] : "string";
    if (fields.size() > 2) column.format = fields[2];
    columns.push_back(std::move(column));
  }
  return columns;
}

KindVersion ParseVersion(const Row& row) {
  KindVersion version;
  version.version = row.version;
  version.schema = BuiltinSchema(row.message);
  ASSERT(version.schema != nullptr);
  version.columns = ParseColumns(row.columns);
  // Events are known by what they are about; their name comes last.
  if (std::string_view(row.kind) == "Event") version.columns.erase(version.columns.begin());
  for (const auto& text : Split(row.subresources, ' '))
    version.subresources.push_back(ParseSubresource(text));
  if (std::string_view(row.flags).find('s') != std::string_view::npos) {
    version.subresources.push_back({"status", row.kind, "", "", {"get", "patch", "update"}});
  }
  version.selectable_fields = Split(row.selectable, ' ');
  if (row.subresources == kScale) {
    version.scale_spec_path = "spec.replicas";
    version.scale_status_path = "status.replicas";
    version.scale_selector_path = "spec.selector";
  }
  return version;
}

std::shared_ptr<Kind> ParseKind(const Row& row) {
  const std::string_view flags = row.flags;
  const auto has = [flags](char flag) { return flags.find(flag) != std::string_view::npos; };
  auto kind = std::make_shared<Kind>();
  kind->group = row.group;
  kind->resource = row.resource;
  kind->kind = row.kind;
  kind->list_kind = kind->kind + "List";
  for (const char c : kind->kind)
    kind->singular += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  kind->short_names = Split(row.short_names, ' ');
  kind->categories = Split(row.categories, ' ');
  kind->namespaced = has('n');
  kind->has_status = has('s');
  kind->has_generation = has('g');
  kind->graceful_delete = has('G');
  kind->delete_returns_object = has('r');
  kind->create_on_update = has('c');
  kind->rv_required_on_update = has('v');
  kind->stored = !has('x');
  if (has('x')) {
    kind->verbs = {"create"};
  } else {
    kind->verbs = {"create", "delete", "deletecollection", "get",
                   "list",   "patch",  "update",           "watch"};
    if (has('d')) std::erase(kind->verbs, "deletecollection");
  }
  kind->versions.push_back(ParseVersion(row));
  kind->storage_version = row.version;
  kind->storage_resource = kind->group == "events.k8s.io" ? "events" : kind->group_resource();
  return kind;
}

}  // namespace

std::vector<KindRef> BuiltinKinds() {
  std::vector<KindRef> kinds;
  for (const Row& row : kRows) {
    auto kind = ParseKind(row);
    if (kind->resource == "cronjobs") {
      // Debian's kubectl 1.20 asks for it by name; nobody is led to it.
      auto beta = kind->versions.front();
      beta.version = "v1beta1";
      beta.deprecation_warning =
          "batch/v1beta1 CronJob is deprecated in v1.21+, unavailable in v1.25+; use batch/v1 "
          "CronJob";
      kind->versions.push_back(std::move(beta));
    }
    if (kind->resource == "horizontalpodautoscalers") {
      // `kubectl autoscale` writes it up to 1.32.
      auto simple = kind->versions.front();
      simple.version = "v1";
      simple.schema = BuiltinSchema("autoscaling.v1.HorizontalPodAutoscaler");
      kind->versions.push_back(std::move(simple));
    }
    kinds.push_back(std::move(kind));
  }
  return kinds;
}

}  // namespace thinsnap::schema
