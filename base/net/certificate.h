// X.509 for our own small certificate authorities: ECDSA P-256, PEM in and out; keys as "BEGIN EC
// PRIVATE KEY" (RFC 5915), by which clients that do not look inside tell their kind.
#pragma once

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

struct CertificateRequest {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names;
  std::vector<std::string> ip_addresses;
  Duration validity = std::chrono::hours(24 * 365);
};

// What a certificate says of itself.
struct CertificateFacts {
  WallTime not_before, not_after;
  std::vector<std::string> dns_names;
};

// A self-signed authority, ten years.
Result<KeyPair> MakeAuthority(const std::string& common_name, Clock& clock);
// For servers and clients alike (both extended key usages).
Result<KeyPair> IssueCertificate(const KeyPair& authority, const CertificateRequest& request,
                                 Clock& clock);

// kInvalidArgument when one of the two is no PEM, or the key is another certificate's.
Result<CertificateFacts> ReadCertificate(const KeyPair& pair);
// Whether that authority's key signed the certificate; false also for what is no certificate.
bool IsIssuedBy(const std::string& cert_pem, const std::string& authority_pem);

}  // namespace thinsnap::net
