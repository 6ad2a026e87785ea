#include <algorithm>
#include <map>
#include <set>

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

std::set<std::string> CheckVolumes(const Json& object, const std::string& at,
                                   schema::FieldErrors& errors) {
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
  }
  // The claims of a StatefulSet become volumes of its pods.
  for (const Json& claim : ArrayAt(object, "spec.volumeClaimTemplates"))
    names.insert(StringAt(claim, "metadata.name"));
  return names;
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
    RequireOneOf(tolerations[i], "operator", {"Equal", "Exists"}, errors, here);
    if (op == "Exists" && !StringAt(tolerations[i], "value").empty()) {
      errors.push_back(schema::FieldError::Invalid(
          here + ".operator", tolerations[i], "value must be empty when `operator` is 'Exists'"));
    }
    if (!StringAt(tolerations[i], "effect").empty()) {
      RequireOneOf(tolerations[i], "effect", {"NoSchedule", "PreferNoSchedule", "NoExecute"},
                   errors, here);
    }
  }
}

}  // namespace

void ValidatePodSpec(const Json& object, const std::string& at, schema::FieldErrors& errors) {
  const std::set<std::string> volumes = CheckVolumes(object, at, errors);
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
  RequireOneOf(object, at + ".restartPolicy", {"Always", "OnFailure", "Never"}, errors);
  RequireOneOf(object, at + ".dnsPolicy",
               {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"}, errors);
  CheckTolerations(object, at, errors);
  if (const Json* deadline = Find(object, at + ".activeDeadlineSeconds");
      deadline != nullptr && IntAt(object, at + ".activeDeadlineSeconds") < 1) {
    errors.push_back(schema::FieldError::Invalid(at + ".activeDeadlineSeconds", *deadline,
                                                 "must be between 1 and 2147483647, inclusive"));
  }
  for (const char* member : {".hostname", ".subdomain"}) {
    const std::string text = StringAt(object, at + member);
    const std::string why = text.empty() ? "" : CheckDnsLabel(text);
    if (!why.empty()) errors.push_back(schema::FieldError::Invalid(at + member, Json(text), why));
  }
  CheckLabels(object, at + ".nodeSelector", errors);
  constexpr std::string_view kTerms =
      ".affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution";
  const std::string required = at + std::string(kTerms);
  if (Find(object, required) != nullptr &&
      ArrayAt(object, required + ".nodeSelectorTerms").empty()) {
    errors.push_back(schema::FieldError::Required(required + ".nodeSelectorTerms",
                                                  "must have at least one node selector term"));
  }
}

void ValidatePodUpdate(const Json& old, const Json& object, schema::FieldErrors& errors) {
  for (const char* list : {"spec.containers", "spec.initContainers"}) {
    if (ArrayAt(old, list).size() == ArrayAt(object, list).size()) continue;
    errors.push_back(
        schema::FieldError::Forbidden(list, "pod updates may not add or remove containers"));
    return;
  }
  const auto strip = [](const Json& pod) {
    Json spec = *Find(pod, "spec");
    for (const char* list : {"containers", "initContainers"}) {
      Json* containers = FindMutable(spec, list);
      if (containers == nullptr || !containers->is_array()) continue;
      for (Json& container : containers->get_array()) Remove(container, "image");
    }
    for (const char* member :
         {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"}) {
      Remove(spec, member);
    }
    return spec;
  };
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
