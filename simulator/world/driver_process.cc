#include "simulator/world/driver_process.h"

#include <csignal>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>

#include "base/core/command.h"
#include "base/core/file.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/kube/client_config.h"
#include "base/kube/http_kube_client.h"
#include "csi/driver/run_node.h"
#include "csi/reflink/reflink_thin_pool.h"
#include "simulator/world/janitor.h"
#include "simulator/world/node_process.h"
#include "simulator/world/watched_mounter.h"

namespace thinsnap::world {

Status RunDriverProcess(const DriverProcessOptions& options) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);

  SystemClock clock;
  SystemRandom random;
  ThreadRuntime runtime(clock);
  PosixCommandRunner runner;
  // The working folder is the node's: DATA/nodes/NAME.
  WatchedMounter mounter(std::string("/proc/self/cwd/../../") + kJanitorSocket);
  proto::TlsFiles tls;
  tls.ca_pem = TRY(ReadFile(options.tls_ca));
  tls.cert_pem = TRY(ReadFile(options.tls_cert));
  tls.key_pem = Secret(TRY(ReadFile(options.tls_key)));
  kube::ClientConfig config = TRY(kube::LoadClientConfig(options.kubeconfig));
  const std::unique_ptr<kube::KubeClient> client =
      kube::MakeHttpKubeClient(std::move(config), "thinsnap-node");
  reflink::ReflinkPoolOptions pool_options;
  pool_options.folder = options.pool;
  pool_options.image = kPoolImage;  // in the working folder
  const std::unique_ptr<pool::ThinPool> pool =
      TRY(reflink::OpenReflinkThinPool(clock, random, std::move(pool_options)));

  driver::NodeDriverOptions driver_options;
  driver_options.node_name = options.node;
  driver_options.socket_path = options.socket;
  driver_options.listen_address = "127.0.0.1:0";
  driver_options.tls = &tls;
  TaskGroup group(runtime);
  Status outcome;
  group.Spawn("driver", [&] {
    outcome = driver::RunNodeDriver(runtime, group, random, *pool, mounter, runner, client.get(),
                                    driver_options);
    kill(getpid(), SIGTERM);  // ends the wait below
  });
  int received = 0;
  sigwait(&signals, &received);
  group.Stop();
  group.Join();
  return outcome;
}

}  // namespace thinsnap::world
