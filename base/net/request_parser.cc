#include "base/net/request_parser.h"

#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>

namespace thinsnap::net {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;

constexpr std::uint32_t kHeaderLimit = 64 * 1024;

// A string that only grows by what has arrived: Beast's own reserves whatever Content-Length says.
struct GrowingBody {
  using value_type = std::string;

  class reader {  // NOLINT(readability-identifier-naming): Beast's name for it
   public:
    template <bool is_request, typename Fields>
    reader(http::header<is_request, Fields>&, value_type& body) : body_(body) {}
    void init(const boost::optional<std::uint64_t>&, error_code& error) { error = {}; }
    template <typename Buffers>
    std::size_t put(const Buffers& buffers, error_code& error) {
      error = {};
      std::size_t size = 0;
      for (const boost::asio::const_buffer buffer : boost::beast::buffers_range(buffers)) {
        body_.append(static_cast<const char*>(buffer.data()), buffer.size());
        size += buffer.size();
      }
      return size;
    }
    void finish(error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

std::string ToString(boost::beast::string_view text) { return {text.data(), text.size()}; }

bool HasToken(boost::beast::string_view list, std::string_view token) {
  return http::token_list(list).exists(boost::beast::string_view(token.data(), token.size()));
}

class BeastRequestParser final : public RequestParser {
 public:
  explicit BeastRequestParser(std::uint64_t max_body_bytes) {
    parser_.header_limit(kHeaderLimit);
    parser_.body_limit(max_body_bytes);
    parser_.eager(true);
  }

  Result<std::size_t> Feed(std::string_view input) override {
    if (input.empty()) return std::size_t{0};
    started_ = true;
    error_code error;
    const std::size_t taken =
        parser_.put(boost::asio::const_buffer(input.data(), input.size()), error);
    if (!error || error == http::error::need_more) return taken;
    if (error == http::error::body_limit) return Error(Code::kOutOfRange, "the body is too large");
    if (error == http::error::header_limit)
      return Error(Code::kResourceExhausted, "the headers are too large");
    return Error(Code::kInvalidArgument, "malformed request: " + error.message());
  }

  bool started() const override { return started_; }
  bool header_done() const override { return parser_.is_header_done(); }
  bool done() const override { return parser_.is_done(); }
  bool keep_alive() const override { return parser_.get().keep_alive(); }
  bool http_1_0() const override { return parser_.get().version() < 11; }
  bool expects_continue() const override {
    return boost::beast::iequals(parser_.get()[http::field::expect], "100-continue");
  }

  std::string TakeBody() override { return std::exchange(parser_.get().body(), {}); }

  Result<ServerRequest> Header() const override {
    const auto& message = parser_.get();
    ServerRequest request;
    request.method = ToString(message.method_string());
    std::string target = ToString(message.target());
    // A proxy's spelling names the host as well.
    if (target.starts_with("http://") || target.starts_with("https://")) {
      const std::size_t path = target.find('/', target.find("://") + 3);
      target = path == target.npos ? "/" : target.substr(path);
    }
    const std::size_t question = target.find('?');
    request.raw_path = target.substr(0, question);
    if (question != target.npos) request.raw_query = target.substr(question + 1);
    if (!request.raw_path.starts_with('/')) {
      return Error(Code::kInvalidArgument, "the request's target does not start with a slash");
    }
    request.path = TRY(UrlUnescape(request.raw_path));
    request.query = TRY(ParseQuery(request.raw_query));
    for (const auto& field : message)
      request.headers.Add(ToString(field.name_string()), ToString(field.value()));
    request.wants_websocket = message.method() == http::verb::get &&
                              HasToken(message[http::field::connection], "upgrade") &&
                              HasToken(message[http::field::upgrade], "websocket") &&
                              message.find(http::field::sec_websocket_key) != message.end();
    return request;
  }

 private:
  http::request_parser<GrowingBody> parser_;
  bool started_ = false;
};

}  // namespace

std::unique_ptr<RequestParser> RequestParser::Make(std::uint64_t max_body_bytes) {
  return std::make_unique<BeastRequestParser>(max_body_bytes);
}

}  // namespace thinsnap::net
