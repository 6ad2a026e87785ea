#include "csi/driver/run_node.h"

#include <memory>
#include <utility>

#include "base/core/log.h"
#include "csi/driver/node_driver.h"
#include "csi/driver/pool_object.h"
#include "csi/driver/stopped.h"
#include "csi/mount/mount_quiesce.h"
#include "csi/mount/volume_mounts.h"
#include "csi/proto/csi_server.h"
#include "csi/transfer/exporter.h"
#include "csi/transfer/importer.h"
#include "csi/transfer/repositories.h"

namespace thinsnap::driver {
namespace {

std::unique_ptr<transfer::RepositorySource> ChooseSource(Runtime& runtime, kube::KubeClient* kube,
                                                         const NodeDriverOptions& options) {
  if (!options.repositories_folder.empty()) {
    return std::make_unique<transfer::FolderRepositorySource>(runtime, options.repositories_folder);
  }
  if (kube == nullptr) return std::make_unique<transfer::NoRepositorySource>();
  return std::make_unique<transfer::SecretRepositorySource>(runtime, *kube, options.ns);
}

// "10.0.0.7:4000" where the server listens on "0.0.0.0:4000" and says that its host is 10.0.0.7.
std::string Advertised(const NodeDriverOptions& options, const std::string& address) {
  if (options.advertised_host.empty() || address.empty()) return address;
  return options.advertised_host + address.substr(address.rfind(':'));
}

PoolStanding StandingOf(bool lost) { return lost ? PoolStanding::kLost : PoolStanding::kServes; }

}  // namespace

Status RunNodeDriver(Runtime& runtime, TaskGroup& group, Random& random, pool::ThinPool& pool,
                     mount::Mounter& mounter, CommandRunner& runner, kube::KubeClient* kube,
                     const NodeDriverOptions& options) {
  StopSignal stopped(runtime, group);
  TaskGroup work(runtime, &group);
  const auto source = ChooseSource(runtime, kube, options);
  transfer::StoreOpener open_store = options.open_store;
  if (!open_store) {
    open_store = [&](const store::Location& location) {
      return store::OpenStore(runtime, random, location);
    };
  }
  transfer::Repositories repositories(runtime, random, *source, std::move(open_store));
  transfer::ExporterOptions exporting;
  exporting.node_name = options.node_name;
  transfer::Exporter exporter(runtime, work, random, pool, repositories, exporting);
  transfer::Importer importer(runtime, work, random, pool, repositories);
  mount::VolumeMounts mounts(pool, mounter, runner, options.default_fs_type);
  mount::MountQuiesce quiesce(
      mounter, [&](const pool::VolumeId& volume) { return mounts.DeviceOf(volume); });
  NodeDriver driver(runtime, pool, mounts, quiesce, exporter, importer, repositories,
                    options.node_name);
  source->OnChange([&](const std::string& id) {
    const auto config = source->Find(id);
    exporter.OnRepositoryChange(id, config.Is(Code::kNotFound) || (config.ok() && config->wiping));
  });
  source->Start(work);

  std::unique_ptr<proto::CsiServer> server;
  const auto serve = [&]() -> Status {
    TRY(driver.Start());
    if (kube != nullptr) {
      // Nobody may be answered by a pool that came back from the dead. Where the API server does
      // not answer now, the reporter asks again.
      const auto lost = IsDeclaredLost(*kube, options.ns, driver.pool_id());
      driver.SetStanding(lost.ok() ? StandingOf(*lost) : PoolStanding::kUnknown);
    }
    TRY(exporter.Resume());
    TRY(importer.Resume());
    proto::CsiServer::Options serving;
    serving.unix_socket = options.socket_path;
    serving.listen_address = options.listen_address;
    serving.tls = options.tls;
    server = TRY(proto::CsiServer::Start(runtime, work, driver, serving));
    return {};
  };
  Status outcome = serve();
  std::unique_ptr<PoolReporter> reporter;
  if (outcome.ok()) {
    if (kube != nullptr) {
      PoolReporter::Options reporting;
      reporting.node_name = options.node_name;
      reporting.address = Advertised(options, server->address());
      reporting.ns = options.ns;
      reporting.period = options.heartbeat;
      reporting.on_lost = [&](bool lost) { driver.SetStanding(StandingOf(lost)); };
      reporter = std::make_unique<PoolReporter>(runtime, *kube, pool, std::move(reporting));
      work.Spawn("pool object", [&] { reporter->Run(); });
    }
    LogInfo("driver", "node " + options.node_name + " serves pool " + driver.pool_id().str());
    if (options.on_ready) options.on_ready(server->address());
    stopped.Wait();
  }
  // First the waits of all calls end, then the server can end, then nothing uses what is above.
  work.Stop();
  server.reset();
  work.Join();
  return outcome;
}

}  // namespace thinsnap::driver
