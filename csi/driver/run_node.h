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
#include "csi/node/mounter.h"
#include "csi/pool/thin_pool.h"
#include "csi/proto/csi_client.h"

namespace thinsnap::driver {

struct NodeDriverOptions {
  std::string node_name;
  std::string socket_path;  // the node's CSI socket, for the kubelet
  std::string
      listen_address;  // "127.0.0.1:0": for the controller role, over mutual TLS; "" for none
  std::string advertised_host;  // in the ThinPool object; empty: the host of listen_address
  const proto::TlsFiles* tls =
      nullptr;  // required with listen_address; the certificate is valid for kTlsName
  std::string ns = "thinsnap-system";  // where the Secrets of repositories lie
  std::string repositories_folder;  // in place of Secrets: a file for each repository, YAML or JSON
  std::string state_folder;         // for the leftovers of a freeze; empty: the socket's folder
  std::string default_fs_type = "ext4";
  Duration heartbeat = std::chrono::seconds(10);
  // Called once everything is served, with the TCP address or "".
  std::function<void(const std::string& address)> on_ready;
};

// The name that certificates of both roles carry, so that a node may have any address.
inline constexpr char kTlsName[] = "thinsnap-csi";

// Serves until the group is stopped, and returns OK then. kube may be null. Pool, mounter and
// runner outlive it.
Status RunNodeDriver(Runtime& runtime, TaskGroup& group, Random& random, pool::ThinPool& pool,
                     node::Mounter& mounter, CommandRunner& runner, kube::KubeClient* kube,
                     const NodeDriverOptions& options);

}  // namespace thinsnap::driver
