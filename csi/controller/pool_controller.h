// PoolController: what the deletion of a ThinPool object means. `kubectl delete thinpool` declares
// a pool lost if its node is gone or does not answer; otherwise the object is only written anew.
#pragma once

#include <string>

#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "base/kube/controller.h"
#include "csi/controller/pool_directory.h"

namespace thinsnap::controller {

class PoolController {
 public:
  PoolController(Runtime& runtime, kube::KubeClient& client, PoolDirectory& directory,
                 std::string ns, Duration patience = std::chrono::seconds(5));

  // The informers of the directory run already, or are started later.
  void Start(TaskGroup& group) { controller_.Start(group); }
  Result<kube::Requeue> Reconcile(const kube::ObjectKey& key);

 private:
  // Whether the pool itself answers at the address within `patience_`.
  Result<bool> Answers(const driver::PoolRecord& pool);
  Status DeclareLost(const driver::PoolRecord& pool);

  Runtime& runtime_;
  kube::KubeClient& client_;
  PoolDirectory& directory_;
  const std::string ns_;
  const Duration patience_;
  kube::Controller controller_;
};

}  // namespace thinsnap::controller
