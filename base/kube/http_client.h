// HttpKubeClient: KubeClient over HTTPS; finds the server as every Kubernetes program does.
#pragma once

#include <memory>
#include <string>

#include "base/core/random.h"
#include "base/core/secret.h"
#include "base/kube/client.h"
#include "base/net/http_client.h"

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
std::unique_ptr<KubeClient> MakeHttpKubeClient(ClientConfig config, std::string user_agent);

// Emits core/v1 Events: repeated ones of one object are counted up instead of made anew.
// Thread-safe; failures are logged and dropped.
class EventRecorder {
 public:
  EventRecorder(KubeClient& client, Clock& clock, Random& random, std::string component);
  ~EventRecorder();
  // type: "Normal" or "Warning".
  void Emit(const Json& object, std::string_view type, std::string_view reason,
            std::string_view message);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace thinsnap::kube
