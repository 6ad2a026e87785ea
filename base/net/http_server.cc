#include "base/net/http_server.h"

#include <algorithm>
#include <cerrno>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <vector>

#include "base/net/http_session.h"

namespace thinsnap::net {
namespace {

Result<UniqueFd> Listen(const std::string& address, int port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string where = address + ":" + std::to_string(port);
  if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    return Error(Code::kInvalidArgument,
                 "address \"" + address + "\" to listen on: an IP address is expected");
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owned(found, &::freeaddrinfo);
  UniqueFd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return ErrnoError(errno, "make a socket");
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd.get(), 4096) != 0) {
    if (errno == EADDRINUSE)
      return Error(Code::kFailedPrecondition, "address " + where + " is in use");
    if (errno == EADDRNOTAVAIL)
      return Error(Code::kFailedPrecondition, "address " + where + " is not of this machine");
    return ErrnoError(errno, "listen on " + where);
  }
  return fd;
}

Result<int> PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    return ErrnoError(errno, "getsockname");
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                             : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

// Accepts on the first loop and hands the connections out in turn.
class Listener final : public SocketHandler, public std::enable_shared_from_this<Listener> {
 public:
  Listener(std::shared_ptr<SessionContext> context, std::vector<std::shared_ptr<EventLoop>> loops,
           UniqueFd fd)
      : context_(std::move(context)), loops_(std::move(loops)), fd_(std::move(fd)) {}

  void Begin() {
    watch_ = loops_.front()->Watch(fd_.get(), shared_from_this());
    Listening(true);
  }

  void End() {
    if (!fd_) return;
    loops_.front()->Unwatch(watch_, fd_.get());
    fd_.Reset();
    loops_.clear();  // the loop keeps us, and we kept it
  }

  void OnReady(bool, bool, bool) override {
    for (;;) {
      UniqueFd fd(::accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) {
        // Out of descriptors: the next tick tries again.
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
          Listening(false);
        if (errno == EINTR || errno == ECONNABORTED) continue;
        return;
      }
      const int on = 1;
      ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      ::setsockopt(fd.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
      auto session =
          std::make_shared<HttpSession>(context_, loops_[next_++ % loops_.size()], std::move(fd));
      {
        const std::lock_guard lock(context_->mutex);
        if (context_->stopping) return;
        context_->sessions.insert(session);
      }
      session->Start();
    }
  }

  void OnTick(MonoTime) override {
    if (!listening_) Listening(true);
  }

 private:
  void Listening(bool on) {
    listening_ = on;
    loops_.front()->SetInterest(watch_, fd_.get(), on, false);
  }

  const std::shared_ptr<SessionContext> context_;
  std::vector<std::shared_ptr<EventLoop>> loops_;
  UniqueFd fd_;
  EventLoop::WatchId watch_ = 0;
  bool listening_ = false;
  std::size_t next_ = 0;
};

class EpollHttpServer final : public HttpServer {
 public:
  EpollHttpServer(std::shared_ptr<SessionContext> context,
                  std::vector<std::shared_ptr<EventLoop>> loops, std::shared_ptr<Listener> listener,
                  int port)
      : context_(std::move(context)),
        loops_(std::move(loops)),
        listener_(std::move(listener)),
        port_(port) {}
  ~EpollHttpServer() override { Stop(); }

  int port() const override { return port_; }

  void Stop() override {
    {
      const std::lock_guard lock(context_->mutex);
      if (std::exchange(context_->stopping, true)) return;
    }
    loops_.front()->Post([listener = listener_] { listener->End(); });
    listener_.reset();
    for (const auto& session : Sessions()) session->Finish();
    WaitUntilLeft();
    for (const auto& session : Sessions()) session->Abort();
    context_->pool.Stop();
    WaitUntilLeft();
    context_->pool.Join();
    for (const auto& loop : loops_) loop->Stop();
  }

 private:
  std::vector<std::shared_ptr<HttpSession>> Sessions() {
    const std::lock_guard lock(context_->mutex);
    return {context_->sessions.begin(), context_->sessions.end()};
  }

  void WaitUntilLeft() {
    std::unique_lock lock(context_->mutex);
    context_->left.wait_for(lock, std::chrono::seconds(1),
                            [this] { return context_->sessions.empty(); });
  }

  const std::shared_ptr<SessionContext> context_;
  const std::vector<std::shared_ptr<EventLoop>> loops_;
  std::shared_ptr<Listener> listener_;
  const int port_;
};

}  // namespace

std::string ServerRequest::QueryOr(std::string_view name, std::string_view fallback) const {
  for (const auto& [present, value] : query) {
    if (present == name) return value;
  }
  return std::string(fallback);
}

ServerResponse ServerResponse::Text(int status, std::string text, std::string content_type) {
  ServerResponse response;
  response.status = status;
  response.headers.Set("Content-Type", std::move(content_type));
  response.body = std::make_shared<const std::string>(std::move(text));
  return response;
}

Result<std::unique_ptr<HttpServer>> StartHttpServer(Runtime& runtime, HttpServerOptions options,
                                                    Handler handler) {
  UniqueFd fd = TRY(Listen(options.address, options.port));
  const int port = TRY(PortOf(fd.get()));
  std::unique_ptr<TlsContext> tls;
  if (!options.tls_cert_pem.empty()) {
    tls = TRY(MakeTlsContext(options.tls_cert_pem, options.tls_key_pem, options.client_ca_pem));
  }
  std::vector<std::shared_ptr<EventLoop>> loops;
  for (int i = 0; i < std::max(options.io_threads, 1); ++i)
    loops.push_back(TRY(EventLoop::Start()));
  auto context = std::make_shared<SessionContext>(runtime, std::move(options), std::move(handler));
  context->tls = std::move(tls);
  auto listener = std::make_shared<Listener>(context, loops, std::move(fd));
  loops.front()->Post([listener] { listener->Begin(); });
  return std::unique_ptr<HttpServer>(std::make_unique<EpollHttpServer>(
      std::move(context), std::move(loops), std::move(listener), port));
}

}  // namespace thinsnap::net
