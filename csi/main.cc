// thinsnap-csi: the CSI driver. `node` owns the pool of its machine, `controller` is the socket of
// the central sidecars, `certificates` makes what the two know each other by.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <unistd.h>
#include <utility>

#include "base/core/clock.h"
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
#include "csi/driver/role_certificates.h"

namespace thinsnap {
namespace {

struct Flags {
  std::string endpoint, kubeconfig, ns = "thinsnap-system";
  std::string tls_ca, tls_cert, tls_key;
  std::string health;
  bool leader_election = false;
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
                                                     const proto::TlsFiles& tls,
                                                     std::function<Status()> is_ready) {
  if (flags.health.empty()) return std::unique_ptr<net::HttpServer>();
  driver::HealthOptions options;
  options.address = flags.health;
  options.socket_path = TRY(SocketPath(flags.endpoint));
  options.is_live = [&tls, &flags] { return IsCurrent(tls, flags); };
  options.is_ready = std::move(is_ready);
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
  const auto health = TRY(StartHealth(runtime, flags, tls, {}));
  return controller::RunControllerDriver(runtime, group, random, *kube, options);
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
  controller->add_option("--tls-cert", flags.tls_cert, "certificate for thinsnap-csi")->required();
  controller->add_option("--tls-key", flags.tls_key, "its key")->required();
  controller->add_option("--health", flags.health, "host:port for /healthz and /readyz");
  controller->add_flag("--leader-election", flags.leader_election,
                       "only one of several decides about lost pools");

  CLI::App* certificates = app.add_subcommand(
      "certificates", "make or renew the Secrets with the certificates of both roles, and end");
  certificates->add_option("--kubeconfig", flags.kubeconfig, "in place of KUBECONFIG, in-cluster");
  certificates->add_option("--namespace", flags.ns, "of the driver")->capture_default_str();

  CLI::App* node = app.add_subcommand("node", "own the thin pool of this machine");
  node->allow_extras();

  CLI11_PARSE(app, argc, argv);
  if (node->parsed()) {
    std::fputs(
        "thinsnap-csi: this build has no LVM pools yet, so there is no pool for `node` to own; "
        "`thinsnap-sim node` runs the same driver on a pool of reflinked files\n",
        stderr);
    return 1;
  }
  return thinsnap::ServeUntilSignal([&](thinsnap::Runtime& runtime, thinsnap::TaskGroup& group,
                                        thinsnap::TaskGroup& farewell, thinsnap::Random& random) {
    if (certificates->parsed()) return thinsnap::RunCertificates(runtime, flags);
    return thinsnap::RunController(runtime, group, farewell, random, flags);
  });
} catch (const std::exception& error) {
  // What a library throws past its wrapper: no memory, no thread.
  std::fprintf(stderr, "thinsnap-csi: %s\n", error.what());
  return 1;
}
