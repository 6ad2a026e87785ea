// What a kubelet reads out of a persistent volume and out of the CSIDriver object before it calls
// the driver. Pure: nothing here asks anybody.
#pragma once

#include <optional>
#include <string>

#include "base/data/json.h"
#include "base/kube/client.h"
#include "simulator/kubelet/csi_node.h"

namespace thinsnap::kubelet {

// How the cluster wants the driver treated.
struct DriverRules {
  enum class FsGroup { kWithFsType, kAlways, kNever };
  bool pod_info = false;
  FsGroup fs_group = FsGroup::kWithFsType;
};

// Of the CSIDriver object; what it does not say, and all without one, is the API's default.
DriverRules RulesOf(const Json& csi_driver);

// The pod's fsGroup is the kubelet's to apply: by the driver's policy, which by default wants to
// know the filesystem and that one node writes, and on a filesystem that may be written.
bool TakesFsGroup(const DriverRules& rules, const Json& persistent_volume, bool read_only);

CsiVolume VolumeOf(const Json& persistent_volume);

// spec.csi.<field> of a persistent volume, such as nodeStageSecretRef.
std::optional<kube::ObjectKey> SecretOf(const Json& persistent_volume, const std::string& field);

// What the driver is told of the pod when rules.pod_info: part of the publish context alone, since
// a volume is staged for all pods of the node.
std::map<std::string, std::string> PodInfo(const Json& pod);

}  // namespace thinsnap::kubelet
