// Target: what a BackupConfiguration backs up, as components with volumes; and the
// VolumeSnapshotClass for them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/data/json.h"
#include "base/kube/client.h"

namespace thinsnap::backup {

struct TargetVolume {
  std::string claim;
  std::string host_path;  // where the workload mounts it; empty for a stand-alone claim
};
struct TargetComponent {
  std::string name;  // "volumesnapshot" or "volumesnapshot-pod-<ordinal>"
  std::vector<TargetVolume> volumes;
};

// From the target object (claim, Deployment, StatefulSet, DaemonSet). kInvalidArgument: it has no
// claims.
Result<std::vector<TargetComponent>> ComponentsOf(const Json& target);
// Reads the target of a BackupConfiguration. kNotFound names it.
Result<Json> ReadTarget(kube::KubeClient& client, const Json& configuration);

// What is known when a class is chosen.
struct ClassQuestion {
  std::string ns;      // of the session
  std::string wanted;  // param volumeSnapshotClassName; empty: the default class
  std::map<std::string, std::string>
      drivers;  // claim -> CSI driver; empty: not a CSI volume or not bound
  std::string our_driver;
  std::vector<std::string> repositories;  // ids of the session's Repositories, in order
  std::map<std::string, std::string>
      owners;  // repository id -> "namespace/name" of every Repository of the cluster
};
struct ClassAnswer {
  std::string name;
  Json derived;  // the class to be made, null where the answer exists already
};
// Which class the VolumeSnapshots get. Ours without `repositories` gets a derived one; a class of
// another driver stays as it is; one that names repositories has to name exactly those of the
// session. Pure.
Result<ClassAnswer> ChooseClass(const ClassQuestion& question, const std::vector<Json>& classes);

// "thinsnap-<16 hex of SHA-256(class, the set of repositories)>"
std::string DerivedClassName(const std::string& name, std::vector<std::string> repositories);

// Where each claim's volume comes from.
Result<std::map<std::string, std::string>> DriversOf(
    kube::KubeClient& client, const std::string& ns,
    const std::vector<TargetComponent>& components);

}  // namespace thinsnap::backup
