// The controller role: the socket of the central sidecars. It holds no state: each call goes to the
// node whose pool the handle names, and CreateVolume chooses the node.
#pragma once

#include <functional>
#include <string>

#include "base/core/counters.h"
#include "base/core/random.h"
#include "base/core/runtime.h"
#include "base/kube/client.h"
#include "csi/controller/pool_directory.h"
#include "csi/proto/csi_client.h"

namespace thinsnap::controller {

struct ControllerDriverOptions {
  std::string socket_path;
  const proto::TlsFiles* tls = nullptr;  // required; the certificate is for kControllerTlsName
  std::string ns = "thinsnap-system";    // of the ConfigMap of lost pools and of the Lease
  // Only one of several decides about lost pools; the socket is served by each.
  bool leader_election = false;
  std::string identity;            // of this process in the Lease
  TaskGroup* farewell = nullptr;   // where the Lease is released; required for the election
  Duration silence = kSilence;     // after which a pool that writes no heartbeat is passed over
  Counters* counters = nullptr;    // where calls are counted; may be null
  std::function<void()> on_ready;  // called once the socket is served
};

// Serves until the group is stopped, and returns OK then.
Status RunControllerDriver(Runtime& runtime, TaskGroup& group, Random& random,
                           kube::KubeClient& kube, const ControllerDriverOptions& options);

}  // namespace thinsnap::controller
