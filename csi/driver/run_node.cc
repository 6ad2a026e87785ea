#include "csi/driver/run_node.h"

#include <memory>
#include <utility>

#include "base/core/log.h"
#include "csi/driver/role_certificates.h"
#include "csi/driver/stopped.h"
#include "csi/proto/csi_server.h"
#include "csi/transfer/repository_source.h"

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
  if (options.advertised_host.empty()) return address;
  return options.advertised_host + address.substr(address.rfind(':'));
}

}  // namespace

Status RunNodeDriver(Runtime& runtime, TaskGroup& group, Random& random, pool::ThinPool& pool,
                     mount::Mounter& mounter, CommandRunner& runner, kube::KubeClient* kube,
                     const NodeDriverOptions& options) {
  StopSignal stopped(runtime, group);
  TaskGroup work(runtime, &group);
  const auto source = ChooseSource(runtime, kube, options);
  NodeParts parts(runtime, work, random, pool, mounter, runner, kube, *source, options);
  source->Start(work);

  std::unique_ptr<proto::CsiServer> socket, network;
  const auto serve = [&]() -> Status {
    TRY(parts.Start());
    const proto::Services services = {.identity = &parts.driver(),
                                      .controller = &parts.driver(),
                                      .groups = &parts.driver(),
                                      .metadata = &parts.driver(),
                                      .counters = options.counters};
    if (!options.listen_address.empty()) {
      ASSERT(options.tls != nullptr);
      network = TRY(proto::CsiServer::OnNetwork(runtime, work, services, options.listen_address,
                                                *options.tls, kControllerTlsName));
    }
    proto::Services of_socket = services;
    of_socket.node = &parts.driver();
    socket = TRY(proto::CsiServer::OnSocket(runtime, work, of_socket, options.socket_path));
    return {};
  };
  Status outcome = serve();
  if (outcome.ok()) {
    parts.Report(network ? Advertised(options, network->address()) : "");
    LogInfo("driver",
            "node " + options.node_name + " serves pool " + parts.driver().pool_id().str());
    if (options.on_ready) options.on_ready(network ? network->address() : "");
    stopped.Wait();
  }
  // First the waits of all calls end, then the servers can end, then nothing uses what is above.
  work.Stop();
  socket.reset();
  network.reset();
  work.Join();
  return outcome;
}

}  // namespace thinsnap::driver
