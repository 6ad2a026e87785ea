#include "base/net/tls.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

namespace thinsnap::net {
namespace {

struct OpenSslDeleter {
  void operator()(SSL_CTX* object) const { SSL_CTX_free(object); }
  void operator()(SSL* object) const { SSL_free(object); }
  void operator()(BIO* object) const { BIO_free_all(object); }
  void operator()(X509* object) const { X509_free(object); }
  void operator()(EVP_PKEY* object) const { EVP_PKEY_free(object); }
};
template <typename T>
using Owned = std::unique_ptr<T, OpenSslDeleter>;

// A BIO over a socket. OpenSSL's own would raise SIGPIPE.
int SocketOf(BIO* bio) {
  return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
}

int BioWrite(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t sent =
      ::send(SocketOf(bio), data, static_cast<std::size_t>(size), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

int BioRead(BIO* bio, char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t got = ::recv(SocketOf(bio), data, static_cast<std::size_t>(size), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(got);
}

long BioControl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

const BIO_METHOD* SocketMethod() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket");
    BIO_meth_set_write(made, &BioWrite);
    BIO_meth_set_read(made, &BioRead);
    BIO_meth_set_ctrl(made, &BioControl);
    return made;
  }();
  return method;
}

std::vector<std::string> SubjectEntries(const SSL* ssl, int nid) {
  std::vector<std::string> values;
  if (SSL_get_verify_result(ssl) != X509_V_OK) return values;
  const Owned<X509> certificate(SSL_get1_peer_certificate(ssl));
  if (certificate == nullptr) return values;
  const X509_NAME* subject = X509_get_subject_name(certificate.get());
  for (int at = X509_NAME_get_index_by_NID(subject, nid, -1); at >= 0;
       at = X509_NAME_get_index_by_NID(subject, nid, at)) {
    unsigned char* text = nullptr;
    const int size =
        ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    if (size < 0) continue;
    values.emplace_back(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
    OPENSSL_free(text);
  }
  return values;
}

class OpenSslConnection final : public TlsConnection {
 public:
  explicit OpenSslConnection(Owned<SSL> ssl) : ssl_(std::move(ssl)) {}

  Io Handshake() override { return Outcome(SSL_do_handshake(ssl_.get())); }

  Io Read(char* to, std::size_t size, std::size_t& got) override {
    return Outcome(SSL_read_ex(ssl_.get(), to, size, &got));
  }

  Io Write(const char* from, std::size_t size, std::size_t& written) override {
    return Outcome(SSL_write_ex(ssl_.get(), from, size, &written));
  }

  void Shutdown() override {
    if (!broken_) SSL_shutdown(ssl_.get());
    ERR_clear_error();
  }

  std::string PeerCommonName() const override {
    const auto names = SubjectEntries(ssl_.get(), NID_commonName);
    return names.empty() ? "" : names.front();
  }
  std::vector<std::string> PeerOrganizations() const override {
    return SubjectEntries(ssl_.get(), NID_organizationName);
  }

 private:
  Io Outcome(int result) {
    if (result == 1) return Io::kDone;
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        return Io::kWantRead;
      case SSL_ERROR_WANT_WRITE:
        return Io::kWantWrite;
      case SSL_ERROR_ZERO_RETURN:
        return Io::kClosed;
      default:
        broken_ = true;
        ERR_clear_error();
        return Io::kClosed;
    }
  }

  Owned<SSL> ssl_;
  bool broken_ = false;
};

int SelectProtocol(SSL*, const unsigned char** out, unsigned char* out_size,
                   const unsigned char* in, unsigned in_size, void*) {
  static constexpr unsigned char kHttp11[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_size, kHttp11, sizeof kHttp11 - 1, in, in_size) !=
      OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

class OpenSslContext final : public TlsContext {
 public:
  explicit OpenSslContext(Owned<SSL_CTX> context) : context_(std::move(context)) {}

  std::unique_ptr<TlsConnection> Accept(int fd) override {
    Owned<SSL> ssl(SSL_new(context_.get()));
    BIO* bio = BIO_new(SocketMethod());
    ASSERT(ssl != nullptr && bio != nullptr);
    // NOLINTNEXTLINE(performance-no-int-to-ptr): never followed; a BIO has room for a pointer only
    BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl.get(), bio, bio);
    SSL_set_accept_state(ssl.get());
    return std::make_unique<OpenSslConnection>(std::move(ssl));
  }

 private:
  Owned<SSL_CTX> context_;
};

Error BadPem(std::string_view what) {
  ERR_clear_error();
  return Error(Code::kInvalidArgument, std::string(what));
}

Status TrustClients(SSL_CTX* context, const std::string& ca_pem) {
  const Owned<BIO> bio(BIO_new_mem_buf(ca_pem.data(), static_cast<int>(ca_pem.size())));
  int count = 0;
  for (;;) {
    const Owned<X509> authority(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (authority == nullptr) break;
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get());
    SSL_CTX_add_client_CA(context, authority.get());
    ++count;
  }
  ERR_clear_error();
  if (count == 0) return BadPem("the client authority holds no certificate in PEM");
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  return {};
}

}  // namespace

Result<std::unique_ptr<TlsContext>> MakeTlsContext(const std::string& cert_pem,
                                                   const Secret& key_pem,
                                                   const std::string& client_ca_pem) {
  Owned<SSL_CTX> context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr) return Error(Code::kInternal, "OpenSSL makes no context");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                         SSL_OP_IGNORE_UNEXPECTED_EOF);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // Tickets resume sessions without memory of ours.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  static constexpr unsigned char kSessionContext[] = "thinsnap";
  SSL_CTX_set_session_id_context(context.get(), kSessionContext, sizeof kSessionContext - 1);
  SSL_CTX_set_alpn_select_cb(context.get(), &SelectProtocol, nullptr);

  const Owned<BIO> cert_bio(BIO_new_mem_buf(cert_pem.data(), static_cast<int>(cert_pem.size())));
  const Owned<X509> certificate(PEM_read_bio_X509(cert_bio.get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr || SSL_CTX_use_certificate(context.get(), certificate.get()) != 1) {
    return BadPem("the server's certificate is no PEM");
  }
  for (;;) {
    X509* intermediate = PEM_read_bio_X509(cert_bio.get(), nullptr, nullptr, nullptr);
    if (intermediate == nullptr) break;
    SSL_CTX_add0_chain_cert(context.get(), intermediate);
  }
  ERR_clear_error();
  const std::string_view key_text = key_pem.Reveal();
  const Owned<BIO> key_bio(BIO_new_mem_buf(key_text.data(), static_cast<int>(key_text.size())));
  const Owned<EVP_PKEY> key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, nullptr, nullptr));
  if (key == nullptr) return BadPem("the server's key is no PEM");
  if (SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1) {
    return BadPem("the server's key does not belong to its certificate");
  }
  if (!client_ca_pem.empty()) TRY(TrustClients(context.get(), client_ca_pem));
  return std::unique_ptr<TlsContext>(std::make_unique<OpenSslContext>(std::move(context)));
}

}  // namespace thinsnap::net
