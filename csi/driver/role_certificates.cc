#include "csi/driver/role_certificates.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/log.h"
#include "base/kube/object.h"
#include "base/net/certificate.h"

namespace thinsnap::driver {
namespace {

using Values = std::map<std::string, std::string>;

struct Role {
  const char* secret;
  const char* tls_name;
};
constexpr Role kRoles[] = {{kControllerTlsSecret, kControllerTlsName},
                           {kNodeTlsSecret, kNodeTlsName}};

constexpr Duration kRoleValidity = std::chrono::hours(24 * 365);

bool IsDue(const net::CertificateFacts& facts, WallTime now) {
  return now < facts.not_before || (facts.not_after - now) * 3 < facts.not_after - facts.not_before;
}

// The blocks of a file with several PEMs.
std::vector<std::string> SplitPem(const std::string& text) {
  constexpr std::string_view kBegin = "-----BEGIN ";
  std::vector<std::string> blocks;
  for (auto at = text.find(kBegin); at != std::string::npos;) {
    const auto next = text.find(kBegin, at + kBegin.size());
    blocks.push_back(text.substr(at, next - at));
    at = next;
  }
  return blocks;
}

bool Contains(const std::string& bundle, const std::string& cert_pem) {
  return bundle.find(cert_pem) != std::string::npos;
}

// A Secret as it is in the cluster, and what it is to be.
class StoredSecret {
 public:
  static Result<StoredSecret> Load(kube::KubeClient& kube, const kube::ObjectKey& key,
                                   const char* type) {
    StoredSecret secret(kube);
    auto object = kube.Get(kube::types::kSecret, key);
    if (object.Is(Code::kNotFound)) {
      secret.object_ = kube::NewObject(kube::types::kSecret, key);
      kube::SetLabel(secret.object_, "app.kubernetes.io/part-of", "thinsnap");
      Set(secret.object_, "type", std::string(type));
      return secret;
    }
    secret.object_ = TRY(std::move(object).In("read Secret " + key.ToString()));
    secret.exists_ = true;
    // What cannot be decoded counts as missing, and is made anew.
    if (const JsonObject* data = FindObject(secret.object_, "data")) {
      for (const auto& [name, value] : *data) {
        if (!value.is_string()) continue;
        const auto bytes = Base64Decode(std::string_view(value.get_string()));
        if (bytes.ok()) secret.stored_[std::string(name)] = std::string(AsText(*bytes));
      }
    }
    return secret;
  }

  std::string At(const std::string& name) const {
    const auto found = stored_.find(name);
    return found == stored_.end() ? "" : found->second;
  }

  // Writes the values where they differ from what is there.
  Status Store(const Values& values) {
    if (exists_ && values == stored_) return {};
    JsonObject data;
    for (const auto& [name, value] : values) data[name] = Base64Encode(AsBytes(value));
    object_.as_object()["data"] = std::move(data);
    auto written = exists_ ? kube_->Update(kube::types::kSecret, object_)
                           : kube_->Create(kube::types::kSecret, object_);
    const std::string name = kube::KeyOf(object_).ToString();
    if (written.Is(Code::kAlreadyExists)) {
      return Error(Code::kAborted, "Secret " + name + " was made by another run meanwhile");
    }
    object_ = TRY(std::move(written).In("write Secret " + name));
    exists_ = true;
    stored_ = values;
    LogInfo("certificates", "wrote Secret " + name);
    return {};
  }

 private:
  explicit StoredSecret(kube::KubeClient& kube) : kube_(&kube) {}

  kube::KubeClient* kube_;
  Json object_;
  bool exists_ = false;
  Values stored_;
};

// The authorities that are usable, oldest first; with a new one where the newest is due.
Result<std::vector<net::KeyPair>> Authorities(const StoredSecret& secret, Clock& clock) {
  const auto certificates = SplitPem(secret.At("ca.crt"));
  const auto keys = SplitPem(secret.At("ca.key"));
  std::vector<net::KeyPair> authorities;
  bool is_due = true;
  for (std::size_t i = 0; i < std::min(certificates.size(), keys.size()); ++i) {
    net::KeyPair pair{certificates[i], Secret(keys[i])};
    const auto facts = net::ReadCertificate(pair);
    if (!facts.ok() || facts->not_after <= clock.Now()) continue;
    is_due = IsDue(*facts, clock.Now());
    authorities.push_back(std::move(pair));
  }
  if (is_due) authorities.push_back(TRY(net::MakeAuthority("thinsnap", clock)));
  return authorities;
}

bool IsGood(const StoredSecret& secret, const Role& role, const net::KeyPair& issuer,
            WallTime now) {
  const net::KeyPair pair{secret.At("tls.crt"), Secret(secret.At("tls.key"))};
  const auto facts = net::ReadCertificate(pair);
  return facts.ok() && !IsDue(*facts, now) &&
         facts->dns_names == std::vector<std::string>{role.tls_name} &&
         net::IsIssuedBy(pair.cert_pem, issuer.cert_pem);
}

}  // namespace

Status EnsureRoleCertificates(kube::KubeClient& kube, Clock& clock, const std::string& ns) {
  StoredSecret authority = TRY(StoredSecret::Load(kube, {ns, kAuthoritySecret}, "Opaque"));
  std::vector<StoredSecret> stored;
  for (const Role& role : kRoles) {
    stored.push_back(TRY(StoredSecret::Load(kube, {ns, role.secret}, "kubernetes.io/tls")));
  }
  const std::vector<net::KeyPair> authorities = TRY(Authorities(authority, clock));
  Values bundle;
  for (const net::KeyPair& each : authorities) {
    bundle["ca.crt"] += each.cert_pem;
    bundle["ca.key"] += each.key_pem.Reveal();
  }
  // The newest that every role trusts already; else the oldest, which at least one may trust.
  const net::KeyPair* issuer = &authorities.front();
  for (const net::KeyPair& each : authorities) {
    const bool trusted = std::all_of(stored.begin(), stored.end(), [&](const StoredSecret& secret) {
      return Contains(secret.At("ca.crt"), each.cert_pem);
    });
    if (trusted) issuer = &each;
  }
  TRY(authority.Store(bundle));
  for (std::size_t i = 0; i < stored.size(); ++i) {
    const Role& role = kRoles[i];
    Values values{{"ca.crt", bundle["ca.crt"]},
                  {"tls.crt", stored[i].At("tls.crt")},
                  {"tls.key", stored[i].At("tls.key")}};
    if (!IsGood(stored[i], role, *issuer, clock.Now())) {
      net::CertificateRequest request;
      request.common_name = role.tls_name;
      request.dns_names = {role.tls_name};
      request.validity = kRoleValidity;
      const net::KeyPair pair = TRY(net::IssueCertificate(*issuer, request, clock));
      values["tls.crt"] = pair.cert_pem;
      values["tls.key"] = std::string(pair.key_pem.Reveal());
    }
    TRY(stored[i].Store(values));
  }
  return {};
}

}  // namespace thinsnap::driver
