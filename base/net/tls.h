// TLS of the server's side over a non-blocking socket. OpenSSL reads and writes the socket itself,
// without BIO pairs: an idle connection costs 16 KiB instead of 68.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"
#include "base/core/secret.h"

namespace thinsnap::net {

enum class Io { kDone, kWantRead, kWantWrite, kClosed };

class TlsConnection {
 public:
  virtual ~TlsConnection() = default;
  virtual Io Handshake() = 0;
  virtual Io Read(char* to, std::size_t size, std::size_t& got) = 0;
  // After kWant*, the next call must offer the same bytes, or more of them.
  virtual Io Write(const char* from, std::size_t size, std::size_t& written) = 0;
  // Says goodbye, once, without waiting.
  virtual void Shutdown() = 0;
  // Of the client's verified certificate; empty without one.
  virtual std::string PeerCommonName() const = 0;
  virtual std::vector<std::string> PeerOrganizations() const = 0;
};

// Thread-safe.
class TlsContext {
 public:
  virtual ~TlsContext() = default;
  virtual std::unique_ptr<TlsConnection> Accept(int fd) = 0;
};

// kInvalidArgument when certificate and key are no PEM or do not belong together.
Result<std::unique_ptr<TlsContext>> MakeTlsContext(const std::string& cert_pem,
                                                   const Secret& key_pem,
                                                   const std::string& client_ca_pem);

}  // namespace thinsnap::net
