// HttpClient: blocking requests with kept connections (libcurl). Retry lives elsewhere.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "base/core/bytes.h"
#include "base/core/clock.h"
#include "base/core/result.h"
#include "base/core/secret.h"
#include "base/net/http.h"

namespace thinsnap::net {

struct HttpRequest {
  std::string method = "GET";
  std::string url;  // http:// or https://
  Headers headers;
  ByteSpan body;  // must outlive the call
  // For the whole exchange; for a stream (on_data) only until the headers came.
  Duration timeout = std::chrono::seconds(60);
  // For a stream after that: without a byte for so long it ends with kDeadlineExceeded. The time
  // that on_data takes does not count.
  Duration max_silence = std::chrono::seconds(60);
  // Given: a 2xx body is handed over piece by piece instead of being kept; an error ends the
  // exchange with it.
  std::function<Status(ByteSpan)> on_data;
  // A kept body that is longer ends the exchange with kOutOfRange.
  std::uint64_t max_response_bytes = kGiB;
};

struct HttpResponse {
  int status = 0;
  Headers headers;
  std::string body;
};

// Thread-safe. Ends early with kCancelled when the calling task's group is stopped.
class HttpClient {
 public:
  virtual ~HttpClient() = default;
  // kUnavailable when no byte of the request can have been acted on (not resolved, not connected,
  // TLS refused); kUnknownOutcome when the answer was lost after the request was sent (a GET or
  // HEAD: kUnavailable); kDeadlineExceeded. Any HTTP status is a response, not an error. Redirects
  // are not followed.
  virtual Result<HttpResponse> Do(const HttpRequest& request) = 0;
};

struct HttpClientOptions {
  std::string ca_pem;           // trusts only these; empty: the system's
  std::string client_cert_pem;  // with client_key_pem: mutual TLS
  Secret client_key_pem;
  bool insecure = false;  // accept any server certificate
  // Kept when idle. Calls are never held back: their number is the caller's business.
  int max_connections = 16;
  std::string unix_socket;  // connect there whatever the URL's host
};

std::unique_ptr<HttpClient> MakeHttpClient(HttpClientOptions options);

}  // namespace thinsnap::net
