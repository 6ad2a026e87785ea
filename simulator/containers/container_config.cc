#include "simulator/containers/container_config.h"

#include <algorithm>
#include <set>
#include <sstream>
#include <string_view>

#include "base/data/json.h"
#include "base/kube/object.h"

namespace thinsnap::containers {
namespace {

// What container engines give a container of root by default.
constexpr std::string_view kDefaultCapabilities[] = {
    "CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",    "CAP_FSETID",
    "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",   "CAP_SETFCAP",
    "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT"};
constexpr std::string_view kFurtherCapabilities[] = {
    "CAP_AUDIT_CONTROL", "CAP_BLOCK_SUSPEND", "CAP_DAC_READ_SEARCH", "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",     "CAP_LEASE",         "CAP_LINUX_IMMUTABLE", "CAP_NET_ADMIN",
    "CAP_NET_BROADCAST", "CAP_SYSLOG",        "CAP_SYS_ADMIN",       "CAP_SYS_BOOT",
    "CAP_SYS_MODULE",    "CAP_SYS_NICE",      "CAP_SYS_PACCT",       "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",     "CAP_SYS_RESOURCE",  "CAP_SYS_TIME",        "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM"};

std::string CapabilityName(const Json& item) {
  std::string name(item.is_string() ? std::string_view(item.get_string()) : std::string_view());
  return name.starts_with("CAP_") || name == "ALL" ? name : "CAP_" + name;
}

std::set<std::string> CapabilitiesOf(const Json& container) {
  std::set<std::string> all(std::begin(kDefaultCapabilities), std::end(kDefaultCapabilities));
  all.insert(std::begin(kFurtherCapabilities), std::end(kFurtherCapabilities));
  if (BoolAt(container, "securityContext.privileged")) return all;
  std::set<std::string> own(std::begin(kDefaultCapabilities), std::end(kDefaultCapabilities));
  for (const Json& item : ArrayAt(container, "securityContext.capabilities.drop")) {
    const std::string name = CapabilityName(item);
    if (name == "ALL") own.clear();
    own.erase(name);
  }
  for (const Json& item : ArrayAt(container, "securityContext.capabilities.add")) {
    const std::string name = CapabilityName(item);
    if (name == "ALL") return all;
    if (all.contains(name)) own.insert(name);
  }
  return own;
}

std::int64_t SecurityInt(const Json& pod, const Json& container, const char* field,
                         std::int64_t fallback) {
  const std::string path = std::string("securityContext.") + field;
  return IntAt(container, path, IntAt(pod, "spec." + path, fallback));
}

JsonObject Mount(const char* destination, const char* type, const char* source,
                 std::initializer_list<std::string_view> options) {
  JsonArray list;
  for (const std::string_view option : options) list.emplace_back(option);
  return {{"destination", destination},
          {"type", type},
          {"source", source},
          {"options", std::move(list)}};
}

JsonObject Bind(const std::string& source, const std::string& destination, bool read_only) {
  return {{"destination", destination},
          {"type", "bind"},
          {"source", source},
          // What is mounted below is bound along, and has to be as read-only.
          {"options", JsonArray{"rbind", "rprivate", read_only ? "rro" : "rw"}}};
}

JsonArray BuildMounts(const ContainerInputs& inputs, bool privileged) {
  JsonArray mounts;
  mounts.push_back(Mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}));
  if (privileged) {
    mounts.push_back(Bind("/dev", "/dev", false));
  } else {
    mounts.push_back(
        Mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}));
    mounts.push_back(Mount("/dev/pts", "devpts", "devpts",
                           {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}));
    mounts.push_back(Mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}));
  }
  mounts.push_back(
      Mount("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}));
  if (privileged) {
    mounts.push_back(Mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev"}));
  } else {
    mounts.push_back(Mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}));
  }
  for (const auto& [host, path] : inputs.image.read_only_binds)
    mounts.push_back(Bind(host, path, true));
  // A shorter path first: a volume may be mounted inside another one.
  std::vector<ContainerMount> volumes = inputs.mounts;
  std::stable_sort(volumes.begin(), volumes.end(),
                   [](const ContainerMount& a, const ContainerMount& b) {
                     return std::count(a.destination.begin(), a.destination.end(), '/') <
                            std::count(b.destination.begin(), b.destination.end(), '/');
                   });
  for (const ContainerMount& volume : volumes) {
    mounts.push_back(Bind(volume.source, volume.destination, volume.read_only));
  }
  return mounts;
}

Json BuildProcess(const ContainerInputs& inputs, const std::vector<std::string>& command) {
  const Json& pod = inputs.pod;
  const Json& container = inputs.container;
  JsonArray args, env, capabilities;
  for (const std::string& argument : command) args.emplace_back(argument);
  for (const auto& [name, value] : inputs.environment) env.emplace_back(name + "=" + value);
  for (const std::string& name : CapabilitiesOf(container)) capabilities.emplace_back(name);
  const std::int64_t uid = SecurityInt(pod, container, "runAsUser", inputs.image.user);
  JsonObject user{{"uid", uid}, {"gid", SecurityInt(pod, container, "runAsGroup", 0)}};
  JsonArray groups = ArrayAt(pod, "spec.securityContext.supplementalGroups");
  if (const Json* group = Find(pod, "spec.securityContext.fsGroup");
      group != nullptr && !group->is_null()) {
    groups.push_back(*group);
  }
  if (!groups.empty()) user["additionalGids"] = std::move(groups);
  JsonObject sets{{"bounding", capabilities}};
  if (uid == 0) {
    sets["effective"] = capabilities;
    sets["permitted"] = capabilities;
  }
  std::string folder = StringAt(container, "workingDir");
  if (folder.empty()) folder = inputs.image.working_folder;
  if (folder.empty()) folder = "/";
  return JsonObject{
      {"terminal", BoolAt(container, "tty")},
      {"user", std::move(user)},
      {"args", std::move(args)},
      {"env", std::move(env)},
      {"cwd", folder},
      {"capabilities", std::move(sets)},
      {"noNewPrivileges", !BoolAt(container, "securityContext.allowPrivilegeEscalation", true)},
  };
}

Json BuildLinux(const ContainerInputs& inputs, bool privileged) {
  JsonArray rules{JsonObject{{"allow", privileged}, {"access", "rwm"}}};
  JsonArray devices;
  for (const ContainerDevice& device : inputs.devices) {
    devices.push_back(JsonObject{{"path", device.path},
                                 {"type", "b"},
                                 {"major", device.major},
                                 {"minor", device.minor},
                                 {"fileMode", 0660},
                                 {"uid", 0},
                                 {"gid", 0}});
    rules.push_back(JsonObject{{"allow", true},
                               {"type", "b"},
                               {"major", device.major},
                               {"minor", device.minor},
                               {"access", "rwm"}});
  }
  JsonObject resources{{"devices", std::move(rules)}};
  const std::string name = StringAt(inputs.container, "name");
  if (!StringIn(inputs.container, "resources.limits", "memory").empty()) {
    const Result<std::string> bytes = ContainerResource(inputs.pod, name, "limits.memory", "1");
    if (bytes.ok() && *bytes != "0")
      resources["memory"] = JsonObject{{"limit", std::stoll(*bytes)}};
  }
  if (!StringIn(inputs.container, "resources.limits", "cpu").empty()) {
    const Result<std::string> millis = ContainerResource(inputs.pod, name, "limits.cpu", "1m");
    if (millis.ok() && *millis != "0") {
      resources["cpu"] = JsonObject{{"period", 100000}, {"quota", std::stoll(*millis) * 100}};
    }
  }
  JsonObject linux_part{
      {"cgroupsPath", inputs.cgroup},
      {"resources", std::move(resources)},
      {"devices", std::move(devices)},
      {"namespaces", JsonArray{JsonObject{{"type", "mount"}}, JsonObject{{"type", "ipc"}},
                               JsonObject{{"type", "uts"}}}},
  };
  if (!BoolAt(inputs.pod, "spec.hostPID")) {
    JsonObject pids{{"type", "pid"}};
    if (!inputs.pid_namespace.empty()) pids["path"] = inputs.pid_namespace;
    linux_part["namespaces"].as_array().push_back(std::move(pids));
  }
  if (!privileged) {
    linux_part["maskedPaths"] = JsonArray{"/proc/acpi",       "/proc/kcore",       "/proc/keys",
                                          "/proc/timer_list", "/proc/sched_debug", "/sys/firmware"};
    linux_part["readonlyPaths"] =
        JsonArray{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
  }
  return linux_part;
}

}  // namespace

std::vector<std::string> CommandOf(const Json& container, const RootPlan& image,
                                   const Variables& environment) {
  std::vector<std::string> command;
  for (const char* list : {"command", "args"}) {
    for (const Json& item : ArrayAt(container, list)) {
      if (item.is_string()) command.push_back(ExpandReferences(item.get_string(), environment));
    }
  }
  if (command.empty()) command = image.default_command;
  if (ArrayAt(container, "command").empty())
    command.insert(command.begin(), image.entrypoint.begin(), image.entrypoint.end());
  return command;
}

Result<Json> BuildContainerConfig(const ContainerInputs& inputs) {
  const std::vector<std::string> command =
      CommandOf(inputs.container, inputs.image, inputs.environment);
  if (command.empty()) {
    return Error(Code::kInvalidArgument,
                 "container " + StringAt(inputs.container, "name") + ": image " +
                     StringAt(inputs.container, "image") +
                     " has no command of its own, and command and args are empty");
  }
  if (BoolAt(inputs.container, "securityContext.runAsNonRoot",
             BoolAt(inputs.pod, "spec.securityContext.runAsNonRoot")) &&
      SecurityInt(inputs.pod, inputs.container, "runAsUser", inputs.image.user) == 0) {
    return Error(Code::kInvalidArgument, "container " + StringAt(inputs.container, "name") +
                                             " has runAsNonRoot and image will run as root");
  }
  const bool privileged = BoolAt(inputs.container, "securityContext.privileged");
  return Json(JsonObject{
      {"ociVersion", "1.0.2"},
      {"process", BuildProcess(inputs, command)},
      {"root", JsonObject{{"path", inputs.root},
                          {"readonly",
                           BoolAt(inputs.container, "securityContext.readOnlyRootFilesystem")}}},
      {"hostname", inputs.hostname},
      {"mounts", BuildMounts(inputs, privileged)},
      {"linux", BuildLinux(inputs, privileged)},
  });
}

}  // namespace thinsnap::containers
