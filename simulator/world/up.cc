#include "simulator/world/up.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <memory>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "base/core/file.h"
#include "base/core/log.h"
#include "base/core/runtime.h"
#include "base/data/json.h"
#include "base/kube/informer.h"
#include "base/kube/object.h"
#include "csi/driver/role_certificates.h"
#include "simulator/apiserver/api_server.h"
#include "simulator/containers/cgroups.h"
#include "simulator/containers/child_process.h"
#include "simulator/controllers/start.h"
#include "simulator/kubelet/access_client.h"
#include "simulator/sidecars/start.h"
#include "simulator/world/cluster_objects.h"
#include "simulator/world/control.h"
#include "simulator/world/janitor.h"
#include "simulator/world/kubeconfig.h"
#include "simulator/world/node_fleet.h"
#include "simulator/world/node_process.h"
#include "simulator/world/world_state.h"

namespace thinsnap::world {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Short for every process whose working folder is the data folder, however deep that lies: sockets
// need that.
constexpr char kControllerEndpoint[] = "unix:///proc/self/cwd/controller.sock";

// Held for life: two worlds on one folder would destroy each other.
Result<UniqueFd> LockFolder(const std::string& data) {
  UniqueFd fd(open((data + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd) return ErrnoError(errno, "open " + data + "/lock");
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return Error(Code::kFailedPrecondition, "another `thinsnap-sim up` runs on the folder " + data);
  }
  return fd;
}

sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

// Until a signal comes; an error when the folder is taken away from under the world.
Status AwaitEnd(const sigset_t& signals, const std::string& data, const UniqueFd& lock) {
  constexpr timespec kLook{.tv_sec = 1, .tv_nsec = 0};
  while (sigtimedwait(&signals, nullptr, &kLook) < 0) {
    struct stat info = {};
    if (fstat(lock.get(), &info) == 0 && info.st_nlink == 0) {
      return Error(Code::kDataLoss, "the folder " + data +
                                        " was removed while the cluster ran on it: the cluster "
                                        "ends, and what it held is lost");
    }
  }
  return {};
}

// What the processes say goes into files: the terminal gets one line when everything is ready.
Status LogToFile(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640));
  if (!fd) return ErrnoError(errno, "open " + path);
  if (dup2(fd.get(), STDERR_FILENO) < 0) return ErrnoError(errno, "log to " + path);
  return {};
}

class World {
 public:
  World(const UpOptions& options, WorldState state, const Janitor& janitor, NodeFleet::Tell tell)
      : options_(options),
        janitor_(janitor),
        tell_(std::move(tell)),
        runtime_(clock_),
        state_(std::move(state)),
        group_(runtime_) {}

  Status Start();
  // Blocks until the nodes are Ready and the driver is there.
  Status WaitUntilReady();
  void Stop();
  std::string url() const { return api_->url(); }

 private:
  Status StartControllers();
  Status StartPrograms();
  void Run(const std::string& name, std::vector<std::string> arguments);
  Result<std::string> WriteKubeconfig(const std::string& name, const std::string& account);

  const UpOptions& options_;
  const Janitor& janitor_;
  const NodeFleet::Tell tell_;
  SystemClock clock_;
  SystemRandom random_;
  ThreadRuntime runtime_;
  WorldState state_;
  net::KeyPair authority_;
  std::unique_ptr<streams::ContainerAccess> access_;
  std::unique_ptr<apiserver::ApiServer> api_;
  std::unique_ptr<kube::KubeClient> client_;
  std::unique_ptr<kube::InformerSet> informers_;
  // As the sidecars' pod would: with the account of the driver's controller.
  std::unique_ptr<kube::KubeClient> sidecar_client_;
  std::unique_ptr<kube::InformerSet> sidecar_informers_;
  TaskGroup group_;  // stopped and joined before what is above goes
  std::unique_ptr<controllers::Controllers> controllers_;
  std::unique_ptr<sidecars::Sidecars> sidecars_, snapshot_controller_;
  std::unique_ptr<NodeFleet> fleet_;
  std::unique_ptr<ControlServer> control_;
};

Status World::Start() {
  access_ = kubelet::MakeAccessClient(runtime_, group_, [this](const std::string& node) {
    return NodeFleet::FolderOf(options_.data, node) + "/kubelet.sock";
  });
  apiserver::Options api_options;
  api_options.data_folder = options_.data + "/api";
  api_options.port = options_.port;
  api_ = TRY(apiserver::ApiServer::Start(runtime_, random_, std::move(api_options), access_.get())
                 .In("API server"));
  const std::string admin = TRY(api_->Kubeconfig());
  const std::string kubeconfig = TRY(NameDataFolder(admin, options_.data));
  TRY(world::WriteKubeconfig(options_.kubeconfig, kubeconfig).In("--kubeconfig"));
  client_ = apiserver::MakeInProcessKubeClient(*api_, "system:thinsnap-sim");

  authority_ = TRY(LoadOrMakeAuthority(options_.data + "/tls", clock_));
  fleet_ =
      std::make_unique<NodeFleet>(runtime_, group_, *api_, authority_, options_, state_, tell_);
  TRY(janitor_.WaitForFormer(runtime_));
  // Before anybody who needs the roles in them.
  TRY(InstallClusterObjects(runtime_, *client_, options_.api_domain));
  for (const std::string& name : NodeNames(options_.nodes, state_)) TRY(fleet_->Start(name));
  control_ = std::make_unique<ControlServer>(
      group_, [this](const std::string& command, const std::string& name) {
        if (command == "destroy-node") return fleet_->Destroy(name);
        return Status(Error(Code::kInvalidArgument, "unknown command " + command));
      });
  TRY(control_->Start(options_.data + "/" + kControlSocket));
  TRY(StartControllers());
  return StartPrograms();
}

Status World::StartControllers() {
  informers_ = std::make_unique<kube::InformerSet>(runtime_, *client_);
  controllers::ControllerOptions controller_options;
  controller_options.root_ca_pem = api_->ca_pem();
  controllers_ = controllers::StartControllers(runtime_, group_, *client_, *informers_, random_,
                                               controller_options);
  sidecars::SidecarOptions sidecar_options;
  sidecar_options.csi_endpoint = kControllerEndpoint;
  sidecar_options.driver_name = kDriverName;
  // The driver keeps the volumes of a namespace together; the sidecar would spread them.
  sidecar_options.immediate_topology = false;
  if (options_.sidecars) {
    // The snapshot-controller is the cluster's, not the driver's.
    sidecars::SidecarOptions cluster_options = sidecar_options;
    cluster_options.provisioner = cluster_options.snapshotter = cluster_options.resizer = false;
    snapshot_controller_ =
        sidecars::StartSidecars(runtime_, group_, *client_, *informers_, random_, cluster_options);
    sidecar_options.snapshot_controller = false;
    sidecar_client_ = api_->MakeClient(SystemAccount(kControllerAccount));
    sidecar_informers_ = std::make_unique<kube::InformerSet>(runtime_, *sidecar_client_);
    sidecars_ = sidecars::StartSidecars(runtime_, group_, *sidecar_client_, *sidecar_informers_,
                                        random_, sidecar_options);
    sidecar_informers_->StartAll(group_);
  }
  informers_->StartAll(group_);
  return {};
}

Result<std::string> World::WriteKubeconfig(const std::string& name, const std::string& account) {
  const std::string path = options_.data + "/" + name + ".kubeconfig";
  const std::string text = TRY(api_->KubeconfigFor(SystemAccount(account)));
  TRY(WriteFileAtomic(path, text, 0600));
  return path;
}

void World::Run(const std::string& name, std::vector<std::string> arguments) {
  const std::string programs = options_.program.substr(0, options_.program.rfind('/'));
  containers::SupervisedOptions supervised;
  supervised.name = name;
  supervised.child.argv = {programs + "/" + name};
  supervised.child.argv.insert(supervised.child.argv.end(), arguments.begin(), arguments.end());
  supervised.child.folder = options_.data;
  supervised.child.dies_with_parent = true;
  supervised.child.own_session = true;  // Ctrl-C is for `up`, which ends them
  supervised.log_file = options_.data + "/logs/" + name + ".log";
  supervised.on_trouble = tell_;
  group_.Spawn(name, [this, supervised] { containers::Supervise(runtime_, group_, supervised); });
}

Status World::StartPrograms() {
  TRY(WriteDriverTls(options_.data + "/tls", authority_, driver::kControllerTlsName, clock_));
  const std::string tls = options_.data + "/tls/";
  Run("thinsnap-csi", {
    "controller", "--endpoint", kControllerEndpoint, "--kubeconfig",
        TRY(WriteKubeconfig("csi-controller", kControllerAccount))
    , "--tls-ca", tls + kTlsCa, "--tls-cert", tls + kTlsCert, "--tls-key", tls + kTlsKey
  });
  Run("thinsnap-operator", {
    "--kubeconfig", TRY(WriteKubeconfig("operator", kOperatorAccount))
    , "--api-domain", options_.api_domain
  });
  return {};
}

Status World::WaitUntilReady() {
  kube::Informer& nodes = informers_->For(kube::types::kNode);
  kube::Informer& csi_nodes = informers_->For(kube::types::kCsiNode);
  // A start-up wait of at most seconds; the informers have no one to tell us.
  for (;;) {
    bool ready = true;
    for (const std::string& name : fleet_->names()) {
      const kube::ObjectPtr node = nodes.Get({"", name});
      const kube::ObjectPtr csi_node = csi_nodes.Get({"", name});
      ready &= node && kube::ConditionIs(*node, "Ready") && csi_node &&
               !ArrayAt(*csi_node, "spec.drivers").empty();
    }
    if (ready) return {};
    TRY(runtime_.SleepFor(milliseconds(20)));
  }
}

void World::Stop() {
  if (fleet_) fleet_->StopAll();
  group_.Stop();
  if (api_) api_->Stop();
  group_.Join();
  containers::RemoveCgroups(CgroupOf(state_));
}

}  // namespace

Status RunUp(const UpOptions& options) {
  // SQLite takes paths of up to 512 bytes.
  constexpr std::size_t kLongestPath = 440;
  if (options.data.size() > kLongestPath) {
    return Error(Code::kInvalidArgument,
                 "--data: the folder's path has " + std::to_string(options.data.size()) +
                     " bytes; up to " + std::to_string(kLongestPath) + " are accepted");
  }
  const sigset_t signals = BlockSignals();
  TRY(MakeFolders(options.data, 0700));
  const UniqueFd lock = TRY(LockFolder(options.data));
  TRY(MakeFolders(options.data + "/logs", 0700));
  TRY(MakeFolders(options.data + "/images"));
  if (chdir(options.data.c_str()) != 0) return ErrnoError(errno, "enter " + options.data);
  const UniqueFd terminal(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3));
  TRY(LogToFile(options.data + "/logs/up.log"));

  SystemRandom random;
  const WorldState state = TRY(LoadWorldState(options.data + "/world.json", random));
  const Janitor janitor =
      TRY(Janitor::Start({.cgroup = CgroupOf(state), .data_folder = options.data}));
  World world(options, state, janitor, [&terminal](const std::string& what) {
    dprintf(terminal.get(), "thinsnap-sim: %s\n", what.c_str());
  });
  Status outcome = world.Start();
  if (outcome.ok()) {
    SystemClock clock;
    ThreadRuntime runtime(clock);
    TaskGroup waiting(runtime);
    waiting.Spawn("ready", [&] {
      if (!world.WaitUntilReady().ok()) return;
      std::printf("thinsnap-sim: %s is ready, %d nodes; export KUBECONFIG=%s\n",
                  world.url().c_str(), options.nodes, options.kubeconfig.c_str());
      std::fflush(stdout);
    });
    outcome = AwaitEnd(signals, options.data, lock);
    waiting.Stop();
    waiting.Join();
  }
  world.Stop();
  // The caller's message belongs on the terminal again.
  dup2(terminal.get(), STDERR_FILENO);
  return outcome;
}

}  // namespace thinsnap::world
