// What a kubelet writes about its node: Node, CSINode and Lease. Pure.
#pragma once

#include <string>

#include "base/core/clock.h"
#include "base/data/json_fwd.h"
#include "simulator/kubelet/csi_node.h"

namespace thinsnap::kubelet {

struct NodeFacts {
  std::string name;
  int cpus = 1;
  std::int64_t memory_bytes = 0, storage_bytes = 0;
  std::string kernel, machine_id, boot_id, os_image;
};

// Reads them from this machine.
NodeFacts ReadNodeFacts(const std::string& name, const std::string& folder);

Json BuildNode(const NodeFacts& facts);
// status as it is now; transition times of `present` (may be null) are kept.
Json BuildNodeStatus(const NodeFacts& facts, const Json* present, WallTime now);
Json BuildLease(const std::string& node, const std::string& node_uid, WallTime now);
Json BuildCsiNode(const std::string& node, const std::string& node_uid, const CsiNodeInfo& driver);

}  // namespace thinsnap::kubelet
