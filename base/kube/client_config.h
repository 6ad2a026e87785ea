// ClientConfig: which API server, and who we are there; found as every Kubernetes program does.
#pragma once

#include <string>

#include "base/core/result.h"
#include "base/core/secret.h"

namespace thinsnap::kube {

struct ClientConfig {
  std::string server;  // https://host:port
  std::string ca_pem;
  Secret token;
  std::string token_file;  // re-read when it changes, for projected service account tokens
  std::string client_cert_pem;
  Secret client_key_pem;
  // Given: where the two come from; re-read when they change, as certificates are rotated.
  std::string client_cert_file, client_key_file;
  std::string default_namespace = "default";
  bool insecure = false;
};

// An explicit path, else KUBECONFIG as given by the caller, else in-cluster (service account files
// and KUBERNETES_SERVICE_HOST), else ~/.kube/config. kFailedPrecondition names what was looked for.
Result<ClientConfig> LoadClientConfig(const std::string& kubeconfig_path);
// What would change who we are or whom we talk to and is not understood is refused by name (exec
// and the like). Relative paths are of `folder`. A user's token file wins over a token.
Result<ClientConfig> ParseKubeconfig(const std::string& text, const std::string& folder);

}  // namespace thinsnap::kube
