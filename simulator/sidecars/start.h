// The sidecars of a CSI driver (provisioner, snapshotter, resizer) and the cluster's
// snapshot-controller, as tasks of one process. They speak CSI to the driver's controller socket
// and behave as the upstream programs do.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "base/kube/informer.h"

namespace thinsnap::proto {
class CsiService;
}

namespace thinsnap::sidecars {

struct SidecarOptions {
  // "unix:///run/csi.sock". The driver may come later and may go and come back.
  std::string csi_endpoint;
  // As the driver's GetPluginInfo will say.
  std::string driver_name = "csi.thinsnap.io";
  bool extra_create_metadata = true;
  // Of volumes whose class names none. Empty, the real one's default: the driver chooses, and a
  // copy has what its source has. A kubelet that follows ReadWriteOnceWithFSType would apply no
  // fsGroup to such a volume, one that follows File does.
  std::string default_fs_type;
  bool strict_topology = false;
  // False: a claim that waits for nobody leaves the choice of the node to the driver, unless its
  // class has allowedTopologies. True, the real one's default, spreads such claims by their names.
  bool immediate_topology = true;
  Duration volume_timeout =
      std::chrono::seconds(10);  // CreateVolume, DeleteVolume, ControllerExpandVolume
  Duration snapshot_timeout =
      std::chrono::seconds(60);  // CreateSnapshot, DeleteSnapshot, ListSnapshots
  // Repeats of a failed or unfinished call; doubles up to the maximum.
  Duration retry_start = std::chrono::milliseconds(250);
  Duration retry_max = std::chrono::seconds(5);
  // Parts that another process runs may be left out.
  bool provisioner = true, snapshotter = true, resizer = true, snapshot_controller = true;
};

// Keeps the sidecars' memory. Destroyed after the group was joined and before the informers are.
class Sidecars {
 public:
  virtual ~Sidecars() = default;
};

// Registers with the informers and spawns in the group; work begins when the caches are filled and
// the driver answers. The caller installs SnapshotCrds() (crds.h) before and calls
// informers.StartAll(group) after. All references outlive the result.
std::unique_ptr<Sidecars> StartSidecars(Runtime& runtime, TaskGroup& group,
                                        kube::KubeClient& client, kube::InformerSet& informers,
                                        Random& random, const SidecarOptions& options);

// The same with a driver in this process, or another way to it; csi_endpoint is not looked at.
std::unique_ptr<Sidecars> StartSidecars(Runtime& runtime, TaskGroup& group,
                                        kube::KubeClient& client, kube::InformerSet& informers,
                                        Random& random, proto::CsiService& csi,
                                        const SidecarOptions& options);

}  // namespace thinsnap::sidecars
