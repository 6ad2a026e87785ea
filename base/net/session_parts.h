// What a handler holds of a session: the body that arrives, the stream, the upgraded connection.
// They know the session only as a SessionOutput and outlive it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "base/core/runtime.h"
#include "base/net/http_server.h"
#include "base/net/websocket_codec.h"

namespace thinsnap::net {

// A piece of what is to be sent: a buffer or a part of a file, and what its end means.
struct OutItem {
  enum class Then { kMore, kNextRequest, kClose };
  std::shared_ptr<const std::string> buffer;
  std::size_t offset = 0;
  std::optional<ServerResponse::File> file;
  Then then = Then::kMore;
};

// The session as its parts see it. Thread-safe.
class SessionOutput {
 public:
  virtual ~SessionOutput() = default;
  // False when the connection is closed. Aborts it when more than max_pending bytes wait.
  virtual bool Enqueue(std::vector<OutItem> items, std::uint64_t max_pending) = 0;
  virtual std::uint64_t pending_bytes() const = 0;
  virtual void Abort() = 0;
  virtual void ResumeReading() = 0;
  virtual void RunOnWorker(std::function<void()> job) = 0;
};

std::shared_ptr<const std::string> Share(std::string text);

// "HTTP/1.1 200 OK" and so on up to the empty line.
std::string FormatHead(int status, const Headers& headers);
std::string_view ReasonPhrase(int status);

class BodyPipe final : public BodyReader {
 public:
  BodyPipe(Runtime& runtime, std::weak_ptr<SessionOutput> session)
      : changed_(runtime.NewEventCount()), session_(std::move(session)) {}

  Result<std::string> Read() override;

  // The session's side.
  void Add(std::string piece);
  void End();
  void Break();
  bool full() const;

 private:
  std::unique_ptr<EventCount> changed_;
  const std::weak_ptr<SessionOutput> session_;
  mutable std::mutex mutex_;
  std::string buffer_ GUARDED_BY(mutex_);
  bool ended_ GUARDED_BY(mutex_) = false;
  bool broken_ GUARDED_BY(mutex_) = false;
};

// Calls once when closed, and at once if it has been.
class CloseSignal {
 public:
  void Set(std::function<void()> callback);
  // True the first time.
  bool Fire();
  bool fired() const;

 private:
  mutable std::mutex mutex_;
  bool fired_ GUARDED_BY(mutex_) = false;
  std::function<void()> callback_ GUARDED_BY(mutex_);
};

class SessionStream final : public Stream {
 public:
  SessionStream(std::weak_ptr<SessionOutput> session, std::uint64_t max_pending, bool chunked,
                bool keep)
      : session_(std::move(session)), max_pending_(max_pending), chunked_(chunked), keep_(keep) {}

  bool Push(std::shared_ptr<const std::string> buffer) override;
  void Close() override;
  bool closed() const override { return closed_.fired(); }
  std::uint64_t pending_bytes() const override;
  void OnClose(std::function<void()> callback) override { closed_.Set(std::move(callback)); }

  // The session's side: the connection is gone.
  void Break() { closed_.Fire(); }

 private:
  const std::weak_ptr<SessionOutput> session_;
  const std::uint64_t max_pending_;
  const bool chunked_;
  const bool keep_;
  std::mutex push_mutex_;  // nothing may follow the end
  CloseSignal closed_;
};

class SessionConnection final : public Connection,
                                public std::enable_shared_from_this<SessionConnection> {
 public:
  SessionConnection(std::weak_ptr<SessionOutput> session, std::uint64_t max_pending, bool websocket)
      : session_(std::move(session)), max_pending_(max_pending) {
    if (websocket) decoder_.emplace(max_pending);
  }

  bool Send(std::string bytes) override;
  std::uint64_t pending_bytes() const override;
  void Close() override;
  void OnMessage(std::function<void(std::string)> callback) override;
  void OnClose(std::function<void()> callback) override;

  // The session's side. Nothing is delivered before Start().
  void Start();
  // False when the client breaks the protocol or says goodbye.
  bool Receive(std::string_view bytes);
  bool full() const;
  void Break();

 private:
  bool SendFrame(FrameKind kind, std::string_view payload);
  void Deliver();
  void WakeDelivery();

  const std::weak_ptr<SessionOutput> session_;
  const std::uint64_t max_pending_;
  std::optional<WebSocketDecoder> decoder_;
  mutable std::mutex mutex_;
  std::deque<std::string> inbox_ GUARDED_BY(mutex_);
  std::uint64_t inbox_bytes_ GUARDED_BY(mutex_) = 0;
  bool started_ GUARDED_BY(mutex_) = false;
  bool delivering_ GUARDED_BY(mutex_) = false;
  bool closing_ GUARDED_BY(mutex_) = false;  // by us
  bool broken_ GUARDED_BY(mutex_) = false;
  bool close_told_ GUARDED_BY(mutex_) = false;
  std::function<void(std::string)> on_message_ GUARDED_BY(mutex_);
  std::function<void()> on_close_ GUARDED_BY(mutex_);
};

}  // namespace thinsnap::net
