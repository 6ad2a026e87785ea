#include "simulator/world/node_fleet.h"

#include <chrono>
#include <utility>

#include "base/core/file.h"
#include "csi/driver/role_certificates.h"
#include "simulator/containers/cgroups.h"
#include "simulator/containers/child_process.h"
#include "simulator/containers/remove_tree.h"
#include "simulator/world/cluster_objects.h"
#include "simulator/world/node_process.h"

namespace thinsnap::world {

Result<net::KeyPair> LoadOrMakeAuthority(const std::string& folder, Clock& clock) {
  const Result<std::string> cert = ReadFile(folder + "/ca.pem", kMiB);
  const Result<std::string> key = ReadFile(folder + "/ca-key.pem", kMiB);
  if (cert.ok() && key.ok()) return net::KeyPair{*cert, Secret(*key)};
  TRY(MakeFolders(folder, 0700));
  net::KeyPair made = TRY(net::MakeAuthority("thinsnap-csi", clock));
  TRY(WriteFileAtomic(folder + "/ca-key.pem", made.key_pem.Reveal(), 0600));
  TRY(WriteFileAtomic(folder + "/ca.pem", made.cert_pem));
  return made;
}

Status WriteDriverTls(const std::string& folder, const net::KeyPair& authority,
                      const std::string& role, Clock& clock) {
  net::CertificateRequest request;
  request.common_name = role;
  request.dns_names = {role};
  const net::KeyPair pair = TRY(net::IssueCertificate(authority, request, clock));
  TRY(WriteFileAtomic(folder + "/" + kTlsCa, authority.cert_pem));
  TRY(WriteFileAtomic(folder + "/" + kTlsCert, pair.cert_pem));
  return WriteFileAtomic(folder + "/" + kTlsKey, pair.key_pem.Reveal(), 0600);
}

NodeFleet::NodeFleet(Runtime& runtime, TaskGroup& parent, apiserver::ApiServer& api,
                     const net::KeyPair& authority, const UpOptions& options, WorldState state,
                     Tell tell)
    : runtime_(runtime),
      parent_(parent),
      api_(api),
      authority_(authority),
      options_(options),
      cgroup_(CgroupOf(state)),
      tell_(std::move(tell)),
      state_(std::move(state)) {}

Status NodeFleet::WriteFiles(const std::string& name) {
  const std::string folder = FolderOf(options_.data, name);
  TRY(MakeFolders(folder, 0700));
  const std::string kubelet = TRY(api_.KubeconfigFor({"system:node:" + name, {"system:nodes"}}));
  TRY(WriteFileAtomic(folder + "/" + kNodeKubeconfig, kubelet, 0600));
  const std::string driver = TRY(api_.KubeconfigFor(SystemAccount(kNodeAccount)));
  TRY(WriteFileAtomic(folder + "/" + kDriverKubeconfig, driver, 0600));
  return WriteDriverTls(folder, authority_, driver::kNodeTlsName, runtime_.clock());
}

Status NodeFleet::Start(const std::string& name) {
  TRY(WriteFiles(name));
  const std::string folder = FolderOf(options_.data, name);
  containers::SupervisedOptions node;
  node.name = name;
  node.child.argv = {options_.program, "kubelet",
                     "--node",         name,
                     "--folder",       folder,
                     "--images",       options_.data + "/images",
                     "--cgroup",       "/" + cgroup_ + "/" + name,
                     "--pool-bytes",   std::to_string(options_.pool_bytes)};
  for (const auto& [image, image_folder] : options_.image_folders) {
    node.child.argv.push_back("--image");
    node.child.argv.push_back(image + "=" + image_folder);
  }
  for (const std::string& path : options_.lent_paths) {
    node.child.argv.push_back("--host-path");
    node.child.argv.push_back(path);
  }
  node.on_trouble = tell_;
  node.child.dies_with_parent = true;
  node.child.own_session = true;  // Ctrl-C is for `up`, which ends them
  node.child.own_node = true;
  node.log_file = options_.data + "/logs/" + name + ".log";
  Running running;
  running.burns = node.no_mercy = std::make_shared<std::atomic<bool>>(false);
  running.group = std::make_unique<TaskGroup>(runtime_, &parent_);
  running.group->Spawn(name, [this, group = running.group.get(), node] {
    containers::Supervise(runtime_, *group, node);
  });
  std::lock_guard lock(mutex_);
  nodes_[name] = std::move(running);
  return {};
}

Status NodeFleet::Destroy(const std::string& name) {
  Running running;
  {
    std::lock_guard lock(mutex_);
    const auto it = nodes_.find(name);
    if (it == nodes_.end()) {
      std::string known;
      for (const auto& [other, unused] : nodes_) known += (known.empty() ? "" : ", ") + other;
      return Error(Code::kNotFound, "there is no node " + name + "; the nodes are " +
                                        (known.empty() ? "all gone" : known));
    }
    // Remembered first: a world that dies now must not bring the node back.
    WorldState state = state_;
    state.destroyed.insert(name);
    TRY(SaveWorldState(options_.data + "/world.json", state));
    state_ = std::move(state);
    running = std::move(it->second);
    nodes_.erase(it);
  }
  *running.burns = true;
  running.group->Stop();
  running.group->Join();
  containers::RemoveTree(FolderOf(options_.data, name));
  containers::RemoveCgroups(cgroup_ + "/" + name);
  return {};
}

void NodeFleet::StopAll() {
  std::map<std::string, Running> nodes;
  {
    std::lock_guard lock(mutex_);
    nodes.swap(nodes_);
  }
  for (auto& [name, running] : nodes) running.group->Stop();
  for (auto& [name, running] : nodes) running.group->Join();
}

std::vector<std::string> NodeFleet::names() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, unused] : nodes_) names.push_back(name);
  return names;
}

}  // namespace thinsnap::world
