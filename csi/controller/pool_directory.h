// PoolDirectory: which pool is where, and which are lost, for the controller role.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/runtime.h"
#include "base/kube/informer.h"
#include "csi/driver/pool_object.h"
#include "csi/proto/csi_client.h"

namespace thinsnap::controller {

using NodePtr = std::shared_ptr<proto::CsiService>;
// A connection to a node's driver; made once for each address.
using NodeConnector = std::function<NodePtr(const std::string& address)>;

// Thread-safe.
class PoolDirectory {
 public:
  PoolDirectory(Runtime& runtime, kube::KubeClient& client, const std::string& ns,
                NodeConnector connect);

  void Start(TaskGroup& group);
  Status WaitForSync(MonoTime deadline = kForever);
  bool synced() const { return pools_.synced() && lost_.synced(); }

  // Sorted by id, without the lost ones.
  std::vector<driver::PoolRecord> Pools() const;
  bool IsLost(const pool::PoolId& id) const;
  // kUnavailable for a pool that nobody knows.
  Result<NodePtr> Node(const pool::PoolId& id);
  NodePtr Connect(const std::string& address);

  kube::Informer& pool_objects() { return pools_; }

 private:
  kube::Informer pools_;
  kube::Informer lost_;  // the one ConfigMap
  const kube::ObjectKey lost_key_;
  const NodeConnector connect_;
  std::mutex mutex_;
  std::map<std::string, NodePtr> connections_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::controller
