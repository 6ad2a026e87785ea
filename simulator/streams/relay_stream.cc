#include "simulator/streams/relay_stream.h"

#include <utility>

namespace thinsnap::streams {

bool RelayStream::Push(std::shared_ptr<const std::string> buffer) {
  std::shared_ptr<net::Stream> stream;
  {
    std::lock_guard lock(mutex_);
    if (closed_) return false;
    if (!stream_) {
      if (waiting_bytes_ + buffer->size() > kMaxWaiting) return false;
      waiting_bytes_ += buffer->size();
      waiting_.push_back(std::move(buffer));
      return true;
    }
    stream = stream_;
  }
  return stream->Push(std::move(buffer));
}

void RelayStream::Close() {
  std::shared_ptr<net::Stream> stream;
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    stream = std::move(stream_);
  }
  if (stream) stream->Close();
}

bool RelayStream::closed() const {
  std::lock_guard lock(mutex_);
  return closed_ || (stream_ && stream_->closed());
}

std::uint64_t RelayStream::pending_bytes() const {
  std::lock_guard lock(mutex_);
  return stream_ ? stream_->pending_bytes() : waiting_bytes_;
}

void RelayStream::OnClose(std::function<void()> callback) {
  std::shared_ptr<net::Stream> stream;
  bool now = false;
  {
    std::lock_guard lock(mutex_);
    stream = stream_;
    now = abandoned_;
    if (!stream && !now) {
      on_close_ = std::move(callback);
      return;
    }
  }
  if (stream) {
    stream->OnClose(std::move(callback));
  } else {
    callback();
  }
}

void RelayStream::Attach(const std::shared_ptr<net::Stream>& stream) {
  std::function<void()> on_close;
  bool ended = false;
  {
    std::lock_guard lock(mutex_);
    for (auto& buffer : waiting_) stream->Push(std::move(buffer));
    waiting_.clear();
    waiting_bytes_ = 0;
    ended = closed_;
    if (!ended) stream_ = stream;
    on_close = std::exchange(on_close_, nullptr);
  }
  if (on_close) stream->OnClose(std::move(on_close));
  if (ended) stream->Close();
}

void RelayStream::Abandon() {
  std::function<void()> on_close;
  {
    std::lock_guard lock(mutex_);
    if (stream_ || abandoned_) return;
    abandoned_ = true;
    closed_ = true;
    on_close = std::exchange(on_close_, nullptr);
  }
  if (on_close) on_close();
}

}  // namespace thinsnap::streams
