// Credentials: the server's authority, certificate and token key; kept in a folder so that
// kubeconfigs outlive the process.
#pragma once

#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/core/result.h"
#include "base/core/secret.h"
#include "base/net/certificate.h"

namespace thinsnap::apiserver {

struct Credentials {
  net::KeyPair authority;
  net::KeyPair server;
  Secret token_key;
};

// Reads what is in the folder and makes what is missing; an empty folder name keeps everything in
// memory.
Result<Credentials> LoadCredentials(const std::string& folder, const std::string& address,
                                    const std::vector<std::string>& extra_names, Clock& clock);

// The client certificate of the kubeconfig's user, kept in the folder like the rest.
Result<net::KeyPair> LoadAdmin(const std::string& folder, const net::KeyPair& authority,
                               Clock& clock);

// A kubeconfig with an embedded client certificate.
std::string FormatKubeconfig(const std::string& url, const std::string& ca_pem,
                             const std::string& user, const net::KeyPair& client);

}  // namespace thinsnap::apiserver
