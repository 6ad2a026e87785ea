// X.509 by OpenSSL's C interface; every object is owned by a unique_ptr.
#include "base/net/certificate.h"

#include <ctime>
#include <memory>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace thinsnap::net {
namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Buffer = std::unique_ptr<BIO, Deleter<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;

// Clocks of others may be behind by so much.
constexpr std::int64_t kBackdateSeconds = 300;

Error OpenSslError(std::string_view what) {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(code);
  return Error(Code::kInternal,
               std::string(what) + ": " + (reason != nullptr ? reason : "OpenSSL failed"));
}

Status AddName(X509_NAME* name, const char* field, const std::string& text) {
  if (X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(text.data()),
                                 static_cast<int>(text.size()), -1, 0) != 1) {
    ERR_clear_error();
    return Error(Code::kInvalidArgument,
                 "certificate name \"" + text + "\": at most 64 characters of UTF-8 are accepted");
  }
  return {};
}

Status AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  if (extension == nullptr || X509_add_ext(certificate, extension.get(), -1) != 1) {
    ERR_clear_error();
    return Error(Code::kInvalidArgument, "certificate extension " + value + " is malformed");
  }
  return {};
}

// A version 3 certificate with key, serial number and validity, not yet signed.
Result<Certificate> NewCertificate(EVP_PKEY* key, Clock& clock, Duration validity) {
  Certificate certificate(X509_new());
  unsigned char serial[16];
  if (certificate == nullptr || RAND_bytes(serial, sizeof serial) != 1)
    return OpenSslError("new certificate");
  serial[0] = static_cast<unsigned char>((serial[0] & 0x7f) | 0x40);  // positive, 16 bytes
  const std::unique_ptr<BIGNUM, Deleter<BN_free>> number(BN_bin2bn(serial, sizeof serial, nullptr));
  const std::int64_t now = UnixSeconds(clock.Now());
  const std::int64_t seconds = std::chrono::floor<std::chrono::seconds>(validity).count();
  if (number == nullptr ||
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate.get())) == nullptr ||
      X509_set_version(certificate.get(), 2) != 1 || X509_set_pubkey(certificate.get(), key) != 1 ||
      ASN1_TIME_set(X509_getm_notBefore(certificate.get()), now - kBackdateSeconds) == nullptr ||
      ASN1_TIME_set(X509_getm_notAfter(certificate.get()), now + seconds) == nullptr) {
    return OpenSslError("new certificate");
  }
  return certificate;
}

Certificate ParseCertificate(const std::string& pem) {
  const Buffer bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  return certificate;
}

PrivateKey ParseKey(const Secret& pem) {
  const std::string_view text = pem.Reveal();
  const Buffer bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  PrivateKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  return key;
}

Result<WallTime> ToWallTime(const ASN1_TIME* time) {
  std::tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return OpenSslError("read a certificate's time");
  return FromUnixSeconds(timegm(&parts));
}

std::string Drain(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

Result<KeyPair> ToPem(X509* certificate, EVP_PKEY* key) {
  const Buffer cert_bio(BIO_new(BIO_s_mem()));
  const Buffer key_bio(BIO_new(BIO_s_secmem()));
  if (PEM_write_bio_X509(cert_bio.get(), certificate) != 1 ||
      PEM_write_bio_PrivateKey_traditional(key_bio.get(), key, nullptr, nullptr, 0, nullptr,
                                           nullptr) != 1) {
    return OpenSslError("write PEM");
  }
  return KeyPair{Drain(cert_bio.get()), Secret(Drain(key_bio.get()))};
}

}  // namespace

Result<KeyPair> MakeAuthority(const std::string& common_name, Clock& clock) {
  const PrivateKey key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpenSslError("make a key");
  const Certificate certificate =
      TRY(NewCertificate(key.get(), clock, std::chrono::hours(24 * 3653)));
  X509* x509 = certificate.get();
  TRY(AddName(X509_get_subject_name(x509), "CN", common_name));
  X509_set_issuer_name(x509, X509_get_subject_name(x509));
  TRY(AddExtension(x509, x509, NID_basic_constraints, "critical,CA:TRUE"));
  TRY(AddExtension(x509, x509, NID_key_usage, "critical,keyCertSign,cRLSign,digitalSignature"));
  TRY(AddExtension(x509, x509, NID_subject_key_identifier, "hash"));
  if (X509_sign(x509, key.get(), EVP_sha256()) == 0) return OpenSslError("sign");
  return ToPem(x509, key.get());
}

Result<KeyPair> IssueCertificate(const KeyPair& authority, const CertificateRequest& request,
                                 Clock& clock) {
  const Certificate issuer = ParseCertificate(authority.cert_pem);
  const PrivateKey issuer_key = ParseKey(authority.key_pem);
  if (issuer == nullptr || issuer_key == nullptr) {
    return Error(Code::kInvalidArgument, "the authority's certificate or key is no PEM");
  }
  const PrivateKey key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpenSslError("make a key");
  const Certificate certificate = TRY(NewCertificate(key.get(), clock, request.validity));
  X509* x509 = certificate.get();
  for (const std::string& organization : request.organizations) {
    TRY(AddName(X509_get_subject_name(x509), "O", organization));
  }
  TRY(AddName(X509_get_subject_name(x509), "CN", request.common_name));
  X509_set_issuer_name(x509, X509_get_subject_name(issuer.get()));
  std::string names;
  for (const std::string& name : request.dns_names) {
    if (name.empty() || name.find_first_of(",:\n") != name.npos) {
      return Error(Code::kInvalidArgument,
                   "DNS name \"" + name + "\" of a certificate is malformed");
    }
    names += (names.empty() ? "DNS:" : ",DNS:") + name;
  }
  for (const std::string& ip : request.ip_addresses) {
    if (ip.empty() || ip.find_first_of(",\n") != ip.npos) {
      return Error(Code::kInvalidArgument,
                   "IP address \"" + ip + "\" of a certificate is malformed");
    }
    names += (names.empty() ? "IP:" : ",IP:") + ip;
  }
  TRY(AddExtension(x509, issuer.get(), NID_basic_constraints, "critical,CA:FALSE"));
  TRY(AddExtension(x509, issuer.get(), NID_key_usage, "critical,digitalSignature"));
  TRY(AddExtension(x509, issuer.get(), NID_ext_key_usage, "serverAuth,clientAuth"));
  TRY(AddExtension(x509, issuer.get(), NID_authority_key_identifier, "keyid"));
  if (!names.empty()) TRY(AddExtension(x509, issuer.get(), NID_subject_alt_name, names));
  if (X509_sign(x509, issuer_key.get(), EVP_sha256()) == 0) return OpenSslError("sign");
  return ToPem(x509, key.get());
}

Result<CertificateFacts> ReadCertificate(const KeyPair& pair) {
  const Certificate certificate = ParseCertificate(pair.cert_pem);
  if (certificate == nullptr) return Error(Code::kInvalidArgument, "the certificate is no PEM");
  const PrivateKey key = ParseKey(pair.key_pem);
  if (key == nullptr) return Error(Code::kInvalidArgument, "the key is no PEM");
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    ERR_clear_error();
    return Error(Code::kInvalidArgument, "the key is not that of the certificate");
  }
  CertificateFacts facts;
  facts.not_before = TRY(ToWallTime(X509_get0_notBefore(certificate.get())));
  facts.not_after = TRY(ToWallTime(X509_get0_notAfter(certificate.get())));
  const std::unique_ptr<GENERAL_NAMES, Deleter<GENERAL_NAMES_free>> names(
      static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    facts.dns_names.emplace_back(
        reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
        static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
  }
  return facts;
}

bool IsIssuedBy(const std::string& cert_pem, const std::string& authority_pem) {
  const Certificate certificate = ParseCertificate(cert_pem);
  const Certificate authority = ParseCertificate(authority_pem);
  if (certificate == nullptr || authority == nullptr) return false;
  const bool signed_by = X509_verify(certificate.get(), X509_get0_pubkey(authority.get())) == 1;
  ERR_clear_error();
  return signed_by;
}

}  // namespace thinsnap::net
