// thinsnap-sim: a cluster on this machine, its nodes, and an object store.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string>
#include <unistd.h>
#include <vector>

#include "base/core/log.h"
#include "base/core/memory.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/core/secret.h"
#include "csi/reflink/pool_folder.h"
#include "simulator/s3/serve.h"
#include "simulator/world/control.h"
#include "simulator/world/driver_process.h"
#include "simulator/world/kubeconfig.h"
#include "simulator/world/node_process.h"
#include "simulator/world/up.h"

namespace {

using thinsnap::Code;
using thinsnap::Error;
using thinsnap::Result;
using thinsnap::Status;

// The program's own file, links resolved: the other programs lie beside it.
std::string OwnProgram() {
  char path[PATH_MAX];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
  return n > 0 ? std::string(path, static_cast<std::size_t>(n)) : "";
}

std::string Absolute(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}

Result<std::map<std::string, std::string>> ParseImages(const std::vector<std::string>& texts) {
  std::map<std::string, std::string> images;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos || equals + 1 == text.size()) {
      return Error(Code::kInvalidArgument, "--image " + text + ": expected NAME=FOLDER");
    }
    images[text.substr(0, equals)] = Absolute(text.substr(equals + 1));
  }
  return images;
}

struct Flags {
  thinsnap::world::UpOptions up;
  thinsnap::world::NodeProcessOptions node;
  thinsnap::world::DriverProcessOptions driver;
  std::vector<std::string> images;
  std::string pool_size = "32Gi";
  std::string sidecars = "built-in";
  std::string destroy_name, destroy_data;
  thinsnap::s3::S3Options s3;
  int s3_latency_ms = 0;
};

Status Up(Flags& flags) {
  if (geteuid() != 0) {
    return Error(Code::kPermissionDenied,
                 "`up` mounts filesystems and runs containers: start it as root");
  }
  flags.up.data = Absolute(flags.up.data);
  flags.up.kubeconfig =
      Absolute(flags.up.kubeconfig.empty() ? flags.up.data + "/kubeconfig" : flags.up.kubeconfig);
  flags.up.image_folders = TRY(ParseImages(flags.images));
  for (std::string& path : flags.up.lent_paths) path = Absolute(path);
  flags.up.pool_bytes = TRY(thinsnap::reflink::ParsePoolSize(flags.pool_size).In("--pool-size"));
  flags.up.sidecars = flags.sidecars == "built-in";
  flags.up.program = OwnProgram();
  return thinsnap::world::RunUp(flags.up);
}

Status Destroy(Flags& flags) {
  if (flags.destroy_data.empty()) {
    const char* kubeconfig = getenv("KUBECONFIG");
    if (kubeconfig == nullptr) {
      return Error(Code::kInvalidArgument,
                   "which cluster? Name its folder with --data, or set KUBECONFIG to its file");
    }
    flags.destroy_data = TRY(thinsnap::world::FindDataFolder(kubeconfig));
  }
  return thinsnap::world::SendControl(Absolute(flags.destroy_data), "destroy-node",
                                      flags.destroy_name);
}

Status Node(Flags& flags) {
  flags.node.image_folders = TRY(ParseImages(flags.images));
  flags.node.program = OwnProgram();
  return thinsnap::world::RunNodeProcess(flags.node);
}

// The object store, until SIGTERM or SIGINT.
Status ServeS3(Flags& flags) {
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  // Blocked before any thread is there: only the wait below sees them.
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  // Credentials never stand on a command line, where every user of the machine could read them.
  if (const char* id = getenv("AWS_ACCESS_KEY_ID")) flags.s3.access_key_id = id;
  if (const char* key = getenv("AWS_SECRET_ACCESS_KEY"))
    flags.s3.secret_access_key = thinsnap::Secret(key);
  flags.s3.data_folder = Absolute(flags.s3.data_folder);
  flags.s3.chaos.latency = std::chrono::milliseconds(flags.s3_latency_ms);
  thinsnap::SystemClock clock;
  thinsnap::SystemRandom random;
  thinsnap::ThreadRuntime runtime(clock);
  thinsnap::TaskGroup group(runtime);
  Status outcome;
  group.Spawn("s3", [&] {
    const Result<int> served = thinsnap::s3::ServeS3(runtime, random, group, std::move(flags.s3));
    if (!served.ok()) outcome = served.error();
    kill(getpid(), SIGTERM);
  });
  int signal = 0;
  sigwait(&ends, &signal);
  group.Stop();
  group.Join();
  return outcome;
}

}  // namespace

int main(int argc, char** argv) try {
  thinsnap::HardenProcess();
  thinsnap::ShareHeaps();
  Flags flags;
  CLI::App app(
      "thinsnap-sim: a Kubernetes cluster on this machine, with the thinsnap driver and operator");
  app.set_version_flag("--version", THINSNAP_VERSION);
  app.require_subcommand(1);

  auto* up = app.add_subcommand("up", "Run a cluster in the foreground until SIGTERM");
  up->add_option("--nodes", flags.up.nodes, "How many nodes")
      ->check(CLI::Range(1, 32))
      ->capture_default_str();
  up->add_option("--data", flags.up.data,
                 "Folder of everything; started again on it, the cluster goes on")
      ->required();
  up->add_option("--kubeconfig", flags.up.kubeconfig,
                 "Where to write the kubeconfig; DATA/kubeconfig without");
  up->add_option("--port", flags.up.port,
                 "Port of the API server; without: as before, else any free one")
      ->check(CLI::Range(0, 65535));
  up->add_option("--image", flags.images,
                 "NAME=FOLDER: a root filesystem or an OCI layout for an image (repeatable)");
  up->add_option(
      "--host-path", flags.up.lent_paths,
      "A path of this machine that pods may mount by hostPath, with all that is below it "
      "(repeatable); other hostPaths lie in a folder of their node");
  up->add_option("--api-domain", flags.up.api_domain, "API domain of the operator's kinds")
      ->capture_default_str();
  up->add_option("--pool-size", flags.pool_size, "Size of each node's pool")->capture_default_str();
  up->add_option("--sidecars", flags.sidecars,
                 "Who provisions, snapshots and resizes: built-in, or none, where the upstream "
                 "programs do it with the kubeconfig and the socket DATA/controller.sock")
      ->check(CLI::IsMember({"built-in", "none"}))
      ->capture_default_str();

  auto* destroy =
      app.add_subcommand("destroy-node", "Burn a node with its pool; it never comes back");
  destroy->add_option("name", flags.destroy_name, "Name of the node")->required();
  destroy->add_option("--data", flags.destroy_data,
                      "The folder of the running cluster; without: the one of KUBECONFIG");

  auto* s3 = app.add_subcommand(
      "s3",
      "Serve an S3 object store in the foreground until SIGTERM; credentials come from "
      "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or are made up and printed");
  s3->add_option("--data", flags.s3.data_folder, "Folder of the buckets")->required();
  s3->add_option("--address", flags.s3.address, "Address to listen on")->capture_default_str();
  s3->add_option("--port", flags.s3.port, "Port; 0: any free one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  s3->add_option("--bucket", flags.s3.buckets, "A bucket to make if it is missing (repeatable)");
  s3->add_option("--region", flags.s3.region, "Region that signatures must name")
      ->capture_default_str();
  // Faults, for tests of what talks to it.
  s3->add_option("--chaos-seed", flags.s3.chaos.seed, "Seed of the faults below");
  s3->add_option("--chaos-fail", flags.s3.chaos.fail, "Of 1000 requests, how many answer 503")
      ->check(CLI::Range(0, 1000));
  s3->add_option("--chaos-drop", flags.s3.chaos.drop, "Of 1000, how many are cut before")
      ->check(CLI::Range(0, 1000));
  s3->add_option("--chaos-lose-answer", flags.s3.chaos.lose_answer,
                 "Of 1000, how many are done and cut before the answer")
      ->check(CLI::Range(0, 1000));
  s3->add_option("--chaos-latency-ms", flags.s3_latency_ms, "How long each request waits")
      ->check(CLI::Range(0, 60'000));

  auto* driver = app.add_subcommand(
      "node", "The driver of one node on a pool of reflinked files, started by `up`");
  driver->group("");
  driver->add_option("--node", flags.driver.node)->required();
  driver->add_option("--socket", flags.driver.socket)->required();
  driver->add_option("--pool", flags.driver.pool)->required();
  driver->add_option("--kubeconfig", flags.driver.kubeconfig)->required();
  driver->add_option("--tls-ca", flags.driver.tls_ca)->required();
  driver->add_option("--tls-cert", flags.driver.tls_cert)->required();
  driver->add_option("--tls-key", flags.driver.tls_key)->required();

  auto* node =
      app.add_subcommand("kubelet", "One node: process 1 of its namespaces, started by `up`");
  node->group("");
  node->add_option("--node", flags.node.node)->required();
  node->add_option("--folder", flags.node.folder)->required();
  node->add_option("--images", flags.node.images)->required();
  node->add_option("--cgroup", flags.node.cgroup)->required();
  node->add_option("--pool-bytes", flags.node.pool_bytes)->required();
  node->add_option("--image", flags.images);
  node->add_option("--host-path", flags.node.lent_paths);
  CLI11_PARSE(app, argc, argv);

  Status outcome;
  if (up->parsed()) outcome = Up(flags);
  if (destroy->parsed()) outcome = Destroy(flags);
  if (s3->parsed()) outcome = ServeS3(flags);
  if (driver->parsed()) outcome = thinsnap::world::RunDriverProcess(flags.driver);
  if (node->parsed()) outcome = Node(flags);
  if (outcome.ok()) return 0;
  std::fprintf(stderr, "thinsnap-sim: %s\n", outcome.error().message().c_str());
  return 1;
} catch (const std::exception& error) {
  // What a library throws past its wrapper: no memory, no thread.
  std::fprintf(stderr, "thinsnap-sim: %s\n", error.what());
  return 1;
}
