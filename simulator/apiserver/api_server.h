// ApiServer: the simulated Kubernetes API server. It owns the versioned store, the service layer
// over it and the HTTPS front; clients inside the process skip the front.
//
// Vocabulary
//   Registry   the service layer: what a request does to objects, whoever sent it.
//   Front      HTTP: routing, authentication, negotiation, streams.
//   Access     the kubelets' end of logs and exec, registered by whoever runs them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/core/secret.h"
#include "base/kube/client.h"
#include "simulator/registry/user_info.h"
#include "simulator/streams/container_access.h"

namespace thinsnap::apiserver {

struct Options {
  // Where objects, certificates and keys are kept; made when missing. Empty: everything in memory.
  std::string data_folder;
  std::string address = "127.0.0.1";
  // 0: the one used before in this folder if it is free, else any free one.
  int port = 0;
  // The front is left out: clients inside the process only.
  bool without_http = false;
  // Further names and addresses of the server certificate. 127.0.0.1, localhost and
  // kubernetes.default.svc are in.
  std::vector<std::string> extra_names;
  // Versions of each kind kept for watches that start in the past; older ones get 410.
  std::size_t watch_history = 4096;
  Duration bookmark_interval = std::chrono::seconds(60);
  // False: pods get no service account and namespaces neither the default one nor the root CA, as
  // in a cluster that has no controllers.
  bool service_accounts = true;
  int io_threads = 1;
  int workers = 8;
};

struct ServiceAccountToken {
  Secret token;
  WallTime expires;
};

class ApiServer {
 public:
  // Opens the store, makes the namespaces that every cluster has, and starts to serve. `access` may
  // be null (logs and exec answer 503) and may be given later by SetAccess. All references must
  // outlive the server.
  static Result<std::unique_ptr<ApiServer>> Start(Runtime& runtime, Random& random, Options options,
                                                  streams::ContainerAccess* access = nullptr);
  virtual ~ApiServer() = default;  // stops

  // Closes the front, ends all watches (in-process ones return OK). Idempotent. The store stays
  // readable.
  virtual void Stop() = 0;
  virtual void SetAccess(streams::ContainerAccess* access) = 0;

  virtual int port() const = 0;
  // https://127.0.0.1:port
  virtual std::string url() const = 0;
  virtual std::string ca_pem() const = 0;
  // For a person: group system:masters by client certificate. Also works with a server started
  // again on the folder.
  virtual Result<std::string> Kubeconfig() const = 0;
  // A kubeconfig for another user, by client certificate: "system:node:n1" in "system:nodes".
  virtual Result<std::string> KubeconfigFor(const registry::UserInfo& user) const = 0;

  // A token as TokenRequest gives it, for projected volumes. The service account must exist. `pod`
  // and `pod_uid` may be empty; given, the token ends with the pod.
  virtual Result<ServiceAccountToken> IssueToken(
      const std::string& ns, const std::string& service_account, Duration validity,
      const std::string& pod = "", const std::string& pod_uid = "",
      const std::vector<std::string>& audiences = {}) = 0;

  // As MakeInProcessKubeClient below.
  virtual std::unique_ptr<kube::KubeClient> MakeClient(registry::UserInfo user) = 0;
};

// A client without sockets, straight into the service layer, with the semantics of one over HTTPS.
// Authorization is evaluated for the user; the group system:masters may do everything. The server
// must outlive it.
std::unique_ptr<kube::KubeClient> MakeInProcessKubeClient(ApiServer& server,
                                                          const std::string& user,
                                                          const std::vector<std::string>& groups = {
                                                              "system:masters"});

}  // namespace thinsnap::apiserver
