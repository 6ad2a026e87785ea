#include "simulator/kubelet/csi_volume.h"

#include <algorithm>

#include "base/kube/object.h"

namespace thinsnap::kubelet {
namespace {

bool HasAccess(const Json& persistent_volume, std::string_view wanted) {
  const JsonArray& modes = ArrayAt(persistent_volume, "spec.accessModes");
  return std::any_of(modes.begin(), modes.end(), [wanted](const Json& mode) {
    return mode.is_string() && std::string_view(mode.get_string()) == wanted;
  });
}

CsiAccess AccessOf(const Json& persistent_volume) {
  CsiAccess access = CsiAccess::kSingleNodeWriter;
  for (const Json& mode : ArrayAt(persistent_volume, "spec.accessModes")) {
    if (!mode.is_string()) continue;
    if (mode.get_string() == "ReadWriteMany") return CsiAccess::kMultiNodeWriter;
    if (mode.get_string() == "ReadOnlyMany") access = CsiAccess::kMultiNodeReader;
    if (mode.get_string() == "ReadWriteOnce") return CsiAccess::kSingleNodeWriter;
    if (mode.get_string() == "ReadWriteOncePod") return CsiAccess::kSinglePodWriter;
  }
  return access;
}

}  // namespace

DriverRules RulesOf(const Json& csi_driver) {
  DriverRules rules;
  rules.pod_info = BoolAt(csi_driver, "spec.podInfoOnMount");
  const std::string policy = StringAt(csi_driver, "spec.fsGroupPolicy");
  if (policy == "File") rules.fs_group = DriverRules::FsGroup::kAlways;
  if (policy == "None") rules.fs_group = DriverRules::FsGroup::kNever;
  return rules;
}

bool TakesFsGroup(const DriverRules& rules, const Json& persistent_volume, bool read_only) {
  if (read_only || rules.fs_group == DriverRules::FsGroup::kNever) return false;
  if (StringAt(persistent_volume, "spec.volumeMode") == "Block") return false;
  if (rules.fs_group == DriverRules::FsGroup::kAlways) return true;
  return !StringAt(persistent_volume, "spec.csi.fsType").empty() &&
         (HasAccess(persistent_volume, "ReadWriteOnce") ||
          HasAccess(persistent_volume, "ReadWriteOncePod"));
}

CsiVolume VolumeOf(const Json& persistent_volume) {
  CsiVolume volume;
  volume.id = StringAt(persistent_volume, "spec.csi.volumeHandle");
  volume.block = StringAt(persistent_volume, "spec.volumeMode") == "Block";
  volume.fs_type = StringAt(persistent_volume, "spec.csi.fsType");
  volume.access = AccessOf(persistent_volume);
  for (const Json& option : ArrayAt(persistent_volume, "spec.mountOptions")) {
    if (option.is_string()) volume.mount_options.emplace_back(option.get_string());
  }
  for (const auto& [key, value] : ObjectAt(persistent_volume, "spec.csi.volumeAttributes")) {
    if (value.is_string()) volume.context[std::string(key)] = std::string(value.get_string());
  }
  return volume;
}

std::optional<kube::ObjectKey> SecretOf(const Json& persistent_volume, const std::string& field) {
  const Json& reference = ValueAt(persistent_volume, "spec.csi." + field);
  if (StringAt(reference, "name").empty()) return std::nullopt;
  return kube::ObjectKey{StringAt(reference, "namespace"), StringAt(reference, "name")};
}

std::map<std::string, std::string> PodInfo(const Json& pod) {
  return {{"csi.storage.k8s.io/pod.name", kube::NameOf(pod)},
          {"csi.storage.k8s.io/pod.namespace", kube::NamespaceOf(pod)},
          {"csi.storage.k8s.io/pod.uid", kube::UidOf(pod)},
          {"csi.storage.k8s.io/serviceAccount.name",
           StringAt(pod, "spec.serviceAccountName", "default")},
          {"csi.storage.k8s.io/ephemeral", "false"}};
}

}  // namespace thinsnap::kubelet
