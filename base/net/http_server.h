// HttpServer: HTTP/1.1 with TLS and WebSocket on event loops of its own.
// A handler runs on a Runtime worker and returns a body, or a Stream to which others push; an open
// stream holds no thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/core/bytes.h"
#include "base/core/file.h"
#include "base/core/result.h"
#include "base/core/runtime.h"
#include "base/core/secret.h"
#include "base/net/http.h"

namespace thinsnap::net {

// The sending half of an open response (chunked). Buffers are shared and immutable: one event goes
// to a thousand watchers without a copy. Bounded: when more than `max_pending_bytes` wait, the
// stream closes itself. Thread-safe; no call blocks.
class Stream {
 public:
  virtual ~Stream() = default;
  // False once closed, by either side: the caller drops the stream.
  virtual bool Push(std::shared_ptr<const std::string> buffer) = 0;
  // Ends the response properly after what is pending.
  virtual void Close() = 0;
  virtual bool closed() const = 0;
  // What was pushed and not sent yet: a producer that can wait (a long log) paces itself by it.
  virtual std::uint64_t pending_bytes() const { return 0; }
  // Called once, from any thread, when the stream closes (at once if it has).
  virtual void OnClose(std::function<void()> callback) = 0;
};

// An upgraded connection: WebSocket messages, or raw bytes where no protocol is negotiated here
// (SPDY). Send is thread-safe and never blocks (bounded as Stream); the callbacks come one at a
// time from a Runtime worker.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual bool Send(std::string bytes) = 0;  // WebSocket: one binary message
  virtual std::uint64_t pending_bytes() const { return 0; }
  virtual void Close() = 0;
  // Install before the accept callback returns.
  virtual void OnMessage(std::function<void(std::string)> callback) = 0;  // raw: as they arrive
  virtual void OnClose(std::function<void()> callback) = 0;
};

// A request's body while it arrives. For the handler only.
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  // The next piece; empty at the end. Waits. kUnavailable when the client went away.
  virtual Result<std::string> Read() = 0;
};

struct ServerRequest {
  std::string method;
  std::string path;      // decoded; starts with '/'
  std::string raw_path;  // as it was sent, without the query (signatures need it)
  std::string raw_query;
  Query query;  // decoded
  Headers headers;
  std::string body;
  std::shared_ptr<BodyReader>
      body_stream;               // instead of body, with HttpServerOptions::stream_bodies
  std::string peer_common_name;  // of a verified client certificate; empty without
  std::vector<std::string> peer_organizations;
  bool wants_websocket = false;
  // The value of a query parameter, or the fallback.
  std::string QueryOr(std::string_view name, std::string_view fallback = "") const;
};

struct ServerResponse {
  int status = 200;
  Headers headers;                          // Content-Length and Date are added
  std::shared_ptr<const std::string> body;  // null: empty
  // One of these at most, instead of body:
  // a chunked response; called when the headers are on their way.
  std::function<void(std::shared_ptr<Stream>)> on_stream;
  // a WebSocket with this subprotocol (headers carry Sec-WebSocket-Protocol), or with `raw_upgrade`
  // 101 and raw bytes.
  std::function<void(std::shared_ptr<Connection>)> on_upgrade;
  bool raw_upgrade = false;
  // A part of a file as the body.
  struct File {
    std::shared_ptr<UniqueFd> fd;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };
  std::optional<File> file;
  // A test's fault: close the connection without answering.
  bool drop = false;

  static ServerResponse Text(int status, std::string body, std::string content_type = "text/plain");
};

using Handler = std::function<ServerResponse(const ServerRequest&)>;

struct HttpServerOptions {
  std::string address = "127.0.0.1";
  int port = 0;              // 0: any free one
  std::string tls_cert_pem;  // with tls_key_pem: HTTPS only
  Secret tls_key_pem;
  std::string client_ca_pem;  // given: client certificates are asked for, and verified when sent
  std::uint64_t max_body_bytes = 3 * kMiB;
  bool stream_bodies =
      false;  // the handler runs when the headers are there and reads the body itself
  std::uint64_t max_pending_bytes = 4 * kMiB;  // of one stream
  int io_threads = 1;
  int workers = 8;  // handlers at once
};

class HttpServer {
 public:
  virtual ~HttpServer() = default;  // stops
  virtual int port() const = 0;
  // Closes the listener, then all connections; open streams are closed properly first, within a
  // second.
  virtual void Stop() = 0;
};

// kFailedPrecondition "address in use" and the like.
Result<std::unique_ptr<HttpServer>> StartHttpServer(Runtime& runtime, HttpServerOptions options,
                                                    Handler handler);

}  // namespace thinsnap::net
