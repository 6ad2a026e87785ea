// VolumeStore: the volumes of a node's pods. A CSI volume is staged once and published for each
// pod; the last pod to go unstages it. Everything mounted lives and dies with the node's mount
// namespace, so nothing is remembered on disk.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "simulator/kubelet/csi_node.h"
#include "simulator/kubelet/local_volumes.h"
#include "simulator/kubelet/payload.h"

namespace thinsnap::kubelet {

// A volume as a container may use it.
struct MountedVolume {
  std::string path;  // on the node: a folder, or for a raw volume a device file
  bool block = false;
  bool read_only = false;
  std::shared_ptr<const UniqueFd> held = {};  // what a path /proc/PID/fd/N stands for
};

struct VolumeOptions {
  std::string folder;         // the node's; pods/ and plugins/ are below
  std::string memory_folder;  // on a tmpfs: for secrets and tokens
  std::string driver = "csi.thinsnap.io";
  HostPaths host_paths = {};
};

// Thread-safe; the calls for one pod come one at a time.
class VolumeStore {
 public:
  VolumeStore(Runtime& runtime, kube::KubeClient& client, CsiNode& csi, VolumeOptions options);

  // Makes every volume of the pod ready; repeating is harmless and goes on where it failed. Errors
  // are for people: "volume data: ...".
  Status MountAll(const Json& pod);
  // By the volume's name in the pod; nothing before MountAll succeeded for it.
  std::optional<MountedVolume> Find(const std::string& pod_uid, const std::string& volume) const;
  // Brings configMaps, secrets and tokens up to date.
  Status Refresh(const Json& pod);
  // Grows the filesystems of claims that wait for it (condition FileSystemResizePending).
  Status Expand(const Json& pod);
  // Unpublishes and unstages; the pod's folder goes with `remove_data`.
  Status UnmountAll(const std::string& pod_uid, bool remove_data);
  // True while something of the pod is mounted.
  bool HasVolumes(const std::string& pod_uid) const;
  // Removes what pods that are gone have left on disk. Before the first MountAll.
  void RemoveLeftovers(const std::set<std::string>& live_uids);

  std::string PodFolder(const std::string& pod_uid) const {
    return options_.folder + "/pods/" + pod_uid;
  }

 private:
  struct Staged {
    std::mutex mutex;  // held while the driver works on the volume
    bool staged GUARDED_BY(mutex) = false;
    std::set<std::string> users;  // pods; guarded by mutex_
  };
  struct Published {
    std::shared_ptr<Staged> staged;
    CsiVolume volume;
    std::map<std::string, std::string> pod_info;
    std::optional<kube::ObjectKey> stage_secret, publish_secret, expand_secret;
    std::string staging_path;  // empty: the driver does not stage
    std::string target_path;
    std::string claim_namespace, claim_name;
  };
  struct PodVolumes {
    std::map<std::string, MountedVolume> ready;
    std::map<std::string, Published> published;  // also half done
    std::vector<std::string> own_mounts;         // tmpfs of memory volumes
  };

  Result<MountedVolume> MountOne(const Json& pod, const Json& volume);
  Result<MountedVolume> MountClaim(const Json& pod, const std::string& name,
                                   const std::string& claim, bool read_only);
  // A claim's persistent volume, if it may be used.
  Result<Json> VolumeFor(const std::string& ns, const std::string& claim);
  // The CSIDriver object; null where there is none.
  Result<Json> DriverObject();
  Result<CsiSecrets> ReadSecret(const std::optional<kube::ObjectKey>& key);
  Result<MountedVolume> MountEmpty(const Json& pod, const std::string& name, const Json& source);
  Result<MountedVolume> MountPayload(const Json& pod, const Json& volume);
  Status StageAndPublish(const Published& published, bool read_only);
  Status ExpandOne(const Published& published);
  Status GiveUp(const Published& published, const std::string& pod_uid);
  PayloadSources SourcesFor(const Json& pod);
  std::string PayloadFolder(const std::string& pod_uid, const std::string& name) const;

  Runtime& runtime_;
  kube::KubeClient& client_;
  CsiNode& csi_;
  const VolumeOptions options_;
  mutable std::mutex mutex_;
  std::map<std::string, PodVolumes> pods_ GUARDED_BY(mutex_);                 // by uid
  std::map<std::string, std::shared_ptr<Staged>> staged_ GUARDED_BY(mutex_);  // by volume handle
};

}  // namespace thinsnap::kubelet
