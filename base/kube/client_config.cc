#include "base/kube/client_config.h"

#include <cstdlib>

#include "base/core/file.h"
#include "base/data/yaml.h"
#include "base/kube/object.h"

namespace thinsnap::kube {
namespace {

constexpr const char* kServiceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

// The element of a kubeconfig list with this name.
const Json* Named(const Json& config, const char* list, const std::string& name,
                  const char* member) {
  for (const Json& entry : ArrayAt(config, list)) {
    if (StringAt(entry, "name") == name) return Find(entry, member);
  }
  return nullptr;
}

// The file that a member names; empty where it names none.
std::string PathAt(const Json& section, const std::string& member, const std::string& folder) {
  std::string path = StringAt(section, member);
  if (!path.empty() && path[0] != '/') path = folder + "/" + path;
  return path;
}

// "<what>-data" in base64, or the file "<what>", whose path is left in `file` if wanted.
Result<std::string> DataOrFile(const Json& section, const std::string& what,
                               const std::string& folder, std::string* file = nullptr) {
  if (const std::string data = StringAt(section, what + "-data"); !data.empty()) {
    const Bytes decoded = TRY(Base64Decode(data).In(what + "-data"));
    return std::string(AsText(decoded));
  }
  const std::string path = PathAt(section, what, folder);
  if (path.empty()) return std::string();
  if (file != nullptr) *file = path;
  return ReadFile(path, kMiB).In(what);
}

// Left out, each of these would make us somebody else, or have us talk to somebody else.
Status RefuseUnknownWays(const Json& section, const std::string& where,
                         std::initializer_list<const char*> members, const char* accepted) {
  for (const char* member : members) {
    if (Find(section, member) == nullptr) continue;
    return Error(Code::kFailedPrecondition,
                 where + "." + member + " is not supported; " + accepted + " are accepted");
  }
  return {};
}

Result<ClientConfig> InCluster(const std::string& host, const std::string& port) {
  ClientConfig config;
  const bool ipv6 = host.find(':') != std::string::npos;
  config.server = "https://" + (ipv6 ? "[" + host + "]" : host) + ":" + port;
  const std::string folder = kServiceAccountFolder;
  config.ca_pem = TRY(ReadFile(folder + "/ca.crt", kMiB));
  config.token_file = folder + "/token";
  const Result<std::string> ns = ReadFile(folder + "/namespace", kKiB);
  if (ns.ok() && !ns->empty()) config.default_namespace = *ns;
  return config;
}

}  // namespace

Result<ClientConfig> ParseKubeconfig(const std::string& text, const std::string& folder) {
  const Json config = TRY(ParseYaml(text));
  const std::string context_name = StringAt(config, "current-context");
  const Json* context = Named(config, "contexts", context_name, "context");
  if (context == nullptr) {
    return Error(Code::kFailedPrecondition,
                 "current-context \"" + context_name + "\" is not among its contexts");
  }
  const Json* cluster = Named(config, "clusters", StringAt(*context, "cluster"), "cluster");
  const Json* user = Named(config, "users", StringAt(*context, "user"), "user");
  if (cluster == nullptr || user == nullptr) {
    return Error(Code::kFailedPrecondition,
                 "context \"" + context_name + "\" names a cluster or user that is not there");
  }
  TRY(RefuseUnknownWays(*cluster, "cluster \"" + StringAt(*context, "cluster") + "\"",
                        {"tls-server-name", "proxy-url"},
                        "server, certificate-authority and insecure-skip-tls-verify"));
  TRY(RefuseUnknownWays(*user, "user \"" + StringAt(*context, "user") + "\"",
                        {"exec", "auth-provider", "username", "password", "as", "as-uid",
                         "as-groups", "as-user-extra"},
                        "token, tokenFile and client-certificate with client-key"));
  ClientConfig result;
  result.server = StringAt(*cluster, "server");
  result.insecure = BoolAt(*cluster, "insecure-skip-tls-verify");
  result.ca_pem = TRY(DataOrFile(*cluster, "certificate-authority", folder));
  result.client_cert_pem =
      TRY(DataOrFile(*user, "client-certificate", folder, &result.client_cert_file));
  result.client_key_pem =
      Secret(TRY(DataOrFile(*user, "client-key", folder, &result.client_key_file)));
  result.token = Secret(StringAt(*user, "token"));
  result.token_file = PathAt(*user, "tokenFile", folder);
  result.default_namespace = StringAt(*context, "namespace", "default");
  return result;
}

Result<ClientConfig> LoadClientConfig(const std::string& kubeconfig_path) {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  std::string path = kubeconfig_path.empty() ? variable("KUBECONFIG") : kubeconfig_path;
  if (path.empty()) {
    const std::string host = variable("KUBERNETES_SERVICE_HOST");
    if (!host.empty()) {
      return InCluster(host, variable("KUBERNETES_SERVICE_PORT")).In("in-cluster configuration");
    }
    path = variable("HOME") + "/.kube/config";
  }
  const Result<std::string> text = ReadFile(path, 4 * kMiB);
  if (!text.ok()) {
    return Error(
        Code::kFailedPrecondition,
        "no Kubernetes API to talk to: no --kubeconfig, no KUBECONFIG, not in a pod, and " +
            text.error().message());
  }
  const auto slash = path.rfind('/');
  return ParseKubeconfig(*text, slash == std::string::npos ? "." : path.substr(0, slash)).In(path);
}

}  // namespace thinsnap::kube
