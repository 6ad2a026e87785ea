// The node role: owns one pool of this machine and serves Identity, Controller and Node. Everything
// works without Kubernetes; with it the node keeps its ThinPool object and finds its repositories
// in Secrets.
#pragma once

#include <functional>
#include <string>

#include "base/core/command.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "csi/driver/node_parts.h"
#include "csi/mount/mounter.h"
#include "csi/pool/thin_pool.h"
#include "csi/proto/csi_client.h"

namespace thinsnap::driver {

struct NodeDriverOptions : NodePartsOptions {
  std::string socket_path;  // the node's CSI socket, for the kubelet
  // "127.0.0.1:0": for the controller role, over mutual TLS with `tls`, whose certificate is valid
  // for kNodeTlsName; "" for none. The verbs of Node exist on the socket only.
  std::string listen_address;
  const proto::TlsFiles* tls = nullptr;
  // In the ThinPool object; empty: the host of listen_address.
  std::string advertised_host;
  // In place of Secrets: a file for each repository, YAML or JSON, with the same keys.
  std::string repositories_folder;
  // Called once everything is served, with the TCP address or "".
  std::function<void(const std::string& address)> on_ready;
};

// Serves until the group is stopped, and returns OK then. kube may be null. Pool, mounter and
// runner outlive it.
Status RunNodeDriver(Runtime& runtime, TaskGroup& group, Random& random, pool::ThinPool& pool,
                     mount::Mounter& mounter, CommandRunner& runner, kube::KubeClient* kube,
                     const NodeDriverOptions& options);

}  // namespace thinsnap::driver
