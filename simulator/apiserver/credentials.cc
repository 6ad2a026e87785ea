#include "simulator/apiserver/credentials.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/core/bytes.h"
#include "base/core/file.h"
#include "base/data/json.h"
#include "base/data/yaml.h"
#include "simulator/apiserver/tokens.h"

namespace thinsnap::apiserver {
namespace {

constexpr auto kServerValidity = std::chrono::hours(24 * 365 * 5);
constexpr auto kAdminValidity = std::chrono::hours(24 * 365 * 5);
constexpr char kAdmin[] = "admin";

bool IsAddress(const std::string& name) {
  return name.find(':') != std::string::npos ||
         name.find_first_not_of("0123456789.") == std::string::npos;
}

Result<net::KeyPair> LoadPair(const std::string& folder, const std::string& name) {
  net::KeyPair pair;
  pair.cert_pem = TRY(ReadFile(folder + "/" + name + ".crt"));
  pair.key_pem = Secret(TRY(ReadFile(folder + "/" + name + ".key")));
  return pair;
}

Status StorePair(const std::string& folder, const std::string& name, const net::KeyPair& pair) {
  TRY(WriteFileAtomic(folder + "/" + name + ".key", pair.key_pem.Reveal(), 0600));
  return WriteFileAtomic(folder + "/" + name + ".crt", pair.cert_pem);
}

}  // namespace

Result<Credentials> LoadCredentials(const std::string& folder, const std::string& address,
                                    const std::vector<std::string>& extra_names, Clock& clock) {
  Credentials credentials;
  const bool durable = !folder.empty();
  if (durable) TRY(MakeFolders(folder, 0700));
  bool have_authority = false;
  if (durable) {
    auto authority = LoadPair(folder, "ca");
    auto token_key = ReadFile(folder + "/service-account.key");
    if (authority.ok() && token_key.ok()) {
      credentials.authority = std::move(*authority);
      credentials.token_key = Secret(std::move(*token_key));
      have_authority = true;
    } else if (!authority.ok() && !authority.Is(Code::kNotFound)) {
      return authority.error().In("certificate authority");
    }
  }
  if (!have_authority) {
    credentials.authority = TRY(net::MakeAuthority("thinsnap-sim", clock));
    credentials.token_key = TRY(TokenSigner::MakeKey());
    if (durable) {
      TRY(WriteFileAtomic(folder + "/service-account.key", credentials.token_key.Reveal(), 0600));
      TRY(StorePair(folder, "ca", credentials.authority));
      // One of another authority would be refused.
      std::error_code missing;
      std::filesystem::remove(folder + "/" + kAdmin + ".crt", missing);
    }
  }
  // The server's own certificate is made anew each time: its names may have changed.
  net::CertificateRequest request;
  request.common_name = "kube-apiserver";
  request.validity = kServerValidity;
  request.dns_names = {"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
                       "kubernetes.default.svc.cluster.local"};
  request.ip_addresses = {"127.0.0.1"};
  auto add = [&](const std::string& name) {
    auto& list = IsAddress(name) ? request.ip_addresses : request.dns_names;
    if (std::find(list.begin(), list.end(), name) == list.end()) list.push_back(name);
  };
  if (address != "0.0.0.0" && address != "::") add(address);
  for (const std::string& name : extra_names) add(name);
  credentials.server = TRY(net::IssueCertificate(credentials.authority, request, clock));
  return credentials;
}

Result<net::KeyPair> LoadAdmin(const std::string& folder, const net::KeyPair& authority,
                               Clock& clock) {
  if (!folder.empty()) {
    auto known = LoadPair(folder, kAdmin);
    if (known.ok() || !known.Is(Code::kNotFound)) return known;
  }
  net::CertificateRequest request;
  request.common_name = "kubernetes-admin";
  request.organizations = {"system:masters"};
  request.validity = kAdminValidity;
  auto admin = TRY(net::IssueCertificate(authority, request, clock));
  if (!folder.empty()) TRY(StorePair(folder, kAdmin, admin));
  return admin;
}

std::string FormatKubeconfig(const std::string& url, const std::string& ca_pem,
                             const std::string& user, const net::KeyPair& client) {
  JsonArray clusters, users, contexts;
  clusters.push_back(
      {{"name", "thinsnap-sim"},
       {"cluster",
        {{"server", url}, {"certificate-authority-data", Base64Encode(AsBytes(ca_pem))}}}});
  users.push_back({{"name", user},
                   {"user",
                    {{"client-certificate-data", Base64Encode(AsBytes(client.cert_pem))},
                     {"client-key-data", Base64Encode(AsBytes(client.key_pem.Reveal()))}}}});
  contexts.push_back(
      {{"name", "thinsnap-sim"}, {"context", {{"cluster", "thinsnap-sim"}, {"user", user}}}});
  return ToYaml({{"apiVersion", "v1"},
                 {"kind", "Config"},
                 {"clusters", std::move(clusters)},
                 {"users", std::move(users)},
                 {"contexts", std::move(contexts)},
                 {"current-context", "thinsnap-sim"}});
}

}  // namespace thinsnap::apiserver
