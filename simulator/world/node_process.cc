#include "simulator/world/node_process.h"

#include <chrono>
#include <csignal>
#include <memory>
#include <sys/mount.h>
#include <unistd.h>
#include <utility>

#include "base/core/command.h"
#include "base/core/file.h"
#include "base/core/log.h"
#include "base/core/runtime.h"
#include "base/kube/client_config.h"
#include "base/kube/http_kube_client.h"
#include "base/net/http.h"
#include "csi/reflink/pool_folder.h"
#include "simulator/containers/child_process.h"
#include "simulator/containers/remove_tree.h"
#include "simulator/containers/runc_runtime.h"
#include "simulator/kubelet/csi_node.h"
#include "simulator/kubelet/kubelet.h"
#include "simulator/world/node_mounts.h"

namespace thinsnap::world {
namespace {

// What programs in pods use to find the API server.
containers::Variables ClusterVariables(const std::string& server) {
  const Result<net::Url> url = net::ParseUrl(server);
  if (!url.ok()) return {};
  const std::string port = std::to_string(url->port);
  return {{"KUBERNETES_SERVICE_HOST", url->host},
          {"KUBERNETES_SERVICE_PORT", port},
          {"KUBERNETES_SERVICE_PORT_HTTPS", port},
          {"KUBERNETES_PORT", "tcp://" + url->host + ":" + port}};
}

containers::SupervisedOptions DriverProcess(const NodeProcessOptions& options) {
  containers::SupervisedOptions driver;
  driver.name = "driver of " + options.node;
  driver.child.argv = {options.program, "node", "--node", options.node, "--socket",
                       // Short, however deep the data folder lies: sockets need that.
                       std::string("/proc/self/cwd/") + kCsiSocket, "--pool",
                       options.folder + "/" + kPoolFolder, "--kubeconfig",
                       options.folder + "/" + kDriverKubeconfig, "--tls-ca",
                       options.folder + "/" + kTlsCa, "--tls-cert", options.folder + "/" + kTlsCert,
                       "--tls-key", options.folder + "/" + kTlsKey};
  driver.child.folder = options.folder;
  driver.log_file = options.folder + "/driver.log";
  return driver;
}

// SIGTERM and SIGINT, taken by whoever waits here. Threads started later inherit the mask.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

}  // namespace

Status RunNodeProcess(const NodeProcessOptions& options) {
  const sigset_t signals = BlockSignals();
  signal(SIGPIPE, SIG_IGN);
  if (chdir(options.folder.c_str()) != 0) return ErrnoError(errno, "enter " + options.folder);
  TRY(MakeNodeRoot());
  PosixCommandRunner runner;
  const std::string memory = options.folder + "/run";
  TRY(MountMemoryFolder(memory));
  TRY(reflink::MountPoolImage(
      runner, {options.folder + "/" + kPoolImage, options.pool_bytes, /*preallocate=*/false},
      options.folder + "/" + kPoolFolder));

  SystemClock clock;
  SystemRandom random;
  ThreadRuntime runtime(clock);
  kube::ClientConfig config = TRY(kube::LoadClientConfig(options.folder + "/" + kNodeKubeconfig));
  const containers::Variables environment = ClusterVariables(config.server);
  const std::unique_ptr<kube::KubeClient> client =
      kube::MakeHttpKubeClient(std::move(config), "thinsnap-kubelet");

  containers::RuncRuntime containers(runtime, runner, memory + "/runc");
  const std::unique_ptr<kubelet::CsiNode> csi =
      kubelet::MakeCsiNode(runtime, std::string("unix:///proc/self/cwd/") + kCsiSocket);
  kubelet::KubeletOptions kubelet_options;
  kubelet_options.node = options.node;
  kubelet_options.folder = options.folder;
  kubelet_options.memory_folder = memory;
  kubelet_options.cgroup_prefix = options.cgroup;
  kubelet_options.images.cache_folder = options.images;
  kubelet_options.images.program_folder = options.program.substr(0, options.program.rfind('/'));
  kubelet_options.images.folders = options.image_folders;
  kubelet_options.environment = environment;
  kubelet_options.lent_paths = options.lent_paths;
  kubelet::Kubelet agent(runtime, *client, runner, random, containers, *csi,
                         std::move(kubelet_options));

  TaskGroup group(runtime);
  TRY(containers.StartWatching(group));
  group.Spawn("driver", [&] { containers::Supervise(runtime, group, DriverProcess(options)); });
  group.Spawn("kubelet", [&] {
    const Status started = agent.Start(group);
    if (!started.ok() && !started.Is(Code::kCancelled))
      LogError("kubelet", started.error().ToString());
  });

  int received = 0;
  sigwait(&signals, &received);
  group.Stop();
  group.Join();
  // Volumes are flushed and everything is unmounted when this process, the last that matters, is
  // gone.
  return {};
}

}  // namespace thinsnap::world
