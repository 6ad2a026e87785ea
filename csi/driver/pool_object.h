// The ThinPool object: how a node tells the cluster of its pool, and how the cluster tells that a
// pool is lost.
//
// thinpools.thinsnap.io/v1alpha1, cluster-scoped, named by the pool's id:
//   spec:   {node, address}
//   status: {sizeBytes, freeBytes, snapshotOverheadBytes, healthy, reason, volumes,
//   volumesByNamespace, heartbeatTime}
// The controller role's finalizer is on it from the start, so that its deletion always passes the
// controller, which decides whether the pool is lost. Lost pools are the keys of the ConfigMap
// thinsnap-lost-pools.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/core/runtime.h"
#include "base/data/json_fwd.h"
#include "base/kube/client.h"
#include "csi/pool/thin_pool.h"

namespace thinsnap::driver {

inline constexpr char kPoolFinalizer[] = "thinsnap.io/pool";
inline constexpr char kLostPoolsName[] = "thinsnap-lost-pools";

// What the controller role reads of it.
struct PoolRecord {
  pool::PoolId id;
  std::string node, address;
  std::uint64_t size_bytes = 0, free_bytes = 0;
  bool healthy = false;
  std::string reason;
  bool silent = false;  // not of the object: nobody has heard of it for a while
  std::map<std::string, int> volumes_by_namespace;
};
PoolRecord ReadPoolObject(const Json& object);

// Whether that pool stands in the ConfigMap of lost pools of the namespace.
Result<bool> IsDeclaredLost(kube::KubeClient& client, const std::string& ns,
                            const pool::PoolId& id);

// Writes the object of one pool, again and again.
class PoolReporter {
 public:
  struct Options {
    std::string node_name;
    std::string address;  // where the node's driver answers the controller role
    std::string ns;       // of the ConfigMap
    Duration period = std::chrono::seconds(10);
    std::function<void(bool lost)> on_lost;  // called whenever it is known
  };

  PoolReporter(Runtime& runtime, kube::KubeClient& client, pool::ThinPool& pool, Options options)
      : runtime_(runtime), client_(client), pool_(pool), options_(std::move(options)) {}

  // Until the task is cancelled. Troubles are logged, and it goes on.
  void Run();
  Status ReportOnce();

 private:
  Result<Json> StatusOf(const pool::PoolStatus& pool, bool lost);

  Runtime& runtime_;
  kube::KubeClient& client_;
  pool::ThinPool& pool_;
  const Options options_;
};

}  // namespace thinsnap::driver
