#include <algorithm>
#include <set>

#include "simulator/objects/names.h"
#include "simulator/objects/validation.h"

namespace thinsnap::objects {
namespace {

void ValidateContainer(const Json& container, const std::string& at,
                       const std::set<std::string>& volumes, std::set<std::string>& names,
                       FieldErrors& errors) {
  const std::string name = StringAt(container, "name");
  if (name.empty()) {
    errors.push_back(FieldError::Required(at + ".name"));
  } else if (const std::string why = CheckDnsLabel(name); !why.empty()) {
    errors.push_back(FieldError::Invalid(at + ".name", Json(name), why));
  } else if (!names.insert(name).second) {
    errors.push_back(FieldError::Duplicate(at + ".name", Json(name)));
  }
  if (StringAt(container, "image").empty()) errors.push_back(FieldError::Required(at + ".image"));
  for (const char* list : {"volumeMounts", "volumeDevices"}) {
    const JsonArray& mounts = ArrayAt(container, list);
    for (std::size_t i = 0; i < mounts.size(); ++i) {
      const std::string mount_at = at + "." + list + "[" + std::to_string(i) + "]";
      const std::string volume = StringAt(mounts[i], "name");
      if (volume.empty()) {
        errors.push_back(FieldError::Required(mount_at + ".name"));
      } else if (!volumes.contains(volume)) {
        errors.push_back(FieldError::NotFound(mount_at + ".name", Json(volume)));
      }
      const char* path = std::string_view(list) == "volumeMounts" ? "mountPath" : "devicePath";
      if (StringAt(mounts[i], path).empty())
        errors.push_back(FieldError::Required(mount_at + "." + path));
    }
  }
  const JsonArray& env = ArrayAt(container, "env");
  for (std::size_t i = 0; i < env.size(); ++i) {
    if (StringAt(env[i], "name").empty()) {
      errors.push_back(FieldError::Required(at + ".env[" + std::to_string(i) + "].name"));
    }
  }
}

}  // namespace

void ValidatePodSpec(const Json& object, const std::string& at, FieldErrors& errors) {
  std::set<std::string> volumes;
  const JsonArray& all_volumes = ArrayAt(object, at + ".volumes");
  for (std::size_t i = 0; i < all_volumes.size(); ++i) {
    const std::string volume_at = at + ".volumes[" + std::to_string(i) + "].name";
    const std::string name = StringAt(all_volumes[i], "name");
    if (name.empty()) {
      errors.push_back(FieldError::Required(volume_at));
    } else if (const std::string why = CheckDnsLabel(name); !why.empty()) {
      errors.push_back(FieldError::Invalid(volume_at, Json(name), why));
    } else if (!volumes.insert(name).second) {
      errors.push_back(FieldError::Duplicate(volume_at, Json(name)));
    }
  }
  // The claims of a StatefulSet become volumes of its pods.
  for (const Json& claim : ArrayAt(object, "spec.volumeClaimTemplates"))
    volumes.insert(StringAt(claim, "metadata.name"));
  std::set<std::string> names;
  const JsonArray& containers = ArrayAt(object, at + ".containers");
  if (containers.empty()) errors.push_back(FieldError::Required(at + ".containers"));
  for (std::size_t i = 0; i < containers.size(); ++i) {
    ValidateContainer(containers[i], at + ".containers[" + std::to_string(i) + "]", volumes, names,
                      errors);
  }
  const JsonArray& init = ArrayAt(object, at + ".initContainers");
  for (std::size_t i = 0; i < init.size(); ++i) {
    ValidateContainer(init[i], at + ".initContainers[" + std::to_string(i) + "]", volumes, names,
                      errors);
  }
  RequireOneOf(object, at + ".restartPolicy", {"Always", "OnFailure", "Never"}, errors);
  RequireOneOf(object, at + ".dnsPolicy",
               {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"}, errors);
  if (IntAt(object, at + ".terminationGracePeriodSeconds") < 0) {
    errors.push_back(FieldError::Invalid(at + ".terminationGracePeriodSeconds",
                                         Json(IntAt(object, at + ".terminationGracePeriodSeconds")),
                                         "must be greater than or equal to 0"));
  }
}

void ValidatePodUpdate(const Json& old, const Json& object, FieldErrors& errors) {
  const auto strip = [](const Json& pod) {
    Json spec = *Find(pod, "spec");
    for (const char* list : {"containers", "initContainers"}) {
      Json* containers = FindMutable(spec, list);
      if (containers == nullptr || !containers->is_array()) continue;
      for (Json& container : containers->get_array()) Remove(container, "image");
    }
    for (const char* member :
         {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "nodeName"}) {
      Remove(spec, member);
    }
    return spec;
  };
  const std::string node = StringAt(old, "spec.nodeName");
  const bool moved = !node.empty() && node != StringAt(object, "spec.nodeName");
  if (strip(old) == strip(object) && !moved) return;
  errors.push_back(FieldError::Forbidden(
      "spec",
      "pod updates may not change fields other than "
      "`spec.containers[*].image`,`spec.initContainers[*].image`,"
      "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
      "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
      "negative)"));
}

}  // namespace thinsnap::objects
