// RequestParser: HTTP/1.1 requests from bytes as they arrive (Boost.Beast's parser, hidden).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/core/result.h"
#include "base/net/http_server.h"

namespace thinsnap::net {

class RequestParser {
 public:
  // One object for one request.
  static std::unique_ptr<RequestParser> Make(std::uint64_t max_body_bytes);
  virtual ~RequestParser() = default;

  // Takes what it can from the front of `input` and returns its size. kInvalidArgument: 400;
  // kResourceExhausted: 431; kOutOfRange: 413.
  virtual Result<std::size_t> Feed(std::string_view input) = 0;
  virtual bool started() const = 0;
  virtual bool header_done() const = 0;
  virtual bool done() const = 0;
  // Method, target and headers, once header_done(). kInvalidArgument for a target that cannot be
  // decoded.
  virtual Result<ServerRequest> Header() const = 0;
  virtual bool keep_alive() const = 0;
  virtual bool http_1_0() const = 0;
  virtual bool expects_continue() const = 0;
  // The part of the body that has arrived since the last call.
  virtual std::string TakeBody() = 0;
};

}  // namespace thinsnap::net
