// HttpSession: one connection of the server, from its handshake to its end. Reads and writes happen
// on its event loop's thread; responses, streams and upgraded connections queue shared buffers from
// any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "base/core/file.h"
#include "base/net/event_loop.h"
#include "base/net/http_server.h"
#include "base/net/request_parser.h"
#include "base/net/session_parts.h"
#include "base/net/tls.h"
#include "base/net/worker_pool.h"

namespace thinsnap::net {

class HttpSession;

// What the sessions of a server share.
struct SessionContext {
  SessionContext(Runtime& the_runtime, HttpServerOptions the_options, Handler the_handler)
      : runtime(the_runtime),
        options(std::move(the_options)),
        handler(std::move(the_handler)),
        pool(runtime, "http", options.workers) {}

  Runtime& runtime;
  const HttpServerOptions options;
  const Handler handler;
  std::unique_ptr<TlsContext> tls;
  WorkerPool pool;

  std::mutex mutex;
  std::condition_variable left;
  std::set<std::shared_ptr<HttpSession>> sessions;
  bool stopping = false;
};

class HttpSession final : public SocketHandler,
                          public SessionOutput,
                          public std::enable_shared_from_this<HttpSession> {
 public:
  HttpSession(std::shared_ptr<SessionContext> context, std::shared_ptr<EventLoop> loop, UniqueFd fd)
      : context_(std::move(context)), loop_(std::move(loop)), fd_(std::move(fd)) {}

  // Any thread.
  void Start();
  // Ends open streams properly, idle connections at once, others after their response. Any thread.
  void Finish();
  void Abort() override;

  // SessionOutput: any thread.
  bool Enqueue(std::vector<OutItem> items, std::uint64_t max_pending) override;
  std::uint64_t pending_bytes() const override;
  void ResumeReading() override;
  void RunOnWorker(std::function<void()> job) override { context_->pool.Post(std::move(job)); }

 private:
  enum class Phase { kHandshake, kRequest, kHandling, kStreaming, kUpgraded, kLinger, kClosed };

  void OnReady(bool readable, bool writable, bool broken) override;
  void OnTick(MonoTime now) override;

  void OnLoop(void (HttpSession::*job)());
  void Begin();
  void ContinueHandshake();
  void ReadMore();
  Io ReadSome(char* to, std::size_t size, std::size_t& got);
  bool WantsRead() const;
  void Consume();
  void ParseRequest();
  void Dispatch();
  void Fail(int status, const std::string& why);
  void Flush();
  // Writes from the front of the queue; true while there is more to do.
  bool WriteSome(Io& outcome);
  bool LoadFilePart();
  void EndResponse(bool keep);
  void FinishNow();
  void Linger();
  void Close();
  void UpdateInterest();
  void SetDeadline(Duration duration);

  // On a worker.
  void Respond(const ServerRequest& request, ServerResponse response);
  void StartStream(const ServerRequest& request, ServerResponse response);
  void Upgrade(const ServerRequest& request, ServerResponse response);
  void EnterStreaming();
  void EnterUpgraded();

  const std::shared_ptr<SessionContext> context_;
  const std::shared_ptr<EventLoop> loop_;

  // The loop's thread only.
  UniqueFd fd_;
  std::unique_ptr<TlsConnection> tls_;
  EventLoop::WatchId watch_ = 0;
  Phase phase_ = Phase::kHandshake;
  std::unique_ptr<RequestParser> parser_;
  std::string input_;
  std::string body_;
  ServerRequest request_;
  std::shared_ptr<BodyPipe> pipe_;
  bool write_blocked_ = false;
  bool read_interest_ = false;
  bool write_interest_ = false;
  bool finishing_ = false;
  MonoTime deadline_ = kForever;
  std::string tls_buffer_;

  mutable std::mutex mutex_;
  std::deque<OutItem> out_;
  std::uint64_t pending_ = 0;
  bool flush_posted_ = false;
  bool closed_ = false;
  bool keep_alive_ = true;    // of the request being answered
  bool body_arrived_ = true;  // of the request being answered, entirely
  bool http_1_0_ = false;
  std::shared_ptr<SessionStream> stream_;
  std::shared_ptr<SessionConnection> connection_;
};

}  // namespace thinsnap::net
