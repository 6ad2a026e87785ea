#include "csi/controller/run_controller.h"

#include <memory>
#include <utility>

#include "base/core/log.h"
#include "base/kube/lease.h"
#include "csi/controller/controller_driver.h"
#include "csi/controller/pool_controller.h"
#include "csi/controller/pool_directory.h"
#include "csi/driver/role_certificates.h"
#include "csi/driver/stopped.h"
#include "csi/proto/csi_server.h"

namespace thinsnap::controller {
namespace {

// The provisioner has csi-thinsnap-io in the same namespace.
constexpr char kLeaseName[] = "thinsnap-csi-controller";
constexpr Duration kLeasePause = std::chrono::seconds(2);

// Decides about lost pools while it is the leader, and stands for leader again when it no longer
// is.
void LeadPools(Runtime& runtime, TaskGroup& group, kube::KubeClient& kube, PoolDirectory& directory,
               const ControllerDriverOptions& options) {
  kube::LeaseOptions lease;
  lease.key = {options.ns, kLeaseName};
  lease.identity = options.identity;
  for (;;) {
    const Status led = kube::RunWithLease(
        runtime, kube, group, *options.farewell, lease, [&](TaskGroup& leading) -> Status {
          driver::StopSignal stopped(runtime, leading);
          // Its own informer: handlers of the shared one would outlive the leadership.
          PoolDirectory watched(runtime, kube, options.ns,
                                [&](const std::string& at) { return directory.Connect(at); });
          PoolController controller(runtime, kube, watched, options.ns);
          watched.Start(leading);
          controller.Start(leading);
          stopped.Wait();
          leading.Stop();
          leading.Join();
          return {};
        });
    if (Runtime::Cancelled()) return;
    if (!led.ok()) LogWarning("lease", led.error().ToString());
    if (!runtime.SleepFor(kLeasePause).ok()) return;
  }
}

}  // namespace

Status RunControllerDriver(Runtime& runtime, TaskGroup& group, Random&, kube::KubeClient& kube,
                           const ControllerDriverOptions& options) {
  ASSERT(options.tls != nullptr);
  ASSERT(!options.leader_election || options.farewell != nullptr);
  driver::StopSignal stopped(runtime, group);
  TaskGroup work(runtime, &group);
  proto::ClientOptions connecting;
  connecting.tls = options.tls;
  connecting.server_name = driver::kNodeTlsName;
  PoolDirectory directory(
      runtime, kube, options.ns,
      [&](const std::string& address) -> NodePtr {
        return proto::ConnectCsi(runtime, address, connecting);
      },
      options.silence);
  ControllerDriver driver(runtime, work, directory);
  std::unique_ptr<PoolController> pools;
  if (!options.leader_election) {
    pools = std::make_unique<PoolController>(runtime, kube, directory, options.ns);
  }
  directory.Start(work);
  auto server = proto::CsiServer::OnSocket(runtime, work,
                                           {.identity = &driver,
                                            .controller = &driver,
                                            .groups = &driver,
                                            .metadata = &driver,
                                            .counters = options.counters},
                                           options.socket_path);
  Status outcome;
  if (server.ok()) {
    if (pools) {
      pools->Start(work);
    } else {
      work.Spawn("leader election", [&] { LeadPools(runtime, work, kube, directory, options); });
    }
    LogInfo("driver", "the controller role serves " + options.socket_path);
    if (options.on_ready) options.on_ready();
    stopped.Wait();
  } else {
    outcome = server.error();
  }
  work.Stop();
  if (server.ok()) server->reset();
  work.Join();
  return outcome;
}

}  // namespace thinsnap::controller
