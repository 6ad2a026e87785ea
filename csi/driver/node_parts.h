// NodeParts: what a node driver consists of, wired: everything but the servers that it is asked
// through and the world that it stands on. Programs and tests wire the same.
#pragma once

#include <memory>
#include <string>

#include "base/core/command.h"
#include "base/core/counters.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "csi/driver/node_driver.h"
#include "csi/driver/pool_object.h"
#include "csi/mount/mount_quiesce.h"
#include "csi/mount/mounter.h"
#include "csi/mount/volume_mounts.h"
#include "csi/pool/guard.h"
#include "csi/pool/thin_pool.h"
#include "csi/transfer/exporter.h"
#include "csi/transfer/importer.h"
#include "csi/transfer/repositories.h"

namespace thinsnap::driver {

struct NodePartsOptions {
  std::string node_name;
  // Where the Secrets of repositories lie, and the ConfigMap of lost pools.
  std::string ns = "thinsnap-system";
  std::string default_fs_type = "ext4";
  pool::GuardOptions guard;
  // Of all exports and imports together.
  std::uint64_t memory_bytes = transfer::MemoryBudget::kDefaultBytes;
  Duration heartbeat = std::chrono::seconds(10);
  // What calls and freezes are counted in; may be null. Outlives the driver.
  Counters* counters = nullptr;
  // How stores are opened; empty: as their URLs say. Tests put a store in memory here.
  transfer::StoreOpener open_store;
};

class NodeParts {
 public:
  // All of it outlives the parts; `kube` may be null. Background work runs in `group`, which is
  // stopped and joined before they go.
  NodeParts(Runtime& runtime, TaskGroup& group, Random& random, pool::ThinPool& pool,
            mount::Mounter& mounter, CommandRunner& runner, kube::KubeClient* kube,
            transfer::RepositorySource& repositories, NodePartsOptions options);

  // Asks how the pool stands, then takes up what an earlier life left. Once, before any call.
  Status Start();
  // Keeps the node's ThinPool object from now on, which says where the driver is reached. Nothing
  // without Kubernetes.
  void Report(std::string address);
  NodeDriver& driver() { return driver_; }

 private:
  Runtime& runtime_;
  TaskGroup& group_;
  pool::ThinPool& pool_;
  kube::KubeClient* const kube_;
  transfer::RepositorySource& source_;
  const NodePartsOptions options_;
  const std::unique_ptr<Random> repositories_random_, exporter_random_, importer_random_;
  transfer::Repositories repositories_;
  transfer::MemoryBudget memory_;
  transfer::Exporter exporter_;
  transfer::Importer importer_;
  mount::VolumeMounts mounts_;
  mount::MountQuiesce quiesce_;
  NodeDriver driver_;
  std::unique_ptr<PoolReporter> reporter_;
};

}  // namespace thinsnap::driver
