// One simulated node: the process that is number 1 of its namespaces. It mounts the pool, runs the
// node's driver as a child, and is the kubelet of the node's pods. When it dies, the node has lost
// its power.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/core/random.h"
#include "base/core/result.h"

namespace thinsnap::world {

struct NodeProcessOptions {
  std::string node;
  std::string folder;   // the node's, absolute
  std::string images;   // unpacked images of all nodes
  std::string program;  // our own, for the driver
  std::string cgroup;   // "/thinsnap-x/node-1"
  std::uint64_t pool_bytes = 0;
  std::map<std::string, std::string> image_folders;
  std::vector<std::string> lent_paths;
  std::string api_domain;
};

// Files of the node's folder that `up` writes before.
inline constexpr char kNodeKubeconfig[] = "kubeconfig";
inline constexpr char kDriverKubeconfig[] = "driver-kubeconfig";
inline constexpr char kTlsCa[] = "tls-ca.pem";
inline constexpr char kTlsCert[] = "tls-cert.pem";
inline constexpr char kTlsKey[] = "tls-key.pem";
// What it makes itself.
inline constexpr char kPoolImage[] = "pool.img";
inline constexpr char kPoolFolder[] = "pool";
inline constexpr char kCsiSocket[] = "csi.sock";

// Returns after SIGTERM or SIGINT. To be called before any thread exists.
Status RunNodeProcess(const NodeProcessOptions& options);

}  // namespace thinsnap::world
