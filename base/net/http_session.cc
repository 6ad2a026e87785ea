#include "base/net/http_session.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

namespace thinsnap::net {
namespace {

constexpr std::size_t kReadBytes = 64 * kKiB;
constexpr std::size_t kTlsRecordBytes = 16 * kKiB;
constexpr std::size_t kFilePartBytes = 256 * kKiB;
constexpr std::size_t kMaxPipelined = 64 * kKiB;
constexpr int kReadsInARow = 16;
constexpr auto kHandshakeTime = std::chrono::seconds(15);
constexpr auto kIdleTime = std::chrono::seconds(180);
constexpr auto kRequestTime = std::chrono::seconds(60);
constexpr auto kWriteTime = std::chrono::seconds(120);
constexpr auto kLingerTime = std::chrono::seconds(2);

}  // namespace

void HttpSession::Start() { OnLoop(&HttpSession::Begin); }
void HttpSession::Finish() { OnLoop(&HttpSession::FinishNow); }
void HttpSession::Abort() { OnLoop(&HttpSession::Close); }
void HttpSession::ResumeReading() { OnLoop(&HttpSession::ReadMore); }

void HttpSession::OnLoop(void (HttpSession::*job)()) {
  loop_->Post([self = shared_from_this(), job] { ((*self).*job)(); });
}

void HttpSession::Begin() {
  watch_ = loop_->Watch(fd_.get(), shared_from_this());
  if (context_->tls == nullptr) {
    phase_ = Phase::kRequest;
    SetDeadline(kIdleTime);
    ReadMore();
    return;
  }
  tls_ = context_->tls->Accept(fd_.get());
  SetDeadline(kHandshakeTime);
  ContinueHandshake();
}

void HttpSession::ContinueHandshake() {
  const Io outcome = tls_->Handshake();
  if (outcome == Io::kClosed) return Close();
  if (outcome == Io::kDone) {
    phase_ = Phase::kRequest;
    SetDeadline(kIdleTime);
    return ReadMore();
  }
  write_blocked_ = outcome == Io::kWantWrite;
  UpdateInterest();
}

void HttpSession::SetDeadline(Duration duration) {
  deadline_ = duration == Duration::max() ? kForever : SystemClock().MonoNow() + duration;
}

void HttpSession::OnTick(MonoTime now) {
  if (now >= deadline_) Close();
}

void HttpSession::OnReady(bool readable, bool writable, bool broken) {
  if (phase_ == Phase::kClosed) return;
  if (phase_ == Phase::kHandshake) return ContinueHandshake();
  if (writable && write_blocked_) {
    write_blocked_ = false;
    Flush();
  }
  if (phase_ == Phase::kClosed) return;
  if (readable && WantsRead()) {
    ReadMore();
  } else if (broken) {
    return Close();
  }
  if (phase_ != Phase::kClosed) UpdateInterest();
}

void HttpSession::UpdateInterest() {
  const bool read = phase_ == Phase::kHandshake ? !write_blocked_ : WantsRead();
  if (read == read_interest_ && write_blocked_ == write_interest_) return;
  read_interest_ = read;
  write_interest_ = write_blocked_;
  loop_->SetInterest(watch_, fd_.get(), read_interest_, write_interest_);
}

bool HttpSession::WantsRead() const {
  switch (phase_) {
    case Phase::kRequest:
    case Phase::kLinger:
      return true;
    case Phase::kHandling:
      return pipe_ != nullptr && !parser_->done() && !pipe_->full();
    case Phase::kStreaming:
      return input_.size() < kMaxPipelined;
    case Phase::kUpgraded:
      return !connection_->full();
    default:
      return false;
  }
}

Io HttpSession::ReadSome(char* to, std::size_t size, std::size_t& got) {
  if (tls_ != nullptr) return tls_->Read(to, size, got);
  const ssize_t result = ::recv(fd_.get(), to, size, MSG_DONTWAIT);
  if (result > 0) {
    got = static_cast<std::size_t>(result);
    return Io::kDone;
  }
  return result < 0 && (errno == EAGAIN || errno == EINTR) ? Io::kWantRead : Io::kClosed;
}

void HttpSession::ReadMore() {
  thread_local std::array<char, kReadBytes> scratch;
  for (int i = 0; phase_ != Phase::kClosed && WantsRead(); ++i) {
    if (i == kReadsInARow) return OnLoop(&HttpSession::ReadMore);  // others wait too
    std::size_t got = 0;
    const Io outcome = ReadSome(scratch.data(), scratch.size(), got);
    if (outcome == Io::kClosed) return Close();
    if (outcome == Io::kWantWrite) write_blocked_ = true;
    if (outcome != Io::kDone) break;
    if (phase_ == Phase::kLinger) continue;
    input_.append(scratch.data(), got);
    Consume();
  }
  if (phase_ != Phase::kClosed) UpdateInterest();
}

void HttpSession::Consume() {
  if (phase_ == Phase::kRequest || (phase_ == Phase::kHandling && pipe_ != nullptr))
    return ParseRequest();
  if (phase_ == Phase::kUpgraded && !input_.empty()) {
    const std::string bytes = std::exchange(input_, {});
    if (!connection_->Receive(bytes)) phase_ = Phase::kLinger, SetDeadline(kLingerTime);
  }
}

void HttpSession::ParseRequest() {
  if (parser_ == nullptr) parser_ = RequestParser::Make(context_->options.max_body_bytes);
  const bool had_header = parser_->header_done();
  const bool had_started = parser_->started();
  const auto taken = parser_->Feed(input_);
  if (!taken.ok()) {
    const Code code = taken.error().code();
    return Fail(code == Code::kOutOfRange          ? 413
                : code == Code::kResourceExhausted ? 431
                                                   : 400,
                taken.error().message());
  }
  input_.erase(0, *taken);
  if (input_.empty()) input_.shrink_to_fit();
  if (!had_started || parser_->header_done()) SetDeadline(kRequestTime);
  if (!parser_->header_done()) return;
  if (!had_header) {
    auto header = parser_->Header();
    if (!header.ok()) return Fail(400, header.error().message());
    request_ = std::move(header).value();
    body_.clear();
    // Also when there is no body: botocore takes the answer to a later request for this one's
    // where it was left out.
    if (parser_->expects_continue()) {
      Enqueue({OutItem{.buffer = Share("HTTP/1.1 100 Continue\r\n\r\n"), .file = {}}}, UINT64_MAX);
    }
    if (context_->options.stream_bodies) {
      pipe_ = std::make_shared<BodyPipe>(context_->runtime, weak_from_this());
      request_.body_stream = pipe_;
      Dispatch();
    }
  }
  if (pipe_ != nullptr) {
    pipe_->Add(parser_->TakeBody());
    if (!parser_->done()) return;
    {
      const std::lock_guard lock(mutex_);
      body_arrived_ = true;
    }
    pipe_->End();
    deadline_ = kForever;
    return;
  }
  body_ += parser_->TakeBody();
  if (!parser_->done()) return;
  request_.body = std::exchange(body_, {});
  Dispatch();
}

void HttpSession::Dispatch() {
  phase_ = Phase::kHandling;
  if (pipe_ == nullptr) deadline_ = kForever;
  if (tls_ != nullptr) {
    request_.peer_common_name = tls_->PeerCommonName();
    request_.peer_organizations = tls_->PeerOrganizations();
  }
  {
    const std::lock_guard lock(mutex_);
    keep_alive_ = parser_->keep_alive() && !finishing_;
    http_1_0_ = parser_->http_1_0();
    body_arrived_ = pipe_ == nullptr || parser_->done();
  }
  auto request = std::make_shared<ServerRequest>(std::exchange(request_, {}));
  context_->pool.Post([self = shared_from_this(), request] {
    self->Respond(*request, self->context_->handler(*request));
  });
}

void HttpSession::Fail(int status, const std::string& why) {
  if (pipe_ != nullptr) return Close();  // the handler answers, or has answered
  phase_ = Phase::kHandling;
  Headers headers;
  headers.Set("Content-Type", "text/plain");
  headers.Set("Content-Length", std::to_string(why.size() + 1));
  headers.Set("Connection", "close");
  OutItem item{.buffer = Share(FormatHead(status, headers) + why + "\n"), .file = {}};
  item.then = OutItem::Then::kClose;
  Enqueue({std::move(item)}, UINT64_MAX);
}

bool HttpSession::Enqueue(std::vector<OutItem> items, std::uint64_t max_pending) {
  bool overflow = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return false;
    std::uint64_t size = 0;
    for (const OutItem& item : items) size += item.buffer != nullptr ? item.buffer->size() : 0;
    overflow = pending_ > 0 && pending_ + size > max_pending;
    if (!overflow) {
      pending_ += size;
      for (OutItem& item : items) out_.push_back(std::move(item));
      if (flush_posted_) return true;
      flush_posted_ = true;
    }
  }
  if (overflow) {
    Abort();
    return false;
  }
  OnLoop(&HttpSession::Flush);
  return true;
}

std::uint64_t HttpSession::pending_bytes() const {
  const std::lock_guard lock(mutex_);
  return pending_;
}

void HttpSession::Flush() {
  {
    const std::lock_guard lock(mutex_);
    flush_posted_ = false;
  }
  bool wrote = false;
  while (phase_ != Phase::kClosed && !write_blocked_) {
    Io outcome = Io::kDone;
    if (!WriteSome(outcome)) break;
    if (outcome == Io::kClosed) return Close();
    wrote = wrote || outcome == Io::kDone;
    write_blocked_ = outcome != Io::kDone;
  }
  if (phase_ == Phase::kClosed) return;
  if (wrote && write_blocked_ && phase_ == Phase::kHandling) SetDeadline(kWriteTime);
  UpdateInterest();
}

bool HttpSession::LoadFilePart() {
  ServerResponse::File file;
  {
    const std::lock_guard lock(mutex_);
    if (out_.empty() || !out_.front().file) return true;
    file = *out_.front().file;
  }
  std::string part(std::min<std::uint64_t>(file.length, kFilePartBytes), '\0');
  const ssize_t got =
      ::pread(file.fd->get(), part.data(), part.size(), static_cast<off_t>(file.offset));
  if (got <= 0 && file.length > 0) return false;
  part.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  const std::lock_guard lock(mutex_);
  OutItem& front = out_.front();
  front.file->offset += part.size();
  front.file->length -= part.size();
  OutItem item{.buffer = Share(std::move(part)), .file = {}};
  pending_ += item.buffer->size();
  if (front.file->length == 0) {
    item.then = front.then;
    front = std::move(item);
  } else {
    out_.push_front(std::move(item));
  }
  return true;
}

bool HttpSession::WriteSome(Io& outcome) {
  if (!LoadFilePart()) {
    outcome = Io::kClosed;
    return true;
  }
  std::array<iovec, 32> pieces;
  std::size_t count = 0;
  std::size_t size = 0;
  std::optional<OutItem::Then> then;
  {
    // Only this thread takes from the queue: the buffers stay where they are.
    const std::lock_guard lock(mutex_);
    while (!out_.empty() && !out_.front().file &&
           out_.front().offset == out_.front().buffer->size() && !then) {
      if (out_.front().then != OutItem::Then::kMore) then = out_.front().then;
      out_.pop_front();
    }
    if (!then) {
      if (out_.empty()) return false;
      for (const OutItem& item : out_) {
        if (item.file || count == pieces.size() || size >= kFilePartBytes) break;
        pieces[count++] = iovec{const_cast<char*>(item.buffer->data()) + item.offset,
                                item.buffer->size() - item.offset};
        size += item.buffer->size() - item.offset;
        if (item.then != OutItem::Then::kMore) break;
      }
      if (count == 0) return true;  // a file comes next
    }
  }
  if (then) {
    EndResponse(*then == OutItem::Then::kNextRequest);
    return phase_ != Phase::kClosed;
  }

  std::size_t written = 0;
  if (tls_ != nullptr) {
    std::string_view bytes(static_cast<const char*>(pieces[0].iov_base), pieces[0].iov_len);
    if (count > 1 && bytes.size() < kTlsRecordBytes) {
      tls_buffer_.clear();
      for (std::size_t i = 0; i < count && tls_buffer_.size() < kTlsRecordBytes; ++i) {
        tls_buffer_.append(static_cast<const char*>(pieces[i].iov_base),
                           std::min(pieces[i].iov_len, kTlsRecordBytes - tls_buffer_.size()));
      }
      bytes = tls_buffer_;
    }
    outcome = bytes.empty() ? Io::kDone : tls_->Write(bytes.data(), bytes.size(), written);
  } else {
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = count;
    const ssize_t sent = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    outcome = sent >= 0                           ? Io::kDone
              : errno == EAGAIN || errno == EINTR ? Io::kWantWrite
                                                  : Io::kClosed;
    written = sent >= 0 ? static_cast<std::size_t>(sent) : 0;
  }
  const std::lock_guard lock(mutex_);
  pending_ -= written;
  for (OutItem& item : out_) {
    if (written == 0 || item.file) break;
    const std::size_t step = std::min(written, item.buffer->size() - item.offset);
    item.offset += step;
    written -= step;
  }
  if (out_.empty()) std::string().swap(tls_buffer_);
  return true;
}

void HttpSession::EndResponse(bool keep) {
  {
    const std::lock_guard lock(mutex_);
    stream_ = nullptr;
    keep = keep && body_arrived_;
  }
  pipe_ = nullptr;
  parser_ = nullptr;
  std::string().swap(tls_buffer_);
  if (finishing_) return Close();
  if (!keep) return Linger();
  phase_ = Phase::kRequest;
  SetDeadline(kIdleTime);
  if (!input_.empty()) {
    ParseRequest();
  }
  // TLS may hold decrypted bytes that the socket no longer announces.
  if (phase_ == Phase::kRequest) OnLoop(&HttpSession::ReadMore);
}

void HttpSession::FinishNow() {
  finishing_ = true;
  std::shared_ptr<SessionStream> stream;
  std::shared_ptr<SessionConnection> connection;
  {
    const std::lock_guard lock(mutex_);
    keep_alive_ = false;
    stream = stream_;
    connection = connection_;
  }
  if (stream != nullptr) stream->Close();
  if (connection != nullptr) connection->Close();
  if (phase_ == Phase::kRequest || phase_ == Phase::kHandshake) Close();
}

// A close with unread input would reset the connection and take the response with it.
void HttpSession::Linger() {
  if (tls_ != nullptr) tls_->Shutdown();
  ::shutdown(fd_.get(), SHUT_WR);
  phase_ = Phase::kLinger;
  SetDeadline(kLingerTime);
  OnLoop(&HttpSession::ReadMore);
}

void HttpSession::Close() {
  if (phase_ == Phase::kClosed) return;
  const auto self = shared_from_this();
  if (tls_ != nullptr && phase_ != Phase::kHandshake && phase_ != Phase::kLinger) tls_->Shutdown();
  phase_ = Phase::kClosed;
  loop_->Unwatch(watch_, fd_.get());
  std::shared_ptr<SessionStream> stream;
  std::shared_ptr<SessionConnection> connection;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    out_.clear();
    pending_ = 0;
    stream = std::exchange(stream_, nullptr);
    connection = connection_;
  }
  tls_.reset();
  fd_.Reset();
  if (pipe_ != nullptr) pipe_->Break();
  if (stream != nullptr) stream->Break();
  if (connection != nullptr) connection->Break();
  {
    const std::lock_guard lock(context_->mutex);
    context_->sessions.erase(self);
  }
  context_->left.notify_all();
}

}  // namespace thinsnap::net
