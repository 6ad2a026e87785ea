// CsiNode: the node half of a CSI driver, as the kubelet calls it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/core/runtime.h"

namespace thinsnap::kubelet {

enum class CsiAccess { kSingleNodeWriter, kSinglePodWriter, kMultiNodeReader, kMultiNodeWriter };

struct CsiVolume {
  std::string id;
  bool block = false;
  std::string fs_type;
  std::vector<std::string> mount_options;
  CsiAccess access = CsiAccess::kSingleNodeWriter;
  std::map<std::string, std::string> context;
  std::string mount_group;  // for drivers that give the files to the pod's fsGroup themselves
};

using CsiSecrets = std::map<std::string, std::string>;

struct CsiNodeInfo {
  std::string driver, node_id;
  std::map<std::string, std::string> topology;
  std::int64_t max_volumes = 0;
};

// What its node half does of what a driver may leave out.
struct CsiNodeAbilities {
  bool stages = false, expands = false, mounts_for_group = false;
};

// Thread-safe; each call is bounded by its own deadline. Codes are those of the driver.
class CsiNode {
 public:
  virtual ~CsiNode() = default;
  virtual Result<CsiNodeInfo> GetInfo() = 0;
  virtual Result<CsiNodeAbilities> Abilities() = 0;
  virtual Status Stage(const CsiVolume& volume, const CsiSecrets& secrets,
                       const std::string& staging_path) = 0;
  virtual Status Unstage(const std::string& volume_id, const std::string& staging_path) = 0;
  // Without a staging path where the driver does not stage; so for Expand.
  virtual Status Publish(const CsiVolume& volume, const CsiSecrets& secrets,
                         const std::string& staging_path, const std::string& target_path,
                         bool read_only) = 0;
  virtual Status Unpublish(const std::string& volume_id, const std::string& target_path) = 0;
  virtual Status Expand(const CsiVolume& volume, const CsiSecrets& secrets,
                        const std::string& volume_path, const std::string& staging_path) = 0;
};

// endpoint: "unix:csi.sock". The driver may come later, and go and come back.
std::unique_ptr<CsiNode> MakeCsiNode(Runtime& runtime, const std::string& endpoint);

}  // namespace thinsnap::kubelet
