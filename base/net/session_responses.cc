// How a session answers: what runs on a worker once the handler has returned.
#include "base/net/http_session.h"

namespace thinsnap::net {
namespace {

Headers WithDate(Headers headers, Runtime& runtime) {
  if (!headers.Has("Date")) headers.Add("Date", FormatHttpDate(runtime.clock().Now()));
  return headers;
}

}  // namespace

void HttpSession::Respond(const ServerRequest& request, ServerResponse response) {
  if (response.drop) return Abort();
  if (response.on_upgrade) {
    if (response.raw_upgrade || request.wants_websocket)
      return Upgrade(request, std::move(response));
    response = ServerResponse::Text(400, "a WebSocket upgrade is expected\n");
  }
  if (response.on_stream) return StartStream(request, std::move(response));

  Headers headers = WithDate(std::move(response.headers), context_->runtime);
  const std::uint64_t size = response.file              ? response.file->length
                             : response.body != nullptr ? response.body->size()
                                                        : 0;
  const bool is_head = request.method == "HEAD";
  const bool bodiless = is_head || response.status == 204 || response.status == 304;
  if (response.status == 204 || response.status == 304) {
    // No length at all.
  } else if (!is_head || !headers.Has("Content-Length")) {
    headers.Set("Content-Length", std::to_string(size));
  }
  bool keep;
  {
    const std::lock_guard lock(mutex_);
    keep = keep_alive_ && body_arrived_;
    if (!keep) {
      headers.Set("Connection", "close");
    } else if (http_1_0_) {
      headers.Set("Connection", "keep-alive");
    }
  }
  std::vector<OutItem> items;
  items.push_back(OutItem{.buffer = Share(FormatHead(response.status, headers)), .file = {}});
  if (!bodiless && size > 0) {
    OutItem body;
    if (response.file) {
      body.file = std::move(response.file);
    } else {
      body.buffer = std::move(response.body);
    }
    items.push_back(std::move(body));
  }
  items.back().then = keep ? OutItem::Then::kNextRequest : OutItem::Then::kClose;
  Enqueue(std::move(items), UINT64_MAX);
}

void HttpSession::StartStream(const ServerRequest& request, ServerResponse response) {
  Headers headers = WithDate(std::move(response.headers), context_->runtime);
  bool keep;
  bool chunked;
  {
    const std::lock_guard lock(mutex_);
    keep = keep_alive_ && body_arrived_;
    chunked = !http_1_0_;
  }
  if (chunked) headers.Set("Transfer-Encoding", "chunked");
  if (!keep || !chunked) headers.Set("Connection", "close");
  OutItem head{.buffer = Share(FormatHead(response.status, headers)), .file = {}};
  auto stream = std::make_shared<SessionStream>(weak_from_this(),
                                                context_->options.max_pending_bytes, chunked, keep);
  if (request.method == "HEAD") {
    head.then = keep && chunked ? OutItem::Then::kNextRequest : OutItem::Then::kClose;
    Enqueue({std::move(head)}, UINT64_MAX);
    stream->Break();
    return response.on_stream(std::move(stream));
  }
  bool closed;
  {
    const std::lock_guard lock(mutex_);
    closed = closed_;
    if (!closed) stream_ = stream;
  }
  if (closed) {
    stream->Break();
  } else {
    Enqueue({std::move(head)}, UINT64_MAX);
    OnLoop(&HttpSession::EnterStreaming);
  }
  response.on_stream(std::move(stream));
}

void HttpSession::EnterStreaming() {
  // The stream may have ended before.
  if (phase_ != Phase::kHandling) return;
  {
    const std::lock_guard lock(mutex_);
    if (stream_ == nullptr) return;
  }
  phase_ = Phase::kStreaming;
  SetDeadline(Duration::max());
  if (finishing_) FinishNow();
  ReadMore();
}

void HttpSession::Upgrade(const ServerRequest& request, ServerResponse response) {
  Headers headers = std::move(response.headers);
  const bool websocket = !response.raw_upgrade;
  if (websocket) {
    headers.Set("Upgrade", "websocket");
    headers.Set("Connection", "Upgrade");
    headers.Set("Sec-WebSocket-Accept", WebSocketAccept(request.headers.Get("Sec-WebSocket-Key")));
  } else if (!headers.Has("Connection")) {
    headers.Set("Connection", "Upgrade");
  }
  auto connection = std::make_shared<SessionConnection>(
      weak_from_this(), context_->options.max_pending_bytes, websocket);
  bool closed;
  {
    const std::lock_guard lock(mutex_);
    closed = closed_;
    if (!closed) connection_ = connection;
  }
  if (closed) {
    connection->Break();
  } else {
    Enqueue({OutItem{.buffer = Share(FormatHead(101, headers)), .file = {}}}, UINT64_MAX);
    OnLoop(&HttpSession::EnterUpgraded);
  }
  response.on_upgrade(connection);
  connection->Start();
}

void HttpSession::EnterUpgraded() {
  if (phase_ != Phase::kHandling) return;
  phase_ = Phase::kUpgraded;
  SetDeadline(Duration::max());
  if (finishing_) FinishNow();
  Consume();
  if (phase_ != Phase::kClosed) ReadMore();
}

}  // namespace thinsnap::net
