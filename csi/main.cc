// thinsnap-csi: the CSI driver. `node` owns the pool of its machine, `controller` is the socket of
// the central sidecars, `certificates` makes what the two know each other by.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <sys/signalfd.h>
#include <unistd.h>
#include <utility>

#include "base/core/bytes.h"
#include "base/core/clock.h"
#include "base/core/command.h"
#include "base/core/counters.h"
#include "base/core/farewell.h"
#include "base/core/file.h"
#include "base/core/log.h"
#include "base/core/memory.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/core/secret.h"
#include "base/kube/client_config.h"
#include "base/kube/http_kube_client.h"
#include "csi/controller/run_controller.h"
#include "csi/driver/health.h"
#include "csi/driver/identity.h"
#include "csi/driver/pool_figures.h"
#include "csi/driver/role_certificates.h"
#include "csi/driver/run_node.h"
#include "csi/mount/system_mounter.h"
#include "csi/mount/thaw_watch.h"
#include "csi/pool/thin_pool.h"
#include "csi/proto/registration_server.h"
#include "csi/reflink/pool_folder.h"
#include "csi/reflink/reflink_thin_pool.h"
#include "csi/transfer/memory_budget.h"

namespace thinsnap {
namespace {

struct Flags {
  std::string endpoint, kubeconfig, ns = "thinsnap-system";
  std::string tls_ca, tls_cert, tls_key;
  std::string health;
  bool leader_election = false;
  // Of the node.
  std::string thaw_socket;
  std::string node, pool, pool_size = "32Gi", listen, registry, kubelet_endpoint;
  bool pool_sparse = false;
  std::uint64_t memory_bytes = transfer::MemoryBudget::kDefaultBytes;
};

std::string Environment(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? "" : value;
}

Result<std::string> SocketPath(const std::string& endpoint) {
  constexpr char kScheme[] = "unix://";
  const std::string path =
      endpoint.starts_with(kScheme) ? endpoint.substr(sizeof kScheme - 1) : endpoint;
  if (path.empty() || path[0] != '/') {
    return Error(Code::kInvalidArgument, "--endpoint is \"" + endpoint +
                                             "\"; unix:///folder/csi.sock is accepted (also from "
                                             "CSI_ENDPOINT)");
  }
  return path;
}

Result<proto::TlsFiles> ReadTls(const Flags& flags) {
  proto::TlsFiles tls;
  tls.ca_pem = TRY(ReadFile(flags.tls_ca).In("--tls-ca"));
  tls.cert_pem = TRY(ReadFile(flags.tls_cert).In("--tls-cert"));
  tls.key_pem = Secret(TRY(ReadFile(flags.tls_key).In("--tls-key")));
  return tls;
}

Result<std::unique_ptr<kube::KubeClient>> ConnectKube(const Flags& flags) {
  std::string kubeconfig = flags.kubeconfig;
  if (kubeconfig.empty()) kubeconfig = Environment("KUBECONFIG");
  kube::ClientConfig config = TRY(kube::LoadClientConfig(kubeconfig));
  return kube::MakeHttpKubeClient(std::move(config), "thinsnap-csi/" THINSNAP_VERSION);
}

Status RunCertificates(Runtime& runtime, const Flags& flags) {
  const auto kube = TRY(ConnectKube(flags));
  return driver::EnsureRoleCertificates(*kube, runtime.clock(), flags.ns);
}

// Whether these are still the files that the process was started with. A renewed certificate is
// taken by starting again: the sign is a health check that fails.
Status IsCurrent(const proto::TlsFiles& loaded, const Flags& flags) {
  const proto::TlsFiles now = TRY(ReadTls(flags));
  if (now.ca_pem == loaded.ca_pem && now.cert_pem == loaded.cert_pem) return {};
  return Error(Code::kFailedPrecondition, "the certificate was renewed");
}

Result<std::unique_ptr<net::HttpServer>> StartHealth(Runtime& runtime, const Flags& flags,
                                                     const proto::TlsFiles& tls, Counters& counters,
                                                     std::function<Status()> is_ready) {
  if (flags.health.empty()) return std::unique_ptr<net::HttpServer>();
  driver::HealthOptions options;
  options.address = flags.health;
  options.socket_path = TRY(SocketPath(flags.endpoint));
  options.is_live = [&tls, &flags] { return IsCurrent(tls, flags); };
  options.is_ready = std::move(is_ready);
  options.counters = &counters;
  return driver::ServeHealth(runtime, std::move(options)).In("--health");
}

Status RunController(Runtime& runtime, TaskGroup& group, TaskGroup& farewell, Random& random,
                     const Flags& flags) {
  const proto::TlsFiles tls = TRY(ReadTls(flags));
  const auto kube = TRY(ConnectKube(flags));
  controller::ControllerDriverOptions options;
  options.socket_path = TRY(SocketPath(flags.endpoint));
  options.tls = &tls;
  options.ns = flags.ns;
  options.leader_election = flags.leader_election;
  options.identity = Environment("HOSTNAME") + "_" + random.Uuid();
  options.farewell = &farewell;
  Counters counters;
  options.counters = &counters;
  const auto health = TRY(StartHealth(runtime, flags, tls, counters, {}));
  return controller::RunControllerDriver(runtime, group, random, *kube, options);
}

// "reflink:FOLDER" is the one kind of pool so far.
Result<std::unique_ptr<pool::ThinPool>> OpenPool(Clock& clock, Random& random,
                                                 CommandRunner& runner, const Flags& flags) {
  constexpr std::string_view kReflink = "reflink:/";
  if (!flags.pool.starts_with(kReflink)) {
    return Error(Code::kInvalidArgument,
                 "--pool is \"" + flags.pool + "\"; reflink:/FOLDER is accepted");
  }
  reflink::PoolFolderOptions folder;
  folder.folder = flags.pool.substr(kReflink.size() - 1);
  folder.size_bytes = TRY(reflink::ParsePoolSize(flags.pool_size).In("--pool-size"));
  folder.preallocate = !flags.pool_sparse;
  auto options = TRY(reflink::PreparePoolFolder(runner, folder).In("--pool"));
  return reflink::OpenReflinkThinPool(clock, random, std::move(options));
}

// What the kubelet said of the registration. Thread-safe.
class Registration {
 public:
  void Set(Status status) {
    if (!status.ok()) LogWarning("driver", status.error().message());
    const std::scoped_lock lock(mutex_);
    status_ = std::move(status);
  }
  Status Get() const {
    const std::scoped_lock lock(mutex_);
    return status_;
  }

 private:
  mutable std::mutex mutex_;
  Status status_ = Error(Code::kUnavailable, "the kubelet has not registered the driver yet");
};

Status RunNode(Runtime& runtime, TaskGroup& group, Random& random, const Flags& flags) {
  const proto::TlsFiles tls = TRY(ReadTls(flags));
  driver::NodeDriverOptions options;
  options.node_name = flags.node;
  options.socket_path = TRY(SocketPath(flags.endpoint));
  options.listen_address = flags.listen;
  options.tls = &tls;
  options.ns = flags.ns;
  options.memory_bytes = flags.memory_bytes;
  const auto kube = TRY(ConnectKube(flags));
  PosixCommandRunner runner;
  mount::SystemMounter mounter(flags.thaw_socket);
  const auto pool = TRY(OpenPool(runtime.clock(), random, runner, flags));
  Counters counters;
  driver::ShowPool(counters, *pool, runtime.clock());
  options.counters = &counters;

  Registration registration;
  const auto health =
      TRY(StartHealth(runtime, flags, tls, counters, [&] { return registration.Get(); }));
  std::unique_ptr<proto::RegistrationServer> registrar;
  Status registering;
  options.on_ready = [&](const std::string&) {
    if (flags.registry.empty()) return registration.Set({});
    auto started = proto::RegistrationServer::Start(
        {flags.registry, driver::PluginInfo().name(),
         flags.kubelet_endpoint.empty() ? options.socket_path : flags.kubelet_endpoint,
         [&](const Status& said) { registration.Set(said); }});
    if (started.ok()) {
      registrar = std::move(*started);
    } else {
      registering = std::move(started).error().In("--register");
      group.Stop();
    }
  };
  const Status served =
      driver::RunNodeDriver(runtime, group, random, *pool, mounter, runner, kube.get(), options);
  return registering.ok() ? served : registering;
}

int RunThaw(const Flags& flags) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  const UniqueFd stop(signalfd(-1, &signals, SFD_CLOEXEC));
  const Status served = stop ? mount::ServeThaw(flags.thaw_socket, stop.get())
                             : Status(ErrnoError(errno, "signalfd"));
  if (served.ok()) return 0;
  std::fprintf(stderr, "thinsnap-csi: %s\n", served.error().ToString().c_str());
  return 1;
}

// Runs `serve` until SIGTERM or SIGINT. The signals are blocked in all threads and taken here.
int ServeUntilSignal(
    const std::function<Status(Runtime&, TaskGroup&, TaskGroup&, Random&)>& serve) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  SystemClock clock;
  SystemRandom random;
  ThreadRuntime runtime(clock);
  TaskGroup group(runtime);
  TaskGroup farewell(runtime);
  Status outcome;
  group.Spawn("serve", [&] {
    outcome = serve(runtime, group, farewell, random);
    kill(getpid(), SIGTERM);
  });
  int taken = 0;
  sigwait(&signals, &taken);
  EndWork(runtime, group, farewell);
  if (outcome.ok()) return 0;
  std::fprintf(stderr, "thinsnap-csi: %s\n", outcome.error().ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace thinsnap

int main(int argc, char** argv) try {
  thinsnap::HardenProcess();
  thinsnap::ShareHeaps();
  thinsnap::Flags flags;
  flags.endpoint = thinsnap::Environment("CSI_ENDPOINT");
  CLI::App app("CSI driver for thin volumes whose snapshots reach object storage", "thinsnap-csi");
  app.set_version_flag("--version", THINSNAP_VERSION);
  app.require_subcommand(1);

  CLI::App* controller = app.add_subcommand("controller", "serve the central sidecars");
  controller->add_option("--endpoint", flags.endpoint, "unix:///folder/csi.sock")
      ->envname("CSI_ENDPOINT");
  controller->add_option("--kubeconfig", flags.kubeconfig, "in place of KUBECONFIG, in-cluster");
  controller->add_option("--namespace", flags.ns, "of the driver")->capture_default_str();
  controller->add_option("--tls-ca", flags.tls_ca, "authority of all drivers")->required();
  controller->add_option("--tls-cert", flags.tls_cert, "certificate for thinsnap-csi-controller")
      ->required();
  controller->add_option("--tls-key", flags.tls_key, "its key")->required();
  controller->add_option("--health", flags.health, "host:port for /healthz and /readyz");
  controller->add_flag("--leader-election", flags.leader_election,
                       "only one of several decides about lost pools");

  CLI::App* certificates = app.add_subcommand(
      "certificates", "make or renew the Secrets with the certificates of both roles, and end");
  certificates->add_option("--kubeconfig", flags.kubeconfig, "in place of KUBECONFIG, in-cluster");
  certificates->add_option("--namespace", flags.ns, "of the driver")->capture_default_str();

  CLI::App* node = app.add_subcommand("node", "own the thin pool of this machine");
  node->add_option("--endpoint", flags.endpoint, "unix:///folder/csi.sock")
      ->envname("CSI_ENDPOINT");
  node->add_option("--node", flags.node, "name of this machine's Node")->required();
  node->add_option("--pool", flags.pool,
                   "reflink:/FOLDER: files in that folder, in an image where it has no reflinks")
      ->required();
  node->add_option("--pool-size", flags.pool_size, "of an image that is made: 512Mi to 64Ti")
      ->capture_default_str();
  node->add_flag("--pool-sparse", flags.pool_sparse,
                 "an image takes room as it fills; the disk below may run full under volumes");
  node->add_option("--memory", flags.memory_bytes,
                   "of all exports and imports together: 128Mi to 64Gi, 128Mi for each that runs")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(thinsnap::transfer::MemoryBudget::kShareBytes, 64 * thinsnap::kGiB))
      ->default_str("512Mi");
  node->add_option("--listen", flags.listen, "host:port for the controller role")->required();
  node->add_option("--register", flags.registry, "the kubelet's folder plugins_registry");
  node->add_option("--kubelet-endpoint", flags.kubelet_endpoint,
                   "the socket's path as the kubelet sees it, where that is another");
  node->add_option("--kubeconfig", flags.kubeconfig, "in place of KUBECONFIG, in-cluster");
  node->add_option("--namespace", flags.ns, "of the driver")->capture_default_str();
  node->add_option("--tls-ca", flags.tls_ca, "authority of all drivers")->required();
  node->add_option("--tls-cert", flags.tls_cert, "certificate for thinsnap-csi-node")->required();
  node->add_option("--tls-key", flags.tls_key, "its key")->required();
  node->add_option("--health", flags.health, "host:port for /healthz, /readyz and /metrics");

  node->add_option(
      "--thaw-socket", flags.thaw_socket,
      "where `thinsnap-csi thaw` watches over what is frozen: needed where this is the "
      "first process of a container");

  CLI::App* thaw = app.add_subcommand(
      "thaw", "thaw what a driver froze when it dies or takes too long; from another container");
  thaw->add_option("--socket", flags.thaw_socket, "the socket to listen on")->required();

  CLI11_PARSE(app, argc, argv);
  if (thaw->parsed()) return thinsnap::RunThaw(flags);
  return thinsnap::ServeUntilSignal([&](thinsnap::Runtime& runtime, thinsnap::TaskGroup& group,
                                        thinsnap::TaskGroup& farewell, thinsnap::Random& random) {
    if (certificates->parsed()) return thinsnap::RunCertificates(runtime, flags);
    if (node->parsed()) return thinsnap::RunNode(runtime, group, random, flags);
    return thinsnap::RunController(runtime, group, farewell, random, flags);
  });
} catch (const std::exception& error) {
  // What a library throws past its wrapper: no memory, no thread.
  std::fprintf(stderr, "thinsnap-csi: %s\n", error.what());
  return 1;
}
