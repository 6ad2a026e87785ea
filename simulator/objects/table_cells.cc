#include "simulator/objects/table_cells.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "simulator/objects/jsonpath.h"
#include "simulator/objects/table.h"

namespace thinsnap::objects {
namespace {

// A cell is said in one line of text:
//   .a.b            what the path holds, several joined by commas; "|x" behind it: x when there is
//   nothing (else "") age:.a          the age of a time stamp count:.a,.b     how many members or
//   elements these have together; a number number:.a       a number, 0 when absent bool:.a a
//   boolean, false when absent
//   @name           a function below
using Cells = std::vector<std::string_view>;
constexpr std::string_view kAge = "age:.metadata.creationTimestamp";
constexpr std::string_view kTemplateContainers = ".spec.template.spec.containers[*].name";
constexpr std::string_view kTemplateImages = ".spec.template.spec.containers[*].image";

const std::map<std::string_view, Cells>& Table() {
  static const std::map<std::string_view, Cells> kTable = {
      {"configmaps", {"count:.data,.binaryData", kAge}},
      {"endpoints", {".subsets[*].addresses[*].ip|<none>", kAge}},
      {"events",
       {"@eventLast", ".type", ".reason", "@eventObject", ".involvedObject.fieldPath",
        "@eventSource", ".message", "@eventFirst", "@eventCount", ".metadata.name"}},
      {"limitranges", {".metadata.creationTimestamp"}},
      {"namespaces", {".status.phase", kAge}},
      {"nodes",
       {"@nodeStatus", "@nodeRoles", kAge, ".status.nodeInfo.kubeletVersion",
        ".status.addresses[?(@.type==\"InternalIP\")].address|<none>",
        ".status.addresses[?(@.type==\"ExternalIP\")].address|<none>",
        ".status.nodeInfo.osImage|<unknown>", ".status.nodeInfo.kernelVersion|<unknown>",
        ".status.nodeInfo.containerRuntimeVersion|<unknown>"}},
      {"persistentvolumeclaims",
       {"@claimStatus", ".spec.volumeName", "@claimCapacity", "@claimModes",
        ".spec.storageClassName", ".spec.volumeAttributesClassName|<unset>", kAge,
        ".spec.volumeMode|<unset>"}},
      {"persistentvolumes",
       {".spec.capacity.storage", "@volumeModes", ".spec.persistentVolumeReclaimPolicy",
        "@volumeStatus", "@volumeClaim", ".spec.storageClassName",
        ".spec.volumeAttributesClassName|<unset>", ".status.reason", kAge,
        ".spec.volumeMode|<unset>"}},
      {"pods",
       {"@podReady", "@podStatus", "@podRestarts", kAge, ".status.podIP|<none>",
        ".spec.nodeName|<none>", ".status.nominatedNodeName|<none>", "@podGates"}},
      {"podtemplates",
       {".template.spec.containers[*].name", ".template.spec.containers[*].image",
        "@templateLabels"}},
      {"replicationcontrollers",
       {"number:.spec.replicas", "number:.status.replicas", "number:.status.readyReplicas", kAge,
        kTemplateContainers, kTemplateImages, "@mapSelector"}},
      {"resourcequotas", {"@quotaRequests", "@quotaLimits", kAge}},
      {"secrets", {".type", "count:.data", kAge}},
      {"serviceaccounts", {"count:.secrets", kAge}},
      {"services",
       {".spec.type", ".spec.clusterIP|<none>", "@serviceExternal", "@servicePorts", kAge,
        "@mapSelector"}},
      {"controllerrevisions.apps", {"@controller", "number:.revision", kAge}},
      {"daemonsets.apps",
       {"number:.status.desiredNumberScheduled", "number:.status.currentNumberScheduled",
        "number:.status.numberReady", "number:.status.updatedNumberScheduled",
        "number:.status.numberAvailable", "@nodeSelector", kAge, kTemplateContainers,
        kTemplateImages, "@selector"}},
      {"deployments.apps",
       {"@readyReplicas", "number:.status.updatedReplicas", "number:.status.availableReplicas",
        kAge, kTemplateContainers, kTemplateImages, "@selector"}},
      {"replicasets.apps",
       {"number:.spec.replicas", "number:.status.replicas", "number:.status.readyReplicas", kAge,
        kTemplateContainers, kTemplateImages, "@selector"}},
      {"statefulsets.apps", {"@readyReplicas", kAge, kTemplateContainers, kTemplateImages}},
      {"cronjobs.batch",
       {".spec.schedule", ".spec.timeZone|<none>", "@suspend", "count:.status.active",
        "@lastSchedule", kAge, ".spec.jobTemplate.spec.template.spec.containers[*].name",
        ".spec.jobTemplate.spec.template.spec.containers[*].image", "@cronSelector"}},
      {"jobs.batch",
       {"@jobStatus", "@jobCompletions", "@jobDuration", kAge, kTemplateContainers, kTemplateImages,
        "@selector"}},
      {"clusterrolebindings.rbac.authorization.k8s.io",
       {"@roleRef", kAge, "@users", "@groups", "@accounts"}},
      {"rolebindings.rbac.authorization.k8s.io",
       {"@roleRef", kAge, "@users", "@groups", "@accounts"}},
      {"clusterroles.rbac.authorization.k8s.io", {".metadata.creationTimestamp"}},
      {"roles.rbac.authorization.k8s.io", {".metadata.creationTimestamp"}},
      {"csidrivers.storage.k8s.io",
       {"@attachRequired", "bool:.spec.podInfoOnMount", "bool:.spec.storageCapacity",
        ".spec.tokenRequests[*].audience|<unset>", "bool:.spec.requiresRepublish",
        ".spec.volumeLifecycleModes[*]|<none>", kAge}},
      {"csinodes.storage.k8s.io", {"count:.spec.drivers", kAge}},
      {"csistoragecapacities.storage.k8s.io", {".storageClassName", ".capacity"}},
      {"storageclasses.storage.k8s.io",
       {".provisioner", ".reclaimPolicy", ".volumeBindingMode", "bool:.allowVolumeExpansion",
        kAge}},
      {"volumeattachments.storage.k8s.io",
       {".spec.attacher", ".spec.source.persistentVolumeName", ".spec.nodeName",
        "bool:.status.attached", kAge}},
      {"volumeattributesclasses.storage.k8s.io", {".driverName", kAge}},
      {"customresourcedefinitions.apiextensions.k8s.io", {".metadata.creationTimestamp"}},
      {"priorityclasses.scheduling.k8s.io",
       {"number:.value", "bool:.globalDefault", kAge, ".preemptionPolicy"}},
      {"leases.coordination.k8s.io", {".spec.holderIdentity", kAge}},
      {"ingresses.networking.k8s.io",
       {".spec.ingressClassName|<none>", ".spec.rules[*].host|*",
        ".status.loadBalancer.ingress[*].ip", "@ingressPorts", kAge}},
      {"ingressclasses.networking.k8s.io",
       {".spec.controller", ".spec.parameters.name|<none>", kAge}},
      {"networkpolicies.networking.k8s.io", {"@podSelector", kAge}},
      {"poddisruptionbudgets.policy",
       {".spec.minAvailable|N/A", ".spec.maxUnavailable|N/A", "number:.status.disruptionsAllowed",
        kAge}},
      {"horizontalpodautoscalers.autoscaling",
       {"@scaleTarget", "@scaleMetrics", ".spec.minReplicas|<unset>", ".spec.maxReplicas",
        ".status.currentReplicas|0", kAge}},
      {"endpointslices.discovery.k8s.io",
       {".addressType", ".ports[*].port|<unset>", ".endpoints[*].addresses[*]|<unset>", kAge}},
  };
  return kTable;
}

std::string Join(const std::vector<const Json*>& values) {
  std::string text;
  for (const Json* value : values) {
    if (!text.empty()) text += ',';
    text += value->is_string() ? std::string(value->get_string()) : ToJson(*value);
  }
  return text;
}

std::string AtPath(std::string_view path, const Json& object) {
  const Result<JsonPath> parsed = JsonPath::Parse(path);
  return parsed.ok() ? Join(parsed->Find(object)) : "";
}

std::string OrNone(const std::string& text) { return text.empty() ? "<none>" : text; }

std::int64_t Count(std::string_view paths, const Json& object) {
  std::int64_t count = 0;
  while (!paths.empty()) {
    const auto end = std::min(paths.find(','), paths.size());
    if (const Json* value = Find(object, paths.substr(1, end - 1))) {
      if (value->is_object()) count += static_cast<std::int64_t>(value->get_object().size());
      if (value->is_array()) count += static_cast<std::int64_t>(value->get_array().size());
    }
    paths.remove_prefix(std::min(end + 1, paths.size()));
  }
  return count;
}

std::string Labels(const Json* labels) {
  std::string text;
  if (labels != nullptr && labels->is_object()) {
    for (const auto& [key, value] : labels->get_object()) {
      if (!text.empty()) text += ',';
      text += std::string(key) + "=" + (value.is_string() ? std::string(value.get_string()) : "");
    }
  }
  return OrNone(text);
}

std::string SelectorText(const Json& selector) {
  std::string text;
  if (const Json* labels = Find(selector, "matchLabels")) text = Labels(labels);
  for (const Json& entry : ArrayAt(selector, "matchExpressions")) {
    if (!text.empty()) text += ',';
    const std::string op = StringAt(entry, "operator"), key = StringAt(entry, "key");
    std::string values;
    for (const Json& value : ArrayAt(entry, "values")) {
      if (!values.empty()) values += ',';
      if (value.is_string()) values += std::string_view(value.get_string());
    }
    if (op == "Exists") text += key;
    if (op == "DoesNotExist") text += "!" + key;
    if (op == "In") text += key + " in (" + values + ")";
    if (op == "NotIn") text += key + " notin (" + values + ")";
  }
  return OrNone(text);
}

std::string AccessModes(const JsonArray& modes) {
  std::string text;
  for (const char* pair :
       {"ReadWriteOnce RWO", "ReadOnlyMany ROX", "ReadWriteMany RWX", "ReadWriteOncePod RWOP"}) {
    const std::string_view both(pair);
    const auto space = both.find(' ');
    const bool has = std::any_of(modes.begin(), modes.end(), [&](const Json& mode) {
      return mode.is_string() && mode.get_string() == both.substr(0, space);
    });
    if (!has) continue;
    if (!text.empty()) text += ',';
    text += both.substr(space + 1);
  }
  return text;
}

bool Deleting(const Json& object) { return Find(object, "metadata.deletionTimestamp") != nullptr; }

std::string NodeStatus(const Json& node) {
  std::string text = "Unknown";
  for (const Json& condition : ArrayAt(node, "status.conditions")) {
    if (StringAt(condition, "type") != "Ready") continue;
    text = StringAt(condition, "status") == "True" ? "Ready" : "NotReady";
  }
  if (BoolAt(node, "spec.unschedulable")) text += ",SchedulingDisabled";
  return text;
}

std::string NodeRoles(const Json& node) {
  constexpr std::string_view kPrefix = "node-role.kubernetes.io/";
  std::string text;
  if (const JsonObject* labels = FindObject(node, "metadata.labels")) {
    for (const auto& [key, value] : *labels) {
      const std::string_view name(key);
      if (!name.starts_with(kPrefix)) continue;
      if (!text.empty()) text += ',';
      text += name.substr(kPrefix.size());
    }
  }
  return OrNone(text);
}

std::string VolumeClaim(const Json& volume) {
  const std::string name = StringAt(volume, "spec.claimRef.name");
  return name.empty() ? "" : StringAt(volume, "spec.claimRef.namespace") + "/" + name;
}

std::string ServiceExternal(const Json& service) {
  if (StringAt(service, "spec.type") == "ExternalName")
    return OrNone(StringAt(service, "spec.externalName"));
  const std::string given = AtPath(".spec.externalIPs[*]", service);
  if (given.empty() && StringAt(service, "spec.type") == "LoadBalancer") return "<pending>";
  return OrNone(given);
}

std::string ServicePorts(const Json& service) {
  std::string text;
  for (const Json& port : ArrayAt(service, "spec.ports")) {
    if (!text.empty()) text += ',';
    text += std::to_string(IntAt(port, "port"));
    if (const std::int64_t node_port = IntAt(port, "nodePort"); node_port > 0) {
      text += ":" + std::to_string(node_port);
    }
    text += "/" + StringAt(port, "protocol", "TCP");
  }
  return OrNone(text);
}

bool HasCondition(const Json& object, std::string_view type) {
  for (const Json& condition : ArrayAt(object, "status.conditions")) {
    if (StringAt(condition, "type") == type) return StringAt(condition, "status") == "True";
  }
  return false;
}

std::string JobStatus(const Json& job) {
  // A Job that ended has the conditions of its way there, too: the end counts.
  for (const char* type : {"Complete", "Failed"}) {
    if (HasCondition(job, type)) return type;
  }
  if (Deleting(job)) return "Terminating";
  for (const char* type : {"Suspended", "FailureTarget", "SuccessCriteriaMet"}) {
    if (HasCondition(job, type)) return type;
  }
  return "Running";
}

std::string JobDuration(const Json& job, WallTime now) {
  const Result<WallTime> started = ParseRfc3339(StringAt(job, "status.startTime"));
  if (!started.ok()) return "";
  const Result<WallTime> ended = ParseRfc3339(StringAt(job, "status.completionTime"));
  if (ended.ok()) return HumanDuration(*ended - *started);
  return HumanDuration(now - *started);
}

std::string JobCompletions(const Json& job) {
  const std::string succeeded = std::to_string(IntAt(job, "status.succeeded"));
  if (const Json* completions = Find(job, "spec.completions")) {
    return succeeded + "/" + ToJson(*completions);
  }
  const std::int64_t parallelism = IntAt(job, "spec.parallelism", 1);
  return succeeded + "/1" + (parallelism > 1 ? " of " + std::to_string(parallelism) : "");
}

std::string Subjects(const Json& binding, std::string_view kind) {
  std::string text;
  for (const Json& subject : ArrayAt(binding, "subjects")) {
    if (StringAt(subject, "kind") != kind) continue;
    if (!text.empty()) text += ", ";
    if (kind == "ServiceAccount") text += StringAt(subject, "namespace") + "/";
    text += StringAt(subject, "name");
  }
  return text;
}

// "requests.storage: 1Gi/10Gi, ..." of those that begin with the prefix, or of the others.
std::string Quota(const Json& quota, bool limits) {
  std::string text;
  const JsonObject* hard = FindObject(quota, "status.hard");
  if (hard == nullptr) hard = FindObject(quota, "spec.hard");
  if (hard == nullptr) return "";
  for (const auto& [key, value] : *hard) {
    if (std::string_view(key).starts_with("limits.") != limits) continue;
    if (!text.empty()) text += ", ";
    const std::string used = StringIn(quota, "status.used", std::string_view(key), "0");
    text += std::string(key) + ": " + used + "/" +
            (value.is_string() ? std::string(value.get_string()) : ToJson(value));
  }
  return text;
}

// Events of either API: the last time they were seen, whichever member says it.
std::string EventLast(const Json& event, WallTime now) {
  for (const char* path : {"series.lastObservedTime", "lastTimestamp", "eventTime",
                           "deprecatedLastTimestamp", "metadata.creationTimestamp"}) {
    if (const std::string time = StringAt(event, path); !time.empty()) return HumanAge(time, now);
  }
  return "<unknown>";
}

std::string EventFirst(const Json& event, WallTime now) {
  const std::string first = StringAt(event, "firstTimestamp", StringAt(event, "eventTime"));
  return HumanAge(first, now);
}

std::string EventObject(const Json& event) {
  const char* reference = Find(event, "involvedObject") != nullptr ? "involvedObject" : "regarding";
  std::string kind = StringAt(event, std::string(reference) + ".kind");
  std::transform(kind.begin(), kind.end(), kind.begin(), [](char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  });
  return kind + "/" + StringAt(event, std::string(reference) + ".name");
}

std::string EventSource(const Json& event) {
  std::string text = StringAt(event, "source.component", StringAt(event, "reportingController"));
  if (text.empty()) text = StringAt(event, "reportingComponent");
  if (const std::string host = StringAt(event, "source.host"); !host.empty()) text += ", " + host;
  return text;
}

// "cpu: <unknown>/80%": nobody measures here.
std::string ScaleMetrics(const Json& scaler) {
  std::string text;
  for (const Json& metric : ArrayAt(scaler, "spec.metrics")) {
    if (!text.empty()) text += ", ";
    const std::int64_t share = IntAt(metric, "resource.target.averageUtilization");
    text += share == 0
                ? StringAt(metric, "type")
                : StringAt(metric, "resource.name") + ": <unknown>/" + std::to_string(share) + "%";
  }
  return OrNone(text);
}

Json Special(std::string_view name, const Json& object, WallTime now) {
  if (name == "podReady") return Json(PodReady(object));
  if (name == "podStatus") return Json(PodStatusText(object));
  if (name == "podRestarts") return Json(PodRestarts(object, now));
  if (name == "podGates") return Json("<none>");
  if (name == "nodeStatus") return Json(NodeStatus(object));
  if (name == "nodeRoles") return Json(NodeRoles(object));
  if (name == "claimStatus") {
    return Json(Deleting(object) ? "Terminating" : StringAt(object, "status.phase"));
  }
  if (name == "claimCapacity") {
    return Json(StringAt(object, "spec.volumeName").empty()
                    ? ""
                    : StringAt(object, "status.capacity.storage"));
  }
  if (name == "claimModes") {
    return Json(StringAt(object, "spec.volumeName").empty()
                    ? ""
                    : AccessModes(ArrayAt(object, "status.accessModes")));
  }
  if (name == "volumeModes") return Json(AccessModes(ArrayAt(object, "spec.accessModes")));
  if (name == "volumeStatus") {
    return Json(Deleting(object) ? "Terminating" : StringAt(object, "status.phase"));
  }
  if (name == "volumeClaim") return Json(VolumeClaim(object));
  if (name == "templateLabels") return Json(Labels(Find(object, "template.metadata.labels")));
  if (name == "mapSelector") return Json(Labels(Find(object, "spec.selector")));
  if (name == "nodeSelector") return Json(Labels(Find(object, "spec.template.spec.nodeSelector")));
  if (name == "selector") {
    const Json* selector = Find(object, "spec.selector");
    return Json(selector == nullptr ? "<none>" : SelectorText(*selector));
  }
  if (name == "cronSelector") {
    const Json* selector = Find(object, "spec.jobTemplate.spec.selector");
    return Json(selector == nullptr ? "<none>" : SelectorText(*selector));
  }
  if (name == "quotaRequests") return Json(Quota(object, false));
  if (name == "quotaLimits") return Json(Quota(object, true));
  if (name == "serviceExternal") {
    return Json(ServiceExternal(object));
  }
  if (name == "servicePorts") return Json(ServicePorts(object));
  if (name == "controller") {
    for (const Json& owner : ArrayAt(object, "metadata.ownerReferences")) {
      if (BoolAt(owner, "controller")) {
        return Json(StringAt(owner, "kind") + "/" + StringAt(owner, "name"));
      }
    }
    return Json("<none>");
  }
  if (name == "readyReplicas") {
    return Json(std::to_string(IntAt(object, "status.readyReplicas")) + "/" +
                std::to_string(IntAt(object, "spec.replicas", 1)));
  }
  if (name == "suspend") return Json(BoolAt(object, "spec.suspend") ? "True" : "False");
  if (name == "lastSchedule") {
    const std::string last = StringAt(object, "status.lastScheduleTime");
    return Json(last.empty() ? "<none>" : HumanAge(last, now));
  }
  if (name == "jobStatus") return Json(JobStatus(object));
  if (name == "jobCompletions") return Json(JobCompletions(object));
  if (name == "jobDuration") return Json(JobDuration(object, now));
  if (name == "roleRef") {
    return Json(StringAt(object, "roleRef.kind") + "/" + StringAt(object, "roleRef.name"));
  }
  if (name == "users") return Json(Subjects(object, "User"));
  if (name == "groups") return Json(Subjects(object, "Group"));
  if (name == "accounts") return Json(Subjects(object, "ServiceAccount"));
  if (name == "attachRequired") return Json(BoolAt(object, "spec.attachRequired", true));
  if (name == "eventLast") return Json(EventLast(object, now));
  if (name == "eventFirst") return Json(EventFirst(object, now));
  if (name == "eventObject") return Json(EventObject(object));
  if (name == "eventSource") return Json(EventSource(object));
  if (name == "eventCount") return Json(std::max<std::int64_t>(1, IntAt(object, "count", 1)));
  if (name == "ingressPorts") return Json(ArrayAt(object, "spec.tls").empty() ? "80" : "80, 443");
  if (name == "podSelector") {
    const Json* selector = Find(object, "spec.podSelector");
    return Json(selector == nullptr ? "<none>" : SelectorText(*selector));
  }
  if (name == "scaleTarget") {
    return Json(StringAt(object, "spec.scaleTargetRef.kind") + "/" +
                StringAt(object, "spec.scaleTargetRef.name"));
  }
  if (name == "scaleMetrics") return Json(ScaleMetrics(object));
  return Json(nullptr);
}

Json Cell(std::string_view said, const Json& object, WallTime now) {
  if (said.starts_with('@')) return Special(said.substr(1), object, now);
  if (said.starts_with("age:")) return Json(HumanAge(StringAt(object, said.substr(5)), now));
  if (said.starts_with("count:")) return Json(Count(said.substr(6), object));
  if (said.starts_with("number:")) return Json(IntAt(object, said.substr(8)));
  if (said.starts_with("bool:")) return Json(BoolAt(object, said.substr(6)));
  const auto bar = said.find('|');
  std::string text = AtPath(said.substr(0, bar), object);
  if (text.empty() && bar != std::string_view::npos) text = said.substr(bar + 1);
  return Json(text);
}

}  // namespace

JsonArray BuiltinCells(const schema::Kind& kind, const Json& object, WallTime now) {
  JsonArray cells;
  cells.push_back(Json(StringAt(object, "metadata.name")));
  const auto found = Table().find(kind.storage_resource);
  if (found == Table().end()) return cells;
  if (kind.storage_resource == "events") cells.clear();
  for (const std::string_view said : found->second) cells.push_back(Cell(said, object, now));
  return cells;
}

}  // namespace thinsnap::objects
