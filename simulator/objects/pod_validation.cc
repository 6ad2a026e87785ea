#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "simulator/objects/kind_fields.h"
#include "simulator/objects/names.h"
#include "simulator/objects/validation.h"

namespace thinsnap::objects {
namespace {

// Of those sources that must say more than that they are meant.
void CheckVolumeSource(const Json& volume, const std::string& at, schema::FieldErrors& errors) {
  static const std::map<std::string_view, std::string_view> kRequired = {
      {"persistentVolumeClaim", "claimName"},
      {"configMap", "name"},
      {"secret", "secretName"},
      {"hostPath", "path"},
      {"csi", "driver"},
      {"ephemeral", "volumeClaimTemplate"}};
  bool first = true;
  for (const auto& [source, value] : volume.as_object()) {
    const std::string_view name(source);
    if (name == "name" || !value.is_object()) continue;
    const std::string here = at + "." + std::string(name);
    if (!first) {
      errors.push_back(
          schema::FieldError::Forbidden(here, "may not specify more than 1 volume type"));
    }
    first = false;
    const auto required = kRequired.find(name);
    if (required == kRequired.end()) continue;
    const Json* member = Find(value, required->second);
    if (member == nullptr || (member->is_string() && member->get_string().empty()))
      errors.push_back(schema::FieldError::Required(here + "." + std::string(required->second)));
  }
}

std::set<std::string> VolumeNames(const Json& object, const std::string& at) {
  std::set<std::string> names;
  for (const Json& volume : ArrayAt(object, at + ".volumes"))
    names.insert(StringAt(volume, "name"));
  // The claims of a StatefulSet become volumes of its pods.
  for (const Json& claim : ArrayAt(object, "spec.volumeClaimTemplates"))
    names.insert(StringAt(claim, "metadata.name"));
  return names;
}

void CheckVolumes(const Json& object, const std::string& at, schema::FieldErrors& errors) {
  std::set<std::string> names;
  const JsonArray& volumes = ArrayAt(object, at + ".volumes");
  for (std::size_t i = 0; i < volumes.size(); ++i) {
    const std::string here = at + ".volumes[" + std::to_string(i) + "]";
    const std::string name = StringAt(volumes[i], "name");
    if (name.empty()) {
      errors.push_back(schema::FieldError::Required(here + ".name"));
    } else if (const std::string why = CheckDnsLabel(name); !why.empty()) {
      errors.push_back(schema::FieldError::Invalid(here + ".name", Json(name), why));
    } else if (!names.insert(name).second) {
      errors.push_back(schema::FieldError::Duplicate(here + ".name", Json(name)));
    }
    CheckVolumeSource(volumes[i], here, errors);
    if (const Json* claim = Find(volumes[i], "ephemeral.volumeClaimTemplate"))
      ValidateClaimSpec(*claim, "spec", here + ".ephemeral.volumeClaimTemplate", errors);
  }
}

void CheckTolerations(const Json& object, const std::string& at, schema::FieldErrors& errors) {
  const JsonArray& tolerations = ArrayAt(object, at + ".tolerations");
  for (std::size_t i = 0; i < tolerations.size(); ++i) {
    const std::string here = at + ".tolerations[" + std::to_string(i) + "]";
    const std::string op = StringAt(tolerations[i], "operator", "Equal");
    if (StringAt(tolerations[i], "key").empty() && op != "Exists") {
      errors.push_back(schema::FieldError::Invalid(
          here + ".operator", Json(op),
          "operator must be Exists when `key` is empty, which means \"match "
          "all values and all keys\""));
    }
    RequireOneOf(tolerations[i], "operator", {"Equal", "Exists", "Lt", "Gt"}, errors, here);
    if (op == "Exists" && !StringAt(tolerations[i], "value").empty()) {
      errors.push_back(schema::FieldError::Invalid(
          here + ".operator", tolerations[i], "value must be empty when `operator` is 'Exists'"));
    }
    const std::string effect = StringAt(tolerations[i], "effect");
    if (Find(tolerations[i], "tolerationSeconds") != nullptr && effect != "NoExecute") {
      errors.push_back(schema::FieldError::Invalid(
          here + ".effect", Json(effect),
          "effect must be 'NoExecute' when `tolerationSeconds` is set"));
    } else if (!effect.empty()) {
      RequireOneOf(tolerations[i], "effect", {"NoSchedule", "PreferNoSchedule", "NoExecute"},
                   errors, here);
    }
  }
}

// On the host's network a port is the host's own.
void CheckHostPorts(const Json& spec, const std::string& at, schema::FieldErrors& errors) {
  const JsonArray& containers = ArrayAt(spec, "containers");
  for (std::size_t i = 0; i < containers.size(); ++i) {
    const JsonArray& ports = ArrayAt(containers[i], "ports");
    for (std::size_t j = 0; j < ports.size(); ++j) {
      const std::int64_t host = IntAt(ports[j], "hostPort");
      if (host == IntAt(ports[j], "containerPort")) continue;
      errors.push_back(schema::FieldError::Invalid(
          at + ".containers[" + std::to_string(i) + "].ports[" + std::to_string(j) + "].hostPort",
          Json(host), "must match `containerPort` when `hostNetwork` is true"));
    }
  }
}

// What fields say together.
void CheckPodTogether(const Json& spec, const std::string& at, schema::FieldErrors& errors) {
  if (StringAt(spec, "dnsPolicy") == "None" && ArrayAt(spec, "dnsConfig.nameservers").empty()) {
    const bool none = Find(spec, "dnsConfig") == nullptr;
    errors.push_back(schema::FieldError::Required(
        at + (none ? ".dnsConfig" : ".dnsConfig.nameservers"),
        none ? "must provide `dnsConfig` when `dnsPolicy` is None"
             : "must provide at least one DNS nameserver when `dnsPolicy` is None"));
  }
  if (ArrayAt(spec, "dnsConfig.nameservers").size() > 3) {
    errors.push_back(schema::FieldError::Invalid(at + ".dnsConfig.nameservers",
                                                 ValueAt(spec, "dnsConfig.nameservers"),
                                                 "must not have more than 3 nameservers"));
  }
  if (BoolAt(spec, "hostNetwork")) CheckHostPorts(spec, at, errors);
  if (BoolAt(spec, "hostPID") && BoolAt(spec, "shareProcessNamespace")) {
    errors.push_back(
        schema::FieldError::Invalid(at + ".securityContext.shareProcessNamespace", Json(true),
                                    "ShareProcessNamespace and HostPID cannot both be enabled"));
  }
  if (!BoolAt(spec, "hostUsers", true)) {
    for (const auto& [member, told] :
         {std::pair<const char*, const char*>{"hostNetwork", ".hostNetwork"},
          {"hostPID", ".HostPID"},
          {"hostIPC", ".HostIPC"}}) {
      if (BoolAt(spec, member))
        errors.push_back(schema::FieldError::Forbidden(at + told, "when `hostUsers` is false"));
    }
  }
  if (!ArrayAt(spec, "schedulingGates").empty() && !StringAt(spec, "nodeName").empty()) {
    errors.push_back(schema::FieldError::Forbidden(
        at + ".nodeName", "cannot be set until all schedulingGates have been cleared"));
  }
  const std::string os = StringAt(spec, "os.name");
  if (Find(spec, "os") != nullptr && os != "linux" && os != "windows")
    errors.push_back(schema::FieldError::Unsupported(at + ".os", Json(os), {"linux", "windows"}));
  const JsonArray& constraints = ArrayAt(spec, "topologySpreadConstraints");
  for (std::size_t i = 0; i < constraints.size(); ++i) {
    const std::string when = StringAt(constraints[i], "whenUnsatisfiable");
    if (Find(constraints[i], "minDomains") == nullptr || when == "DoNotSchedule") continue;
    errors.push_back(schema::FieldError::Invalid(
        at + ".topologySpreadConstraints[" + std::to_string(i) + "].minDomains",
        ValueAt(constraints[i], "minDomains"),
        "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not " + when));
  }
}

}  // namespace

void ValidatePodSpec(const Json& object, const std::string& at, schema::FieldErrors& errors) {
  CheckVolumes(object, at, errors);
  const std::set<std::string> volumes = VolumeNames(object, at);
  std::set<std::string> names;
  const JsonArray& containers = ArrayAt(object, at + ".containers");
  if (containers.empty()) errors.push_back(schema::FieldError::Required(at + ".containers"));
  for (std::size_t i = 0; i < containers.size(); ++i) {
    ValidateContainer(containers[i], at + ".containers[" + std::to_string(i) + "]", false, volumes,
                      names, errors);
  }
  const JsonArray& init = ArrayAt(object, at + ".initContainers");
  for (std::size_t i = 0; i < init.size(); ++i) {
    ValidateContainer(init[i], at + ".initContainers[" + std::to_string(i) + "]", true, volumes,
                      names, errors);
  }
  CheckTolerations(object, at, errors);
  if (const Json* spec = Find(object, at)) {
    CheckFields(*spec, kPodFields, at, errors);
    CheckPodTogether(*spec, at, errors);
  }
}

void ValidateEphemeralContainers(const Json& old, const Json& object, schema::FieldErrors& errors) {
  constexpr std::string_view kList = "spec.ephemeralContainers";
  std::set<std::string> names, targets;
  for (const char* list : {"spec.containers", "spec.initContainers"}) {
    for (const Json& container : ArrayAt(object, list)) targets.insert(StringAt(container, "name"));
  }
  names = targets;
  const JsonArray& wanted = ArrayAt(object, kList);
  for (const Json& before : ArrayAt(old, kList)) {
    const std::string name = StringAt(before, "name");
    const auto same = std::find_if(wanted.begin(), wanted.end(), [&](const Json& container) {
      return StringAt(container, "name") == name;
    });
    if (same != wanted.end() && *same == before) continue;
    errors.push_back(schema::FieldError::Forbidden(
        std::string(kList), "existing ephemeral containers \"" + name + "\" may not be " +
                                (same == wanted.end() ? "removed" : "changed")));
  }
  const std::set<std::string> volumes = VolumeNames(object, "spec");
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const std::string at = std::string(kList) + "[" + std::to_string(i) + "]";
    ValidateContainer(wanted[i], at, false, volumes, names, errors);
    const std::string target = StringAt(wanted[i], "targetContainerName");
    if (!target.empty() && !targets.contains(target))
      errors.push_back(schema::FieldError::NotFound(at + ".targetContainerName", Json(target)));
    for (const char* member : {"ports", "resources", "resizePolicy", "lifecycle", "livenessProbe",
                               "readinessProbe", "startupProbe"}) {
      const Json* value = Find(wanted[i], member);
      if (value == nullptr || (value->is_object() && value->get_object().empty())) continue;
      errors.push_back(schema::FieldError::Forbidden(at + "." + member,
                                                     "cannot be set for an Ephemeral Container"));
    }
  }
}

namespace {

// A deadline may come nearer; a toleration may end at another time; more of them are welcome.
void CheckPodChanges(const Json& old, const Json& object, schema::FieldErrors& errors) {
  const std::string deadline = "spec.activeDeadlineSeconds";
  if (Find(old, deadline) != nullptr) {
    const Json* value = Find(object, deadline);
    if (value == nullptr) {
      errors.push_back(schema::FieldError::Invalid(
          deadline, Json(), "must not update from a positive integer to nil value"));
    } else if (IntAt(object, deadline) > IntAt(old, deadline)) {
      errors.push_back(schema::FieldError::Invalid(deadline, *value,
                                                   "must be less than or equal to previous value"));
    }
  }
  const auto bare = [](Json toleration) {
    Remove(toleration, "tolerationSeconds");
    return toleration;
  };
  const JsonArray& after = ArrayAt(object, "spec.tolerations");
  for (const Json& before : ArrayAt(old, "spec.tolerations")) {
    const bool kept = std::any_of(after.begin(), after.end(), [&](const Json& toleration) {
      return bare(toleration) == bare(before);
    });
    if (kept) continue;
    errors.push_back(schema::FieldError::Forbidden(
        "spec.tolerations",
        "existing toleration can not be modified except its tolerationSeconds"));
    return;
  }
}

}  // namespace

void ValidatePodUpdate(const Json& old, const Json& object, schema::FieldErrors& errors) {
  for (const char* list : {"spec.containers", "spec.initContainers"}) {
    if (ArrayAt(old, list).size() == ArrayAt(object, list).size()) continue;
    errors.push_back(
        schema::FieldError::Forbidden(list, "pod updates may not add or remove containers"));
    return;
  }
  const auto strip = [](const Json& pod) {
    Json spec = ValueAt(pod, "spec");
    for (const char* list : {"containers", "initContainers"}) {
      Json* containers = FindMutable(spec, list);
      if (containers == nullptr || !containers->is_array()) continue;
      for (Json& container : containers->get_array()) Remove(container, "image");
    }
    for (const char* member : {"activeDeadlineSeconds", "tolerations"}) {
      Remove(spec, member);
    }
    return spec;
  };
  CheckPodChanges(old, object, errors);
  if (strip(old) == strip(object)) return;
  errors.push_back(schema::FieldError::Forbidden(
      "spec",
      "pod updates may not change fields other than "
      "`spec.containers[*].image`,`spec.initContainers[*].image`,"
      "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
      "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
      "negative)"));
}

}  // namespace thinsnap::objects
