// thinsnap-csi as a DaemonSet and a Deployment start it: both roles as processes with the
// certificates that its own verb made, a folder as the pool, and the kubelet's end of the node's
// sockets here.
#include <algorithm>
#include <array>
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/file.h"
#include "base/data/json.h"
#include "base/data/yaml.h"
#include "base/kube/object.h"
#include "base/net/http_client.h"
#include "csi/proto/csi_client.h"
#include "simulator/containers/child_process.h"
#include "simulator/sidecars/crds.h"
#include "tests/system/echo_server.h"
#include "tests/system/registration_client.h"

namespace thinsnap {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr char kNs[] = "thinsnap-system";

#define ASSERT_ANSWER(expression)                            \
  do {                                                       \
    const auto& answer_ = (expression);                      \
    ASSERT_TRUE(answer_.ok()) << answer_.error().ToString(); \
  } while (false)

class DriverProgramsTest : public testing::Test, protected EchoServer {
 protected:
  void SetUp() override {
    if (geteuid() != 0 || access("/dev/loop-control", F_OK) != 0) {
      GTEST_SKIP() << "no root or no loop devices are to be had";
    }
    StartServer();
    InstallDriver();
    for (const char* name : {"pool", "registry", "pods"}) fs::create_directories(Path(name));
    // What a node's mount namespace is for its pods: it is there whoever comes and goes.
    containers::ChildOptions node;
    node.argv = {"unshare", "--mount", "--propagation", "private", "sleep", "infinity"};
    node.dies_with_parent = true;
    namespace_ = Start(node);
    ASSERT_TRUE(Until([&] {
      std::error_code ignored;
      const auto at = "/proc/" + std::to_string(namespace_.pid()) + "/ns/mnt";
      return fs::read_symlink(at, ignored) != fs::read_symlink("/proc/self/ns/mnt", ignored);
    }));
    const CommandOutput made = Program({"certificates", "--kubeconfig", config()});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    WriteTls("thinsnap-csi-node-tls", "node-tls");
    WriteTls("thinsnap-csi-controller-tls", "controller-tls");
  }
  void TearDown() override {
    controller_ = {};
    node_ = {};
    namespace_ = {};
    if (!HasFailure()) return;
    for (const char* log : {"node.log", "controller.log"}) {
      std::cout << "== " << log << "\n" << ReadFile(Path(log)).ValueOr("");
    }
  }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  // Addresses of this process alone, as a pod has its own.
  std::string Address(const std::string& port) const {
    const auto id = static_cast<unsigned>(getpid());
    return "127." + std::to_string(100 + id % 100) + "." + std::to_string(id / 100 % 250) + "." +
           std::to_string(1 + id / 25000 % 250) + ":" + port;
  }
  // Waits for something that another process does.
  bool Until(const std::function<bool()>& happened) {
    const MonoTime deadline = clock_.MonoNow() + seconds(60);
    while (!happened()) {
      if (clock_.MonoNow() > deadline || !runtime_.SleepFor(milliseconds(20)).ok()) return false;
    }
    return true;
  }

  void InstallDriver() {
    admin_ = apiserver::MakeInProcessKubeClient(*server_, "admin");
    for (const auto& [type, key] : {std::pair{kube::types::kNamespace, kube::ObjectKey{"", kNs}},
                                    std::pair{kube::types::kNode, kube::ObjectKey{"", "node-a"}}}) {
      ASSERT_ANSWER(admin_->Create(type, kube::NewObject(type, key)));
    }
    const auto crds =
        ParseYamlStream(ReadFile(THINSNAP_SOURCE_DIR "/deploy/driver/thinpools.yaml").ValueOr(""));
    ASSERT_ANSWER(crds);
    const Status installed = sidecars::InstallCrds(runtime_, *admin_, *crds);
    ASSERT_TRUE(installed.ok()) << installed.error().ToString();
  }
  // As a volume of that Secret is in a pod.
  void WriteTls(const std::string& secret, const std::string& folder) {
    const auto object = admin_->Get(kube::types::kSecret, {kNs, secret});
    ASSERT_ANSWER(object);
    fs::create_directories(Path(folder));
    for (const auto& [name, value] : *FindObject(*object, "data")) {
      const auto bytes = Base64Decode(std::string_view(value.get_string()));
      ASSERT_ANSWER(bytes);
      ASSERT_TRUE(
          WriteFileAtomic(Path(folder) + "/" + std::string(name), AsText(*bytes), 0600).ok());
    }
  }

  containers::ChildProcess Start(const containers::ChildOptions& options) {
    auto child = containers::StartChild(options);
    EXPECT_TRUE(child.ok()) << child.error().ToString();
    return child.ok() ? std::move(*child) : containers::ChildProcess();
  }
  containers::ChildProcess StartRole(const std::string& role, std::vector<std::string> launcher,
                                     const std::vector<std::string>& arguments) {
    const std::string tls = Path(role + "-tls/");
    const UniqueFd log(
        open(Path(role + ".log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    containers::ChildOptions options;
    options.argv = std::move(launcher);
    options.argv.insert(options.argv.end(),
                        {THINSNAP_BINARY_DIR "/bin/thinsnap-csi", role, "--kubeconfig", config(),
                         "--endpoint", "unix://" + Path(role + ".sock"), "--tls-ca", tls + "ca.crt",
                         "--tls-cert", tls + "tls.crt", "--tls-key", tls + "tls.key"});
    options.argv.insert(options.argv.end(), arguments.begin(), arguments.end());
    options.stderr_fd = log.get();
    options.dies_with_parent = true;
    return Start(options);
  }
  void StartNode() {
    node_ = StartRole("node",
                      {"nsenter", "--mount=/proc/" + std::to_string(namespace_.pid()) + "/ns/mnt"},
                      {"--node", "node-a", "--pool", "reflink:" + Path("pool"), "--pool-size",
                       "512Mi", "--listen", Address("9820"), "--register", Path("registry"),
                       "--kubelet-endpoint", Path("node.sock"), "--health", Address("9821")});
    ASSERT_TRUE(Until([&] { return fs::exists(Path("registry/csi.thinsnap.io-reg.sock")); }));
    csi_ = proto::ConnectCsi(runtime_, "unix://" + Path("node.sock"));
  }
  std::string MountNamespace() const {
    return "--mount=/proc/" + std::to_string(namespace_.pid()) + "/ns/mnt";
  }
  // The program on this node with other words: what it prints, and how it ends.
  CommandOutput Program(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"nsenter", MountNamespace(), THINSNAP_BINARY_DIR "/bin/thinsnap-csi"});
    Command command;
    command.argv = std::move(arguments);
    command.timeout = seconds(60);
    auto output = runner_.Run(command);
    EXPECT_TRUE(output.ok()) << output.error().ToString();
    return output.ok() ? std::move(*output) : CommandOutput{.exit_code = -1, .out = "", .err = ""};
  }

  // "200 ok", as a kubelet or Prometheus reads it.
  std::string Ask(const std::string& path) {
    net::HttpRequest request;
    request.url = "http://" + Address("9821") + path;
    const auto answer = net::MakeHttpClient({})->Do(request);
    return answer.ok() ? std::to_string(answer->status) + " " + answer->body
                       : answer.error().ToString();
  }
  // A line of /metrics: the number behind a name, -1 where there is none.
  double Figure(const std::string& name) {
    const std::string all = Ask("/metrics");
    const auto at = all.find("\n" + name + "{");
    if (at == std::string::npos) return -1;
    return std::stod(all.substr(all.find("} ", at) + 2));
  }
  std::string Registration() const { return Path("registry/csi.thinsnap.io-reg.sock"); }
  void SayRegistered(const std::string& error) { ASSERT_ANSWER(TellPlugin(Registration(), error)); }

  static csi::v1::VolumeCapability Capability() {
    csi::v1::VolumeCapability capability;
    capability.mutable_mount();
    capability.mutable_access_mode()->set_mode(
        csi::v1::VolumeCapability::AccessMode::SINGLE_NODE_WRITER);
    return capability;
  }
  proto::Call Soon() { return {clock_.MonoNow() + seconds(30)}; }
  void StageAndPublish(const std::string& volume) {
    csi::v1::NodeStageVolumeRequest stage;
    stage.set_volume_id(volume);
    stage.set_staging_target_path(Path("staging"));
    *stage.mutable_volume_capability() = Capability();
    fs::create_directories(Path("staging"));
    ASSERT_ANSWER(csi_->NodeStageVolume(Soon(), stage));
    csi::v1::NodePublishVolumeRequest publish;
    publish.set_volume_id(volume);
    publish.set_staging_target_path(Path("staging"));
    publish.set_target_path(Path("pods/v"));
    *publish.mutable_volume_capability() = Capability();
    ASSERT_ANSWER(csi_->NodePublishVolume(Soon(), publish));
  }
  // A path as a pod of the node sees it.
  std::string InPod(const std::string& file) const {
    return "/proc/" + std::to_string(namespace_.pid()) + "/root" + Path("pods/v/") + file;
  }

  std::unique_ptr<kube::KubeClient> admin_;
  containers::ChildProcess namespace_, node_, controller_;
  std::unique_ptr<proto::CsiService> csi_;  // of the node
};

TEST_F(DriverProgramsTest, ANodeIsReadyWhenTheKubeletHasTakenIt) {
  StartNode();
  const auto plugin = AskPlugin(Registration());
  ASSERT_ANSWER(plugin);
  EXPECT_EQ(plugin->name, "csi.thinsnap.io");
  EXPECT_EQ(plugin->endpoint, Path("node.sock"));
  const auto node = csi_->NodeGetInfo(Soon(), {});
  ASSERT_ANSWER(node);
  EXPECT_FALSE(node->node_id().empty());

  EXPECT_EQ(Ask("/healthz"), "200 ok\n");
  EXPECT_THAT(Ask("/readyz"), HasSubstr("503 the kubelet has not registered the driver yet"));
  SayRegistered("NodeGetInfo: no such node");
  EXPECT_THAT(Ask("/readyz"), HasSubstr("no such node"));
  EXPECT_EQ(Ask("/healthz"), "200 ok\n");
  SayRegistered("");
  EXPECT_EQ(Ask("/readyz"), "200 ok\n");

  EXPECT_EQ(Figure("thinsnap_pool_up"), 1);
  EXPECT_GT(Figure("thinsnap_pool_size_bytes"), 400 * kMiB);
  EXPECT_LE(Figure("thinsnap_pool_size_bytes"), 512 * kMiB);
  EXPECT_EQ(Figure("thinsnap_pool_volumes"), 0);

  // A renewed certificate is taken by starting again.
  ASSERT_TRUE(WriteFileAtomic(Path("node-tls/tls.crt"), "another").ok());
  EXPECT_THAT(Ask("/healthz"), HasSubstr("503"));

  node_.Signal(SIGTERM);
  EXPECT_EQ(node_.Wait(seconds(30)).ValueOr(-1), 0);
  EXPECT_FALSE(fs::exists(Path("registry/csi.thinsnap.io-reg.sock")));
}

TEST_F(DriverProgramsTest, AVolumeOutlivesTheProgramsThatMadeIt) {
  StartNode();
  controller_ = StartRole("controller", {}, {});
  ASSERT_TRUE(Until([&] { return fs::exists(Path("controller.sock")); }));
  const auto controller = proto::ConnectCsi(runtime_, "unix://" + Path("controller.sock"));
  csi::v1::CreateVolumeRequest wanted;
  wanted.set_name("pvc-1");
  wanted.mutable_capacity_range()->set_required_bytes(64 * kMiB);
  *wanted.add_volume_capabilities() = Capability();
  std::string volume;
  // Until the controller knows of the pool.
  ASSERT_TRUE(Until([&] {
    const auto made = controller->CreateVolume(Soon(), wanted);
    if (made.ok()) volume = made->volume().volume_id();
    return made.ok();
  }));
  StageAndPublish(volume);
  std::ofstream(InPod("file")) << "of the first life";
  EXPECT_EQ(Figure("thinsnap_pool_volumes"), 1);

  for (const int signal : {SIGKILL, SIGTERM}) {
    node_.Signal(signal);
    ASSERT_TRUE(node_.Wait(seconds(30)).ok());
    std::ofstream(InPod("file"), std::ios::app) << ", of none";
    fs::remove(Path("registry/csi.thinsnap.io-reg.sock"));
    StartNode();
    StageAndPublish(volume);  // as a kubelet that was started again asks
  }
  EXPECT_EQ(ReadFile(InPod("file")).ValueOr(""), "of the first life, of none, of none");
  csi::v1::NodeGetVolumeStatsRequest stats;
  stats.set_volume_id(volume);
  stats.set_volume_path(Path("pods/v"));
  ASSERT_ANSWER(csi_->NodeGetVolumeStats(Soon(), stats));

  csi::v1::DeleteVolumeRequest removal;
  removal.set_volume_id(volume);
  EXPECT_TRUE(controller->DeleteVolume(Soon(), removal).Is(Code::kFailedPrecondition));
  csi::v1::NodeUnpublishVolumeRequest unpublish;
  unpublish.set_volume_id(volume);
  unpublish.set_target_path(Path("pods/v"));
  ASSERT_ANSWER(csi_->NodeUnpublishVolume(Soon(), unpublish));
  csi::v1::NodeUnstageVolumeRequest unstage;
  unstage.set_volume_id(volume);
  unstage.set_staging_target_path(Path("staging"));
  ASSERT_ANSWER(csi_->NodeUnstageVolume(Soon(), unstage));
  ASSERT_ANSWER(controller->DeleteVolume(Soon(), removal));
  EXPECT_EQ(Figure("thinsnap_pool_volumes"), 0);
}

TEST_F(DriverProgramsTest, WhatANodeCannotStartWithIsNamed) {
  std::vector<std::string> good = {"node",         "--kubeconfig",  config(),
                                   "--node",       "node-a",        "--endpoint",
                                   Path("x.sock"), "--pool",        "reflink:" + Path("pool"),
                                   "--listen",     Address("9820"), "--pool-size",
                                   "512Mi"};
  for (const char* file : {"ca.crt", "tls.crt", "tls.key"}) {
    const std::string name = file;
    good.insert(good.end(), {name == "ca.crt"    ? "--tls-ca"
                             : name == "tls.crt" ? "--tls-cert"
                                                 : "--tls-key",
                             Path("node-tls/") + name});
  }
  for (const auto& [flag, value, said] : std::vector<std::array<std::string, 3>>{
           {"--pool", "lvm:vg/pool", "--pool is \"lvm:vg/pool\""},
           {"--pool", "reflink:relative", "reflink:/FOLDER is accepted"},
           {"--pool", "reflink:" + Path("none"), Path("none")},
           {"--pool-size", "much", "--pool-size"},
           {"--pool-size", "60Ti", "bytes free"},
           {"--listen", "nowhere", "cannot listen on"},
           {"--endpoint", "csi.sock", "--endpoint is \"csi.sock\""},
           {"--tls-key", Path("none.key"), "--tls-key"},
           {"--health", "nowhere", "--health"},
           {"--kubeconfig", Path("none"), Path("none")}}) {
    std::vector<std::string> arguments = good;
    const auto at = std::find(arguments.begin(), arguments.end(), flag);
    if (at == arguments.end()) {
      arguments.insert(arguments.end(), {flag, value});
    } else {
      *(at + 1) = value;
    }
    const CommandOutput ended = Program(arguments);
    EXPECT_EQ(ended.exit_code, 1) << flag << " " << value;
    EXPECT_THAT(ended.err, HasSubstr("thinsnap-csi: ")) << flag << " " << value;
    EXPECT_THAT(ended.err, HasSubstr(said)) << flag << " " << value;
  }
}

}  // namespace
}  // namespace thinsnap
