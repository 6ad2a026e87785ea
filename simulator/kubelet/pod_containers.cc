// The half of PodWorker that starts containers and takes note of their end.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <utility>

#include "base/core/file.h"
#include "base/core/log.h"
#include "base/data/json.h"
#include "base/kube/object.h"
#include "simulator/containers/container_config.h"
#include "simulator/containers/remove_tree.h"
#include "simulator/kubelet/local_volumes.h"
#include "simulator/kubelet/pod_slot.h"

namespace thinsnap::kubelet {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

constexpr Duration kRetrySetup = seconds(2);
constexpr std::size_t kTerminationMessageBytes = 4096;

// The host name of a pod: at most 63 characters.
std::string HostnameOf(const Json& pod) {
  std::string name = StringAt(pod, "spec.hostname", kube::NameOf(pod));
  if (name.size() > 63) name.resize(63);
  return name;
}

}  // namespace

std::string PodWorker::BundleOf(const Slot& slot) const {
  return node_.volumes.PodFolder(uid_) + "/containers/" + slot.name + "/" +
         std::to_string(slot.attempt);
}

std::string PodWorker::LogPath(const Slot& slot, int attempt) const {
  return node_.volumes.PodFolder(uid_) + "/logs/" + slot.name + "/" + std::to_string(attempt) +
         ".log";
}

Result<containers::Variables> PodWorker::EnvironmentOf(const Json& container,
                                                       const containers::RootPlan& image) const {
  containers::EnvironmentSources sources;
  const bool is_root = IntAt(container, "securityContext.runAsUser",
                             IntAt(*pod_, "spec.securityContext.runAsUser", image.user)) == 0;
  sources.defaults = {{"PATH", image.path_variable},
                      {"HOME", is_root ? "/root" : "/"},
                      {"HOSTNAME", HostnameOf(*pod_)}};
  if (BoolAt(container, "tty")) containers::SetVariable(sources.defaults, "TERM", "xterm");
  for (const auto& [name, value] : image.environment)
    containers::SetVariable(sources.defaults, name, value);
  for (const auto& [name, value] : node_.environment)
    containers::SetVariable(sources.defaults, name, value);
  sources.config_map = [this](const std::string& name) {
    return node_.client.Get(kube::types::kConfigMap, {key_.ns, name});
  };
  sources.secret = [this](const std::string& name) {
    return node_.client.Get(kube::types::kSecret, {key_.ns, name});
  };
  return containers::BuildEnvironment(*pod_, container, sources);
}

Result<std::vector<containers::ContainerMount>> PodWorker::MountsOf(
    const Json& container, const containers::Variables& environment,
    const std::string& bundle) const {
  std::vector<containers::ContainerMount> mounts;
  for (const Json& item : ArrayAt(container, "volumeMounts")) {
    const std::string name = StringAt(item, "name");
    const std::string path = StringAt(item, "mountPath");
    const std::optional<MountedVolume> volume = node_.volumes.Find(uid_, name);
    if (!volume) return Error(Code::kUnavailable, "volume " + name + " is not mounted");
    if (volume->block) {
      return Error(Code::kInvalidArgument,
                   "volume " + name + " is a block device; name it in volumeDevices");
    }
    containers::ContainerMount mount{volume->path, path,
                                     volume->read_only || BoolAt(item, "readOnly")};
    std::string sub_path = StringAt(item, "subPath");
    if (sub_path.empty())
      sub_path = containers::ExpandReferences(StringAt(item, "subPathExpr"), environment);
    UniqueFd place;
    if (!sub_path.empty()) place = TRY(PlaceBelow(volume->path, sub_path).In("volume " + name));
    if (place || volume->held) {
      const auto held = TRY(PrivateMount::Make(
          place ? place : *volume->held, bundle + "/mounts/" + std::to_string(mounts.size())));
      mount.source = held->path();
      mount.held = held;
    }
    mounts.push_back(std::move(mount));
  }
  const std::string message_file = bundle + "/termination-log";
  UniqueFd fd(open(message_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd) return ErrnoError(errno, "make " + message_file);
  fchmod(fd.get(), 0666);
  mounts.push_back(
      {message_file, StringAt(container, "terminationMessagePath", "/dev/termination-log"), false});
  return mounts;
}

Result<std::vector<containers::ContainerDevice>> PodWorker::DevicesOf(const Json& container) const {
  std::vector<containers::ContainerDevice> devices;
  for (const Json& item : ArrayAt(container, "volumeDevices")) {
    const std::string name = StringAt(item, "name");
    const std::optional<MountedVolume> volume = node_.volumes.Find(uid_, name);
    if (!volume || !volume->block) {
      return Error(Code::kInvalidArgument,
                   "volume " + name + " is no block device; name it in volumeMounts");
    }
    struct stat info = {};
    if (stat(volume->path.c_str(), &info) != 0) return ErrnoError(errno, "volume " + name);
    devices.push_back({StringAt(item, "devicePath"), major(info.st_rdev), minor(info.st_rdev)});
  }
  return devices;
}

// Of an ephemeral container that looks at another one's processes; else empty.
std::string PodWorker::PidNamespaceOf(const Json& container) {
  const Slot* target = FindSlot(StringAt(container, "targetContainerName"));
  if (target == nullptr || !target->running) return "";
  const Result<std::string> pid = ReadFile(BundleOf(*target) + "/pid", 64);
  return pid.ok() ? "/proc/" + *pid + "/ns/pid" : "";
}

void PodWorker::TryStart(Slot& slot) {
  const Json* container = SpecOf(*pod_, slot.name);
  ASSERT(container != nullptr);
  const MonoTime now = node_.runtime.clock().MonoNow();
  if (slot.ran) {
    slot.backoff.RecordRestart(now);
    std::lock_guard lock(mutex_);
    ++slot.attempt;
    slot.ran = false;
    slot.previous = slot.ended;
    slot.ended.reset();
  }
  const Status started = StartContainer(slot, *container);
  if (started.ok()) {
    slot.waiting_reason.clear();
    slot.waiting_message.clear();
    RunPostStart(slot, *container);
    return;
  }
  const Error& error = started.error();
  Emit("Warning", "Failed", "Error: " + error.message());
  if (error.code() == Code::kInvalidArgument && error.message().starts_with("runc ")) {
    // There is nothing to run: an attempt that ended before it began.
    const WallTime at = node_.runtime.clock().Now();
    std::lock_guard lock(mutex_);
    slot.ran = true;
    slot.finished = now;
    slot.ended = Termination{.exit_code = 128,
                             .reason = "StartError",
                             .message = error.message(),
                             .container_id = "runc://" + slot.id,
                             .started = at,
                             .finished = at};
    slot.waiting_reason.clear();
    return;
  }
  slot.not_before = now + kRetrySetup;
  slot.waiting_reason =
      error.message().starts_with("runc ") ? "RunContainerError" : "CreateContainerConfigError";
  slot.waiting_message = error.message();
}

Status PodWorker::StartContainer(Slot& slot, const Json& container) {
  const std::string image = StringAt(container, "image");
  const containers::RootPlan plan = TRY(containers::PlanRoot(image, node_.images, node_.runner));
  const containers::Variables environment = TRY(EnvironmentOf(container, plan));
  const std::string bundle = BundleOf(slot);
  containers::RemoveTree(bundle);
  TRY(MakeFolders(bundle, 0700));
  TRY(MakeFolders(fs::path(LogPath(slot, slot.attempt)).parent_path().string()));

  std::vector<std::pair<std::string, std::string>> hosts;
  for (const Json& alias : ArrayAt(*pod_, "spec.hostAliases")) {
    std::string names;
    for (const Json& name : ArrayAt(alias, "hostnames")) {
      if (name.is_string()) names += (names.empty() ? "" : " ") + std::string(name.get_string());
    }
    hosts.emplace_back(StringAt(alias, "ip"), names);
  }
  const std::string root = bundle + "/rootfs";
  TRY(containers::MakeRoot(plan, root, HostnameOf(*pod_), hosts));
  const std::vector<containers::ContainerMount> mounts =
      TRY(MountsOf(container, environment, bundle));
  const std::vector<containers::ContainerDevice> devices = TRY(DevicesOf(container));
  const Json config = TRY(containers::BuildContainerConfig(containers::ContainerInputs{
      .pod = *pod_,
      .container = container,
      .image = plan,
      .root = root,
      .cgroup = node_.cgroup_prefix + "/" + uid_ + "/" + slot.name,
      .hostname = HostnameOf(*pod_),
      .environment = environment,
      .mounts = mounts,
      .devices = devices,
      .pid_namespace = PidNamespaceOf(container),
  }));
  UniqueFd fd(
      open((bundle + "/config.json").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const std::string text = ToJson(config);
  if (!fd || write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return ErrnoError(errno, "write config.json");
  }
  Emit("Normal", "Pulled", "Container image \"" + image + "\" already present on machine");

  const std::string id = uid_ + "-" + slot.name + "-" + std::to_string(slot.attempt);
  const auto io = std::make_shared<containers::ContainerIo>(
      TRY(containers::LogFile::Open(node_.runtime, LogPath(slot, slot.attempt))),
      containers::ContainerInput{.open = BoolAt(container, "stdin"),
                                 .once = BoolAt(container, "stdinOnce"),
                                 .tty = BoolAt(container, "tty")});
  const bool default_command =
      ArrayAt(container, "command").empty() && ArrayAt(container, "args").empty();
  if (default_command && !plan.note.empty()) io->log()->Write("stderr", plan.note + "\n");
  {
    std::lock_guard lock(mutex_);
    slot.id = id;
  }
  Emit("Normal", "Created", "Created container " + slot.name);
  Status started =
      node_.containers.Start({id, bundle, io}, [this, id](containers::ContainerExit exit) {
        // Notified under the mutex: the worker may go as soon as it can see the exit.
        std::lock_guard lock(mutex_);
        exits_.push_back({id, exit});
        changed_->Notify();
      });
  if (!started.ok()) {
    io->Close();
    return started;
  }
  {
    std::lock_guard lock(mutex_);
    slot.io = io;
    slot.running = slot.ran = true;
    slot.stopping = slot.killed = false;
    slot.own_grace.reset();
    slot.ended.reset();
    slot.started_at = node_.runtime.clock().Now();
  }
  Emit("Normal", "Started", "Started container " + slot.name);
  StartProbes(slot, container);
  return {};
}

void PodWorker::StartProbes(Slot& slot, const Json& container) {
  slot.started = Find(container, "startupProbe") == nullptr;
  slot.has_readiness_probe = Find(container, "readinessProbe") != nullptr;
  slot.ready = !slot.has_readiness_probe && slot.started;
  if (slot.init && !slot.sidecar) return;
  static constexpr std::pair<const char*, ProbeKind> kProbes[] = {
      {"startupProbe", ProbeKind::kStartup},
      {"livenessProbe", ProbeKind::kLiveness},
      {"readinessProbe", ProbeKind::kReadiness}};
  for (const auto& [field, kind] : kProbes) {
    const Json* probe = Find(container, field);
    if (probe == nullptr) continue;
    if (!slot.probes) slot.probes = std::make_unique<TaskGroup>(node_.runtime, group_);
    TaskGroup* group = slot.probes.get();
    // The pod's object may be replaced while the probe runs: it gets its own copies.
    group->Spawn("probe", [this, group, &slot, kind, probe_copy = *probe,
                           container_copy = container, id = slot.id] {
      node_.prober.Run(
          *group, ReadProbe(kind, probe_copy), probe_copy, container_copy, id,
          [&slot] { return slot.started.load(); },
          [this, id, kind](bool good, const std::string& message) {
            {
              std::lock_guard lock(mutex_);
              verdicts_.push_back({id, kind, good, message});
            }
            changed_->Notify();
          });
    });
    if (kind == ProbeKind::kLiveness || kind == ProbeKind::kStartup) {
      const std::int64_t grace = IntAt(*probe, "terminationGracePeriodSeconds", -1);
      if (grace >= 0) slot.own_grace = seconds(grace);
    }
  }
}

void PodWorker::RunPostStart(Slot& slot, const Json& container) {
  const Json* hook = Find(container, "lifecycle.postStart");
  if (hook == nullptr) return;
  const Status done = node_.prober.Ask(*group_, *hook, container, slot.id, std::chrono::minutes(2));
  if (done.ok()) return;
  Emit("Warning", "FailedPostStartHook", "PostStartHook failed: " + done.error().message());
  RequestStop(slot, "FailedPostStartHook");
}

void PodWorker::EndAttempt(Slot& slot, const containers::ContainerExit& exit) {
  slot.probes.reset();
  Termination end;
  end.exit_code = exit.exit_code;
  end.reason = exit.out_of_memory ? "OOMKilled" : exit.exit_code == 0 ? "Completed" : "Error";
  end.container_id = "runc://" + slot.id;
  end.started = slot.started_at;
  end.finished = exit.at;
  const std::string bundle = BundleOf(slot);
  Result<std::string> message = ReadFile(bundle + "/termination-log", kMiB);
  if (message.ok()) end.message = message->substr(0, kTerminationMessageBytes);
  const Json* container = SpecOf(*pod_, slot.name);
  if (end.message.empty() && exit.exit_code != 0 && container != nullptr &&
      StringAt(*container, "terminationMessagePolicy") == "FallbackToLogsOnError") {
    containers::LogReadOptions last_lines;
    last_lines.tail_lines = 80;
    const Status done = containers::ReadLog(LogPath(slot, slot.attempt), last_lines, nullptr,
                                            [&](std::string_view text) -> Status {
                                              end.message += text;
                                              return {};
                                            });
    if (!done.ok()) LogWarning("kubelet", done.error().ToString());
    if (end.message.size() > 2048) end.message.erase(0, end.message.size() - 2048);
  }
  {
    std::lock_guard lock(mutex_);
    slot.running = false;
    slot.started = slot.ready = false;
    slot.io.reset();
    slot.ended = std::move(end);
    slot.finished = node_.runtime.clock().MonoNow();
    slot.stopping = slot.killed = false;
  }
  node_.containers.Remove(slot.id);
  umount2((bundle + "/rootfs").c_str(), MNT_DETACH);  // the overlay of a mapped image
  containers::RemoveTree(bundle);
}

}  // namespace thinsnap::kubelet
