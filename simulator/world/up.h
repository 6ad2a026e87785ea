// `thinsnap-sim up`: a cluster on this machine. One main process (API server, controllers,
// scheduler, sidecars), a process for each node in its own namespaces, and the programs that users
// install (the driver's controller, the operator) as children. Killing it is power loss for all of
// them; started again on its folder it goes on.
//
//   <data>/api/                 objects, certificates, port
//   <data>/world.json           what WorldState remembers
//   <data>/nodes/<name>/        a node's pool, pods, logs, sockets
//   <data>/images/              unpacked images
//   <data>/logs/                what the processes say
//   <data>/controller.sock      where the driver answers to sidecars
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/result.h"

namespace thinsnap::world {

struct UpOptions {
  int nodes = 1;
  std::string data;        // absolute
  std::string kubeconfig;  // absolute; written when the API server answers
  int port = 0;            // 0: as before in this folder, else any free one
  std::string api_domain = "kubestash.com";
  std::uint64_t pool_bytes = 32 * kGiB;
  std::map<std::string, std::string> image_folders;
  // Paths of this machine that hostPath volumes may name; all others lie below a folder of the
  // node.
  std::vector<std::string> lent_paths;
  // Provisioner, snapshotter, resizer and snapshot-controller as tasks of the main process;
  // without, whoever has the kubeconfig runs them against the socket <data>/controller.sock.
  bool sidecars = true;
  std::string program;  // our own, absolute; thinsnap-csi and thinsnap-operator lie beside it
};

// Returns when SIGTERM or SIGINT came and everything is down. To be called before any thread
// exists.
Status RunUp(const UpOptions& options);

}  // namespace thinsnap::world
