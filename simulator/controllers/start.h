// The built-in controllers of a cluster and its scheduler, as tasks of one process.
//
// Each part is a pure plan function and a short executor, driven by informers; none polls. File
// names are those of kube-controller-manager. The order of writes is upstream's, because the bugs
// of others live between them.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "base/kube/informer.h"

namespace thinsnap::controllers {

struct ControllerOptions {
  // A node whose Lease was not renewed for so long is unreachable.
  Duration node_grace = std::chrono::seconds(40);
  // First wait after a Job's pod failed; doubles up to ten minutes.
  Duration job_backoff = std::chrono::seconds(10);
  // ConfigMap kube-root-ca.crt of every namespace; empty: not made.
  std::string root_ca_pem;
};

// Keeps the controllers' memory. Destroyed after the group was joined and before the informers are.
class Controllers {
 public:
  virtual ~Controllers() = default;
};

// Registers with the informers and spawns in the group; the parts begin to work when the caches are
// filled, so the caller calls informers.StartAll(group) afterwards. The API server answers already
// (this lists each kind once), and custom kinds may come later. Client: may do everything
// (system:masters). All references outlive the result.
std::unique_ptr<Controllers> StartControllers(Runtime& runtime, TaskGroup& group,
                                              kube::KubeClient& client,
                                              kube::InformerSet& informers, Random& random,
                                              const ControllerOptions& options = {});

}  // namespace thinsnap::controllers
