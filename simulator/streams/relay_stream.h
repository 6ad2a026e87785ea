// RelayStream: a stream that is written to before the connection is there, and passed on from then
// on.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/core/guarded.h"
#include "base/net/http_server.h"

namespace thinsnap::streams {

// Thread-safe.
class RelayStream final : public net::Stream {
 public:
  bool Push(std::shared_ptr<const std::string> buffer) override;
  void Close() override;
  bool closed() const override;
  std::uint64_t pending_bytes() const override;
  void OnClose(std::function<void()> callback) override;

  void Attach(const std::shared_ptr<net::Stream>& stream);
  // Nobody will attach: writers learn that it is closed.
  void Abandon();

 private:
  static constexpr std::uint64_t kMaxWaiting = 4 * kMiB;

  mutable std::mutex mutex_;
  std::shared_ptr<net::Stream> stream_ GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<const std::string>> waiting_ GUARDED_BY(mutex_);
  std::uint64_t waiting_bytes_ GUARDED_BY(mutex_) = 0;
  bool closed_ GUARDED_BY(mutex_) = false;  // by the writer, or abandoned
  bool abandoned_ GUARDED_BY(mutex_) = false;
  std::function<void()> on_close_ GUARDED_BY(mutex_);
};

// Abandons the relay when the response goes without having become a stream.
struct RelayGuard {
  explicit RelayGuard(std::shared_ptr<RelayStream> its_relay) : relay(std::move(its_relay)) {}
  ~RelayGuard() { relay->Abandon(); }
  RelayGuard(const RelayGuard&) = delete;
  RelayGuard& operator=(const RelayGuard&) = delete;
  const std::shared_ptr<RelayStream> relay;
};

}  // namespace thinsnap::streams
