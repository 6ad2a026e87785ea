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

// Whether this error of a node leaves open what it has and what it did.
bool IsUnheard(const Error& error);

// A pool whose object has not changed for longer is silent: it writes a heartbeat into it every 10
// s.
inline constexpr Duration kSilence = std::chrono::minutes(1);

// Thread-safe.
class PoolDirectory {
 public:
  PoolDirectory(Runtime& runtime, kube::KubeClient& client, const std::string& ns,
                NodeConnector connect, Duration silence = kSilence);

  void Start(TaskGroup& group);
  Status WaitForSync(MonoTime deadline = kForever);
  bool synced() const { return pools_.synced() && lost_.synced(); }

  // Sorted by id, without the lost ones. `silent` is filled in by when this process saw the
  // heartbeat change, so that no two clocks are compared.
  std::vector<driver::PoolRecord> Pools() const;
  bool IsLost(const pool::PoolId& id) const;
  // kUnavailable for a pool that nobody knows.
  Result<NodePtr> Node(const pool::PoolId& id);
  // Kept as long as a pool has the address.
  NodePtr Connect(const std::string& address);

  kube::Informer& pool_objects() { return pools_; }

 private:
  void Heard(const kube::ObjectPtr& old, const kube::ObjectPtr& current);

  Runtime& runtime_;
  const Duration silence_;
  kube::Informer pools_;
  kube::Informer lost_;  // the one ConfigMap
  const kube::ObjectKey lost_key_;
  const NodeConnector connect_;
  mutable std::mutex mutex_;
  std::map<std::string, NodePtr> connections_ GUARDED_BY(mutex_);  // by address
  std::map<pool::PoolId, MonoTime> heard_ GUARDED_BY(mutex_);      // when last
};

}  // namespace thinsnap::controller
