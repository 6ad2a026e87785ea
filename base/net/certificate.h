// X.509 for our own small certificate authorities: PEM in and out; keys in the traditional form
// ("BEGIN EC PRIVATE KEY", "BEGIN RSA PRIVATE KEY"), from which every client tells their kind.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/core/clock.h"
#include "base/core/random.h"
#include "base/core/result.h"
#include "base/core/secret.h"

namespace thinsnap::net {

struct KeyPair {
  std::string cert_pem;
  Secret key_pem;
};

enum class KeyKind : std::uint8_t {
  kP256,
  kRsa2048,  // takes some tens of milliseconds to make
};

struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  Duration validity = std::chrono::hours(24 * 365);
  KeyKind key = KeyKind::kP256;
};

// A self-signed authority (P-256), ten years.
Result<KeyPair> MakeAuthority(const std::string& common_name, Clock& clock);
// For servers and clients alike (both extended key usages).
Result<KeyPair> IssueCertificate(const KeyPair& authority, const CertificateRequest& request,
                                 Clock& clock);

}  // namespace thinsnap::net
