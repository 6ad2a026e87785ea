// RFC 6455 frames, the server's side: bytes in, messages out. Pure; the connection owns one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"

namespace thinsnap::net {

// The answer to Sec-WebSocket-Key.
std::string WebSocketAccept(std::string_view key);

enum class FrameKind : std::uint8_t { kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

// One unmasked, final frame.
std::string EncodeFrame(FrameKind kind, std::string_view payload);

class WebSocketDecoder {
 public:
  struct Message {
    FrameKind kind;  // text and binary are whole messages
    std::string payload;
  };

  explicit WebSocketDecoder(std::uint64_t max_message_bytes)
      : max_message_bytes_(max_message_bytes) {}

  // Takes bytes as they arrive. kInvalidArgument: the client breaks the protocol; kOutOfRange: its
  // message is too long.
  Result<std::vector<Message>> Feed(std::string_view bytes);

 private:
  // The next frame of pending_, if it is there entirely.
  Result<bool> TakeFrame(std::vector<Message>& messages);

  const std::uint64_t max_message_bytes_;
  std::string pending_;
  std::optional<Message> partial_;  // a fragmented message
};

}  // namespace thinsnap::net
