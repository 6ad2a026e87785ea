#include "base/net/event_loop.h"

#include <cerrno>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace thinsnap::net {
namespace {

constexpr int kBatch = 64;
constexpr int kTickMs = 5000;
constexpr EventLoop::WatchId kWakeId = 0;

}  // namespace

Result<std::shared_ptr<EventLoop>> EventLoop::Start() {
  std::shared_ptr<EventLoop> loop(new EventLoop);
  loop->epoll_.Reset(::epoll_create1(EPOLL_CLOEXEC));
  loop->wake_.Reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kWakeId}};
  if (!loop->epoll_ || !loop->wake_ ||
      ::epoll_ctl(loop->epoll_.get(), EPOLL_CTL_ADD, loop->wake_.get(), &event) != 0) {
    return ErrnoError(errno, "make an event loop");
  }
  loop->thread_ = std::thread([raw = loop.get()] {
    pthread_setname_np(pthread_self(), "net-loop");
    raw->Run();
  });
  return loop;
}

void EventLoop::Post(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return;
    posted_.push_back(std::move(job));
    if (posted_.size() > 1) return;  // somebody has woken it already
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
}

EventLoop::WatchId EventLoop::Watch(int fd, std::shared_ptr<SocketHandler> handler) {
  const WatchId id = next_id_++;
  epoll_event event{.events = 0, .data = {.u64 = id}};
  ASSERT(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0);
  handlers_.emplace(id, std::move(handler));
  return id;
}

void EventLoop::SetInterest(WatchId id, int fd, bool read, bool write) {
  epoll_event event{.events = (read ? EPOLLIN | EPOLLRDHUP : 0U) | (write ? EPOLLOUT : 0U),
                    .data = {.u64 = id}};
  ASSERT(::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0);
}

void EventLoop::Unwatch(WatchId id, int fd) {
  if (handlers_.erase(id) > 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

void EventLoop::RunPosted() {
  std::vector<std::function<void()>> jobs;
  {
    const std::lock_guard lock(mutex_);
    jobs.swap(posted_);
  }
  for (const auto& job : jobs) job();
}

void EventLoop::Run() {
  SystemClock clock;
  MonoTime next_tick = clock.MonoNow() + std::chrono::milliseconds(kTickMs);
  for (;;) {
    epoll_event events[kBatch];
    const int count = ::epoll_wait(epoll_.get(), events, kBatch, handlers_.empty() ? -1 : kTickMs);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.u64 == kWakeId) {
        std::uint64_t value = 0;
        [[maybe_unused]] const ssize_t got = ::read(wake_.get(), &value, sizeof value);
        continue;
      }
      // An earlier event of this batch may have ended it.
      const auto found = handlers_.find(events[i].data.u64);
      if (found == handlers_.end()) continue;
      const std::shared_ptr<SocketHandler> handler = found->second;
      const bool broken = (events[i].events & (EPOLLERR | EPOLLHUP)) != 0;
      handler->OnReady(broken || (events[i].events & (EPOLLIN | EPOLLRDHUP)) != 0,
                       broken || (events[i].events & EPOLLOUT) != 0, broken);
    }
    RunPosted();
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    if (const MonoTime now = clock.MonoNow(); now >= next_tick) {
      next_tick = now + std::chrono::milliseconds(kTickMs);
      std::vector<std::shared_ptr<SocketHandler>> all;
      all.reserve(handlers_.size());
      for (const auto& [id, handler] : handlers_) all.push_back(handler);
      for (const auto& handler : all) handler->OnTick(now);
    }
  }
}

void EventLoop::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
    thread_.join();
  }
  RunPosted();
  handlers_.clear();
}

}  // namespace thinsnap::net
