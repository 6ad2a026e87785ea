#include "simulator/containers/container_io.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

namespace thinsnap::containers {
namespace {

constexpr std::size_t kClientHighWater = kMiB;
constexpr std::size_t kEarlyBytes = 16 * kKiB;

void Append(std::vector<AttachedClient::Piece>& pieces, bool error_stream, std::string_view bytes) {
  if (pieces.empty() || pieces.back().error_stream != error_stream) {
    pieces.push_back({error_stream, ""});
  }
  pieces.back().bytes += bytes;
}

}  // namespace

AttachedClient::AttachedClient() : ready_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void AttachedClient::Wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(ready_.get(), &one, sizeof one);
}

void ContainerIo::WakeAll() const {
  for (const auto& client : clients_) client->Wake();
}

void ContainerIo::Connect(UniqueFd fd, std::function<void()> attend) {
  std::lock_guard lock(mutex_);
  fd_ = std::move(fd);
  attend_ = std::move(attend);
}

void ContainerIo::Output(bool error_stream, std::string_view bytes) {
  log_->Write(error_stream ? "stderr" : "stdout", bytes);
  std::lock_guard lock(mutex_);
  if (!had_client_ && (input_.open || input_.tty) && early_bytes_ < kEarlyBytes) {
    const std::string_view kept = bytes.substr(0, kEarlyBytes - early_bytes_);
    Append(early_, error_stream, kept);
    early_bytes_ += kept.size();
  }
  for (const auto& client : clients_) {
    Append(client->waiting_, error_stream, bytes);
    client->waiting_bytes_ += bytes.size();
    client->Wake();
  }
}

bool ContainerIo::CongestedLocked() const {
  return std::any_of(clients_.begin(), clients_.end(),
                     [](const auto& client) { return client->waiting_bytes_ > kClientHighWater; });
}

bool ContainerIo::Congested() const {
  std::lock_guard lock(mutex_);
  return CongestedLocked();
}

void ContainerIo::WatchInput(int epoll, std::uint64_t key) {
  std::lock_guard lock(mutex_);
  if (!fd_ || unread_.empty()) return;
  struct epoll_event event = {};
  event.events = EPOLLOUT | EPOLLONESHOT;
  event.data.u64 = key;
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd_.get(), &event) != 0)
    epoll_ctl(epoll, EPOLL_CTL_MOD, fd_.get(), &event);
}

void ContainerIo::FeedInput() {
  std::lock_guard lock(mutex_);
  FeedLocked();
}

void ContainerIo::FeedLocked() {
  std::size_t written = 0;
  while (fd_ && written < unread_.size()) {
    const ssize_t n = write(fd_.get(), unread_.data() + written, unread_.size() - written);
    if (n > 0) {
      written += static_cast<std::size_t>(n);
    } else if (errno == EAGAIN) {
      break;
    } else if (errno != EINTR) {
      fd_.Reset();  // nobody reads any more
    }
  }
  unread_.erase(0, written);
  if (!fd_) unread_.clear();
  if (input_ended_ && unread_.empty() && !input_.tty) fd_.Reset();
  if (written > 0) WakeAll();
}

void ContainerIo::Close() {
  log_->Close();
  std::lock_guard lock(mutex_);
  closed_ = true;
  fd_.Reset();
  unread_.clear();
  attend_ = nullptr;
  WakeAll();
}

std::shared_ptr<AttachedClient> ContainerIo::Attach(bool takes_input) {
  auto client = std::make_shared<AttachedClient>();
  std::lock_guard lock(mutex_);
  client->takes_input_ = takes_input && input_.open;
  had_client_ = true;
  client->waiting_ = std::exchange(early_, {});
  client->waiting_bytes_ = std::exchange(early_bytes_, 0);
  if (closed_ || client->waiting_bytes_ > 0) client->Wake();
  clients_.push_back(client);
  return client;
}

AttachedClient::Taken ContainerIo::Take(AttachedClient& client) {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t n = read(client.ready_.get(), &count, sizeof count);
  std::lock_guard lock(mutex_);
  const bool congested = CongestedLocked();
  AttachedClient::Taken taken{std::exchange(client.waiting_, {}), closed_};
  client.waiting_bytes_ = 0;
  if (congested && !CongestedLocked() && attend_) attend_();
  return taken;
}

void ContainerIo::Write(std::string_view bytes) {
  std::lock_guard lock(mutex_);
  if (!fd_ || input_ended_) return;
  unread_ += bytes;
  FeedLocked();
  if (!unread_.empty() && attend_) attend_();
}

std::size_t ContainerIo::unread_input() const {
  std::lock_guard lock(mutex_);
  return unread_.size();
}

bool ContainerIo::EndInputLocked(AttachedClient& client) {
  if (!client.takes_input_) return true;
  client.takes_input_ = false;
  // A terminal has no end of input to give; a later client may go on with it.
  if (!input_.once || input_.tty) return false;
  input_ended_ = true;
  FeedLocked();
  return true;
}

bool ContainerIo::EndInput(AttachedClient& client) {
  std::lock_guard lock(mutex_);
  return EndInputLocked(client);
}

void ContainerIo::Detach(const std::shared_ptr<AttachedClient>& client) {
  std::lock_guard lock(mutex_);
  EndInputLocked(*client);
  const bool congested = CongestedLocked();
  std::erase(clients_, client);
  if (congested && !CongestedLocked() && attend_) attend_();
}

void ContainerIo::Resize(int columns, int rows) {
  std::lock_guard lock(mutex_);
  if (!fd_ || !input_.tty) return;
  struct winsize window = {};
  window.ws_col = static_cast<unsigned short>(columns);
  window.ws_row = static_cast<unsigned short>(rows);
  ioctl(fd_.get(), TIOCSWINSZ, &window);
}

}  // namespace thinsnap::containers
