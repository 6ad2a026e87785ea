#include "base/net/session_parts.h"

#include <array>
#include <cstdio>

namespace thinsnap::net {
namespace {

constexpr std::size_t kPipeBytes = 512 * kKiB;
constexpr std::uint64_t kInboxBytes = kMiB;

}  // namespace

std::shared_ptr<const std::string> Share(std::string text) {
  return std::make_shared<const std::string>(std::move(text));
}

std::string_view ReasonPhrase(int status) {
  static constexpr std::pair<int, std::string_view> kPhrases[] = {
      {100, "Continue"},
      {101, "Switching Protocols"},
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {204, "No Content"},
      {206, "Partial Content"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {304, "Not Modified"},
      {307, "Temporary Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {410, "Gone"},
      {411, "Length Required"},
      {412, "Precondition Failed"},
      {413, "Content Too Large"},
      {415, "Unsupported Media Type"},
      {416, "Range Not Satisfiable"},
      {422, "Unprocessable Content"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"}};
  for (const auto& [number, phrase] : kPhrases) {
    if (number == status) return phrase;
  }
  return "Unknown";
}

std::string FormatHead(int status, const Headers& headers) {
  std::string head = "HTTP/1.1 " + std::to_string(status) + " ";
  head += ReasonPhrase(status);
  head += "\r\n";
  for (const auto& [name, value] : headers.items()) {
    head += name;
    head += ": ";
    // A line feed in a value would be a header of its own.
    for (const char c : value) head += c == '\r' || c == '\n' ? ' ' : c;
    head += "\r\n";
  }
  head += "\r\n";
  return head;
}

Result<std::string> BodyPipe::Read() {
  for (;;) {
    const auto seen = changed_->Seen();
    std::string piece;
    bool was_full = false;
    {
      const std::lock_guard lock(mutex_);
      was_full = buffer_.size() >= kPipeBytes;
      piece = std::exchange(buffer_, {});
      if (piece.empty() && ended_) return piece;
      if (piece.empty() && broken_)
        return Error(Code::kUnavailable, "the client went away within its request");
    }
    if (!piece.empty()) {
      if (was_full) {
        if (const auto session = session_.lock()) session->ResumeReading();
      }
      return piece;
    }
    TRY(changed_->Wait(seen));
  }
}

void BodyPipe::Add(std::string piece) {
  if (piece.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    if (buffer_.empty()) {
      buffer_ = std::move(piece);
    } else {
      buffer_ += piece;
    }
  }
  changed_->Notify();
}

void BodyPipe::End() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_->Notify();
}

void BodyPipe::Break() {
  {
    const std::lock_guard lock(mutex_);
    broken_ = true;
  }
  changed_->Notify();
}

bool BodyPipe::full() const {
  const std::lock_guard lock(mutex_);
  return buffer_.size() >= kPipeBytes;
}

void CloseSignal::Set(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    if (!fired_) {
      callback_ = std::move(callback);
      return;
    }
  }
  if (callback) callback();
}

bool CloseSignal::Fire() {
  std::function<void()> callback;
  {
    const std::lock_guard lock(mutex_);
    if (fired_) return false;
    fired_ = true;
    callback = std::exchange(callback_, nullptr);
  }
  if (callback) callback();
  return true;
}

bool CloseSignal::fired() const {
  const std::lock_guard lock(mutex_);
  return fired_;
}

bool SessionStream::Push(std::shared_ptr<const std::string> buffer) {
  const auto session = session_.lock();
  if (session == nullptr || closed_.fired()) return false;
  if (buffer == nullptr || buffer->empty()) return true;
  std::vector<OutItem> items;
  if (chunked_) {
    static const std::shared_ptr<const std::string> kLineEnd = Share("\r\n");
    char size[24];
    std::snprintf(size, sizeof size, "%zx\r\n", buffer->size());
    items.push_back(OutItem{.buffer = Share(size), .file = {}});
    items.push_back(OutItem{.buffer = std::move(buffer), .file = {}});
    items.push_back(OutItem{.buffer = kLineEnd, .file = {}});
  } else {
    items.push_back(OutItem{.buffer = std::move(buffer), .file = {}});
  }
  const std::lock_guard lock(push_mutex_);
  return !closed_.fired() && session->Enqueue(std::move(items), max_pending_);
}

void SessionStream::Close() {
  const auto session = session_.lock();
  {
    const std::lock_guard lock(push_mutex_);
    if (closed_.fired()) return;
    if (session != nullptr) {
      OutItem end{.buffer = Share(chunked_ ? "0\r\n\r\n" : ""), .file = {}};
      end.then = chunked_ && keep_ ? OutItem::Then::kNextRequest : OutItem::Then::kClose;
      session->Enqueue({std::move(end)}, UINT64_MAX);
    }
  }
  closed_.Fire();
}

std::uint64_t SessionStream::pending_bytes() const {
  const auto session = session_.lock();
  return session == nullptr ? 0 : session->pending_bytes();
}

bool SessionConnection::Send(std::string bytes) {
  if (decoder_) return SendFrame(FrameKind::kBinary, bytes);
  const auto session = session_.lock();
  {
    const std::lock_guard lock(mutex_);
    if (closing_ || broken_) return false;
  }
  return session != nullptr &&
         session->Enqueue({OutItem{.buffer = Share(std::move(bytes)), .file = {}}}, max_pending_);
}

bool SessionConnection::SendFrame(FrameKind kind, std::string_view payload) {
  const auto session = session_.lock();
  if (session == nullptr) return false;
  OutItem item{.buffer = Share(EncodeFrame(kind, payload)), .file = {}};
  const std::lock_guard lock(mutex_);
  if (closing_ || broken_) return false;
  if (kind == FrameKind::kClose) {
    closing_ = true;
    item.then = OutItem::Then::kClose;
  }
  return session->Enqueue({std::move(item)}, max_pending_);
}

std::uint64_t SessionConnection::pending_bytes() const {
  const auto session = session_.lock();
  return session == nullptr ? 0 : session->pending_bytes();
}

void SessionConnection::Close() {
  if (decoder_) {
    SendFrame(FrameKind::kClose, std::string_view("\x03\xe8", 2));  // 1000, normal closure
    return;
  }
  const auto session = session_.lock();
  {
    const std::lock_guard lock(mutex_);
    if (closing_ || broken_) return;
    closing_ = true;
  }
  if (session == nullptr) return;
  OutItem end{.buffer = Share(""), .file = {}};
  end.then = OutItem::Then::kClose;
  session->Enqueue({std::move(end)}, UINT64_MAX);
}

void SessionConnection::OnMessage(std::function<void(std::string)> callback) {
  const std::lock_guard lock(mutex_);
  on_message_ = std::move(callback);
}

void SessionConnection::OnClose(std::function<void()> callback) {
  {
    const std::lock_guard lock(mutex_);
    on_close_ = std::move(callback);
  }
  WakeDelivery();
}

void SessionConnection::Start() {
  {
    const std::lock_guard lock(mutex_);
    started_ = true;
  }
  WakeDelivery();
}

bool SessionConnection::Receive(std::string_view bytes) {
  std::vector<std::string> arrived;
  bool goes_on = true;
  if (decoder_) {
    auto messages = decoder_->Feed(bytes);
    if (!messages.ok()) {
      const bool too_long = messages.Is(Code::kOutOfRange);
      SendFrame(FrameKind::kClose,
                too_long ? std::string_view("\x03\xf1", 2) : std::string_view("\x03\xea", 2));
      return false;
    }
    for (auto& message : *messages) {
      if (message.kind == FrameKind::kPing) SendFrame(FrameKind::kPong, message.payload);
      if (message.kind == FrameKind::kClose) {
        SendFrame(FrameKind::kClose, message.payload.substr(0, 2));
        goes_on = false;
        break;
      }
      if (message.kind == FrameKind::kText || message.kind == FrameKind::kBinary) {
        arrived.push_back(std::move(message.payload));
      }
    }
  } else {
    arrived.emplace_back(bytes);
  }
  {
    const std::lock_guard lock(mutex_);
    for (auto& message : arrived) {
      inbox_bytes_ += message.size();
      inbox_.push_back(std::move(message));
    }
  }
  WakeDelivery();
  return goes_on;
}

bool SessionConnection::full() const {
  const std::lock_guard lock(mutex_);
  return inbox_bytes_ >= kInboxBytes;
}

void SessionConnection::Break() {
  {
    const std::lock_guard lock(mutex_);
    broken_ = true;
  }
  WakeDelivery();
}

void SessionConnection::WakeDelivery() {
  const auto session = session_.lock();
  if (session == nullptr) return;
  {
    const std::lock_guard lock(mutex_);
    const bool has_close = broken_ && !close_told_ && on_close_;
    if (!started_ || delivering_ || (inbox_.empty() && !has_close)) return;
    delivering_ = true;
  }
  session->RunOnWorker([self = shared_from_this()] { self->Deliver(); });
}

void SessionConnection::Deliver() {
  for (;;) {
    std::function<void(std::string)> on_message;
    std::function<void()> on_close;
    std::string message;
    bool was_full = false;
    {
      const std::lock_guard lock(mutex_);
      if (!inbox_.empty()) {
        was_full = inbox_bytes_ >= kInboxBytes;
        message = std::move(inbox_.front());
        inbox_.pop_front();
        inbox_bytes_ -= message.size();
        was_full = was_full && inbox_bytes_ < kInboxBytes;
        on_message = on_message_;
      } else if (broken_ && !close_told_ && on_close_) {
        close_told_ = true;
        on_close = std::exchange(on_close_, nullptr);
        on_message_ = nullptr;
      } else {
        delivering_ = false;
        return;
      }
    }
    if (on_message) on_message(std::move(message));
    if (was_full) {
      if (const auto session = session_.lock()) session->ResumeReading();
    }
    if (on_close) on_close();
  }
}

}  // namespace thinsnap::net
