#include "simulator/kubelet/node_objects.h"

#include <fstream>
#include <sstream>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/data/json.h"
#include "base/kube/object.h"

namespace thinsnap::kubelet {
namespace {

constexpr const char* kVersion = "v1.33.0-thinsnap";

std::string FirstLine(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::string OsImage() {
  std::ifstream file("/etc/os-release");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("PRETTY_NAME=", 0) == 0) {
      std::string name = line.substr(12);
      std::erase(name, '"');
      return name;
    }
  }
  return "Linux";
}

std::string Kibibytes(std::int64_t bytes) { return std::to_string(bytes / 1024) + "Ki"; }

Json Condition(const char* type, bool status, const char* reason, const char* message,
               const Json* present, WallTime now) {
  const std::string text = FormatRfc3339(now);
  std::string since = text;
  if (present != nullptr) {
    for (const Json& old : ArrayAt(*present, "conditions")) {
      if (StringAt(old, "type") == type && StringAt(old, "status") == (status ? "True" : "False")) {
        since = StringAt(old, "lastTransitionTime", text);
      }
    }
  }
  return JsonObject{
      {"type", type},       {"status", status ? "True" : "False"}, {"reason", reason},
      {"message", message}, {"lastHeartbeatTime", text},           {"lastTransitionTime", since}};
}

}  // namespace

NodeFacts ReadNodeFacts(const std::string& name, const std::string& folder) {
  NodeFacts facts;
  facts.name = name;
  facts.cpus = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  facts.memory_bytes = sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
  struct statvfs info = {};
  if (statvfs(folder.c_str(), &info) == 0) {
    facts.storage_bytes =
        static_cast<std::int64_t>(info.f_blocks) * static_cast<std::int64_t>(info.f_frsize);
  }
  struct utsname names = {};
  if (uname(&names) == 0) facts.kernel = names.release;
  facts.machine_id = FirstLine("/etc/machine-id");
  facts.boot_id = FirstLine("/proc/sys/kernel/random/boot_id");
  facts.os_image = OsImage();
  return facts;
}

Json BuildNode(const NodeFacts& facts) {
  Json node = kube::NewObject(kube::types::kNode, {"", facts.name});
  kube::SetLabel(node, "kubernetes.io/hostname", facts.name);
  kube::SetLabel(node, "kubernetes.io/os", "linux");
  kube::SetLabel(node, "kubernetes.io/arch", "amd64");
  kube::SetLabel(node, "beta.kubernetes.io/os", "linux");
  kube::SetLabel(node, "beta.kubernetes.io/arch", "amd64");
  kube::SetLabel(node, "topology.thinsnap.io/node", facts.name);
  Set(node, "spec", JsonObject());
  return node;
}

Json BuildNodeStatus(const NodeFacts& facts, const Json* present, WallTime now) {
  const JsonObject capacity{{"cpu", std::to_string(facts.cpus)},
                            {"memory", Kibibytes(facts.memory_bytes)},
                            {"ephemeral-storage", Kibibytes(facts.storage_bytes)},
                            {"hugepages-2Mi", "0"},
                            {"pods", "110"}};
  JsonArray conditions;
  conditions.push_back(Condition("MemoryPressure", false, "KubeletHasSufficientMemory",
                                 "kubelet has sufficient memory available", present, now));
  conditions.push_back(Condition("DiskPressure", false, "KubeletHasNoDiskPressure",
                                 "kubelet has no disk pressure", present, now));
  conditions.push_back(Condition("PIDPressure", false, "KubeletHasSufficientPID",
                                 "kubelet has sufficient PID available", present, now));
  conditions.push_back(
      Condition("Ready", true, "KubeletReady", "kubelet is posting ready status", present, now));
  return JsonObject{
      {"capacity", capacity},
      {"allocatable", capacity},
      {"conditions", std::move(conditions)},
      {"addresses", JsonArray{JsonObject{{"type", "InternalIP"}, {"address", "127.0.0.1"}},
                              JsonObject{{"type", "Hostname"}, {"address", facts.name}}}},
      {"daemonEndpoints", JsonObject{{"kubeletEndpoint", JsonObject{{"Port", 10250}}}}},
      {"nodeInfo", JsonObject{{"machineID", facts.machine_id},
                              {"systemUUID", facts.machine_id},
                              {"bootID", facts.boot_id},
                              {"kernelVersion", facts.kernel},
                              {"osImage", facts.os_image},
                              {"containerRuntimeVersion", "runc://1.1"},
                              {"kubeletVersion", kVersion},
                              {"kubeProxyVersion", kVersion},
                              {"operatingSystem", "linux"},
                              {"architecture", "amd64"}}},
  };
}

Json BuildLease(const std::string& node, const std::string& node_uid, WallTime now) {
  Json lease = kube::NewObject(kube::types::kLease, {"kube-node-lease", node});
  Set(lease, "metadata.ownerReferences",
      JsonArray{
          JsonObject{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node}, {"uid", node_uid}}});
  Set(lease, "spec",
      JsonObject{{"holderIdentity", node},
                 {"leaseDurationSeconds", 40},
                 {"renewTime", FormatRfc3339Micro(now)}});
  return lease;
}

Json BuildCsiNode(const std::string& node, const std::string& node_uid, const CsiNodeInfo& driver) {
  Json csi_node = kube::NewObject(kube::types::kCsiNode, {"", node});
  Set(csi_node, "metadata.ownerReferences",
      JsonArray{
          JsonObject{{"apiVersion", "v1"}, {"kind", "Node"}, {"name", node}, {"uid", node_uid}}});
  JsonArray keys;
  for (const auto& [key, value] : driver.topology) keys.emplace_back(key);
  JsonObject entry{
      {"name", driver.driver}, {"nodeID", driver.node_id}, {"topologyKeys", std::move(keys)}};
  if (driver.max_volumes > 0) entry["allocatable"] = JsonObject{{"count", driver.max_volumes}};
  JsonArray drivers;
  drivers.push_back(std::move(entry));
  Set(csi_node, "spec", JsonObject{{"drivers", std::move(drivers)}});
  return csi_node;
}

}  // namespace thinsnap::kubelet
