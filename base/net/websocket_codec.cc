#include "base/net/websocket_codec.h"

#include <openssl/evp.h>

#include "base/core/bytes.h"

namespace thinsnap::net {

std::string WebSocketAccept(std::string_view key) {
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::uint8_t digest[20];
  ASSERT(EVP_Digest(text.data(), text.size(), digest, nullptr, EVP_sha1(), nullptr) == 1);
  return Base64Encode(digest);
}

std::string EncodeFrame(FrameKind kind, std::string_view payload) {
  std::string frame;
  frame.reserve(payload.size() + 10);
  frame += static_cast<char>(0x80 | static_cast<int>(kind));
  const std::uint64_t size = payload.size();
  if (size < 126) {
    frame += static_cast<char>(size);
  } else {
    const int width = size < 65536 ? 2 : 8;
    frame += static_cast<char>(width == 2 ? 126 : 127);
    for (int i = width - 1; i >= 0; --i) frame += static_cast<char>((size >> (8 * i)) & 0xff);
  }
  frame += payload;
  return frame;
}

Result<std::vector<WebSocketDecoder::Message>> WebSocketDecoder::Feed(std::string_view bytes) {
  pending_ += bytes;
  std::vector<Message> messages;
  while (TRY(TakeFrame(messages))) {
  }
  return messages;
}

Result<bool> WebSocketDecoder::TakeFrame(std::vector<Message>& messages) {
  if (pending_.size() < 2) return false;
  const auto byte = [this](std::size_t i) { return static_cast<std::uint8_t>(pending_[i]); };
  const bool final = (byte(0) & 0x80) != 0;
  const int opcode = byte(0) & 0x0f;
  if ((byte(0) & 0x70) != 0)
    return Error(Code::kInvalidArgument, "WebSocket frame with reserved bits");
  if ((byte(1) & 0x80) == 0) return Error(Code::kInvalidArgument, "WebSocket frame without a mask");
  std::uint64_t size = byte(1) & 0x7f;
  std::size_t at = 2;
  if (size >= 126) {
    const std::size_t width = size == 126 ? 2 : 8;
    if (pending_.size() < at + width) return false;
    size = 0;
    for (std::size_t i = 0; i < width; ++i) size = size << 8 | byte(at + i);
    at += width;
  }
  const bool control = opcode >= 8;
  if (control && (!final || size > 125)) {
    return Error(Code::kInvalidArgument,
                 "WebSocket control frame in pieces or of more than 125 bytes");
  }
  const std::uint64_t before = partial_ && !control ? partial_->payload.size() : 0;
  if (size > max_message_bytes_ || before + size > max_message_bytes_) {
    return Error(Code::kOutOfRange,
                 "WebSocket message of more than " + FormatSize(max_message_bytes_));
  }
  if (pending_.size() < at + 4 || pending_.size() - at - 4 < size) return false;
  std::string payload = pending_.substr(at + 4, size);
  for (std::size_t i = 0; i < payload.size(); ++i) {
    payload[i] = static_cast<char>(static_cast<std::uint8_t>(payload[i]) ^ byte(at + i % 4));
  }
  pending_.erase(0, at + 4 + size);

  if (control) {
    if (opcode > 10) return Error(Code::kInvalidArgument, "WebSocket frame with an unknown opcode");
    messages.push_back(Message{static_cast<FrameKind>(opcode), std::move(payload)});
    return true;
  }
  if (opcode > 2 || (opcode == 0) != partial_.has_value()) {
    return Error(Code::kInvalidArgument, "WebSocket frames out of order");
  }
  if (opcode == 0) {
    partial_->payload += payload;
  } else {
    partial_ = Message{static_cast<FrameKind>(opcode), std::move(payload)};
  }
  if (final) {
    messages.push_back(std::move(*partial_));
    partial_.reset();
  }
  return true;
}

}  // namespace thinsnap::net
