// thinsnap-operator: the operator, and the verbs that its Jobs run.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <sys/types.h>
#include <unistd.h>

#include "base/core/clock.h"
#include "base/core/farewell.h"
#include "base/core/log.h"
#include "base/core/memory.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/core/secret.h"
#include "base/data/yaml.h"
#include "base/kube/client_config.h"
#include "base/kube/http_kube_client.h"
#include "base/kube/lease.h"
#include "snapshotter/api/crds.h"
#include "snapshotter/operator/operator.h"
#include "snapshotter/operator/verbs.h"
#include "snapshotter/store/location.h"

namespace {

using thinsnap::Status;

struct Flags {
  std::string kubeconfig;
  thinsnap::backup::OperatorOptions options;
  bool leader_election = false;
  bool verbose = false;
  // Of the verbs.
  std::string ns = "default", name, session, volume_snapshot_class, snapshot, task_name, policy,
              policy_name;
};

// Runs `body` as a task until it ends or SIGTERM or SIGINT stops its group, the first that it gets;
// the second one is for what must still be done then.
Status RunUntilSignal(
    thinsnap::Runtime& runtime,
    const std::function<Status(thinsnap::TaskGroup&, thinsnap::TaskGroup&)>& body) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  Status outcome;
  bool stopped = false;
  {
    thinsnap::TaskGroup group(runtime);
    thinsnap::TaskGroup farewell(runtime);
    group.Spawn("main", [&] {
      outcome = body(group, farewell);
      kill(getpid(), SIGUSR1);
    });
    int signal = 0;
    sigwait(&signals, &signal);
    stopped = signal != SIGUSR1;
    thinsnap::EndWork(runtime, group, farewell);
  }
  if (stopped && outcome.Is(thinsnap::Code::kCancelled)) return {};
  return outcome;
}

Status Serve(thinsnap::Runtime& runtime, thinsnap::Random& random,
             thinsnap::kube::KubeClient& client, const thinsnap::backup::StoreOpener& open_store,
             thinsnap::TaskGroup& group, thinsnap::TaskGroup& farewell, const Flags& flags,
             const std::string& identity) {
  const auto run = [&](thinsnap::TaskGroup& work) {
    return thinsnap::backup::RunOperator(runtime, random, client, open_store, work, flags.options);
  };
  if (!flags.leader_election) return run(group);
  thinsnap::kube::LeaseOptions lease;
  lease.key = {flags.options.ns, "thinsnap-operator"};
  lease.identity = identity;
  return thinsnap::kube::RunWithLease(runtime, client, group, farewell, lease, run);
}

void PrintManifests(const std::vector<thinsnap::Json>& objects) {
  for (const auto& object : objects) std::printf("---\n%s", thinsnap::ToYaml(object).c_str());
}

// What a Job leaves behind for `kubectl describe pod`. Best effort: outside a pod there is no such
// file.
void LeaveTerminationMessage(const std::string& text) {
  if (FILE* file = std::fopen("/dev/termination-log", "w")) {
    std::fwrite(text.data(), 1, text.size(), file);
    std::fclose(file);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  thinsnap::HardenProcess();
  thinsnap::ShareHeaps();
  Flags flags;
  CLI::App app("thinsnap-operator: backups of volumes to object storage, with KubeStash's API");
  app.set_version_flag("--version", THINSNAP_VERSION);
  app.fallthrough();
  app.require_subcommand(0, 1);
  app.add_option("--kubeconfig", flags.kubeconfig, "Kubeconfig file; inside a pod none is needed");
  app.add_option("--api-domain", flags.options.domain, "API domain of the kinds")
      ->capture_default_str();
  app.add_option("--operator-namespace", flags.options.ns, "Namespace of operator and driver")
      ->capture_default_str();
  app.add_option("--image", flags.options.image, "Image of the Jobs")->capture_default_str();
  app.add_option("--driver", flags.options.driver, "Name of the CSI driver")->capture_default_str();
  app.add_flag("--leader-election", flags.leader_election,
               "Take turns with others through a Lease");
  app.add_flag("-v,--verbose", flags.verbose, "Log more");

  auto* crds = app.add_subcommand("crds", "Print the CustomResourceDefinitions");
  auto* catalog = app.add_subcommand("catalog", "Print Addons, Functions and roles");
  auto* trigger = app.add_subcommand("trigger", "Make a BackupSession");
  trigger->add_option("--backup-configuration", flags.name)->required();
  trigger->add_option("--session", flags.session)->required();
  auto* init = app.add_subcommand("init", "Write metadata.yaml of a BackupStorage");
  init->add_option("--backup-storage", flags.name)->required();
  auto* backup = app.add_subcommand("backup", "Make the VolumeSnapshots of a BackupSession");
  backup->add_option("--backupsession", flags.name)->required();
  backup->add_option("--volume-snapshot-class-name", flags.volume_snapshot_class);
  auto* restore = app.add_subcommand("restore", "Make the claims of a RestoreSession");
  restore->add_option("--restoresession", flags.name)->required();
  restore->add_option("--snapshot", flags.snapshot, "As the RestoreSession names it");
  restore->add_option("--task-name", flags.task_name, "As the RestoreSession names it");
  auto* retention =
      app.add_subcommand("retention", "Remove Snapshots that a RetentionPolicy no longer keeps");
  retention->add_option("--repository", flags.name)->required();
  retention->add_option("--policy", flags.policy, "spec of the RetentionPolicy as JSON")
      ->required();
  retention->add_option("--policy-name", flags.policy_name)->required();
  for (auto* verb : {trigger, init, backup, restore, retention}) {
    verb->add_option("--namespace", flags.ns, "Namespace of the object")->capture_default_str();
  }
  // Of the operator itself, where it says the same as --operator-namespace.
  app.add_option("--namespace", flags.options.ns, "Namespace of operator and driver");
  CLI11_PARSE(app, argc, argv);
  if (flags.verbose) thinsnap::SetLogLevel(thinsnap::LogLevel::kDebug);

  if (crds->parsed()) {
    PrintManifests(thinsnap::backup::OperatorCrds(flags.options.domain));
    return 0;
  }
  if (catalog->parsed()) {
    PrintManifests(thinsnap::backup::CatalogObjects(flags.options.domain));
    return 0;
  }

  if (flags.kubeconfig.empty()) {
    if (const char* path = std::getenv("KUBECONFIG")) flags.kubeconfig = path;
  }
  auto config = thinsnap::kube::LoadClientConfig(flags.kubeconfig);
  if (!config.ok()) {
    thinsnap::LogError("operator", config.error().message());
    return 1;
  }
  const auto client =
      thinsnap::kube::MakeHttpKubeClient(std::move(*config), "thinsnap-operator/" THINSNAP_VERSION);
  thinsnap::SystemClock clock;
  thinsnap::ThreadRuntime runtime(clock);
  thinsnap::SystemRandom random;
  const thinsnap::backup::Kinds kinds(flags.options.domain);
  // The reconcilers come back by themselves: they rather say soon what a store answers.
  thinsnap::store::RetryOptions retry;
  if (app.get_subcommands().empty()) retry.attempts = 3;
  const thinsnap::backup::StoreOpener open_store = [&](const thinsnap::store::Location& location) {
    return thinsnap::store::OpenStore(runtime, random, location, nullptr, retry);
  };
  const std::string identity = "thinsnap-operator-" + random.NameSuffix(8);

  const auto outcome = RunUntilSignal(
      runtime, [&](thinsnap::TaskGroup& group, thinsnap::TaskGroup& farewell) -> Status {
        thinsnap::backup::VerbContext verb{runtime, random, *client, kinds, open_store, group};
        const thinsnap::kube::ObjectKey key{flags.ns, flags.name};
        if (trigger->parsed()) return RunTrigger(verb, key, flags.session);
        if (init->parsed()) return RunInit(verb, key);
        if (backup->parsed()) return RunBackup(verb, key, flags.volume_snapshot_class);
        if (restore->parsed()) return RunRestore(verb, key);
        if (retention->parsed()) return RunRetention(verb, key, flags.policy_name, flags.policy);
        return Serve(runtime, random, *client, open_store, group, farewell, flags, identity);
      });
  if (outcome.ok()) return 0;
  thinsnap::LogError("operator", outcome.error().message());
  if (app.get_subcommands().size() == 1) LeaveTerminationMessage(outcome.error().message());
  return 1;
} catch (const std::exception& error) {
  // What a library throws past its wrapper: no memory, no thread.
  std::fprintf(stderr, "thinsnap-operator: %s\n", error.what());
  return 1;
}
