#include "base/net/websocket_codec.h"

#include <gtest/gtest.h>

#include "base/core/random.h"

namespace thinsnap::net {
namespace {

std::string Masked(int first_byte, std::string payload) {
  std::string frame(1, static_cast<char>(first_byte));
  const std::size_t size = payload.size();
  if (size < 126) {
    frame += static_cast<char>(0x80 | size);
  } else if (size < 65536) {
    frame += static_cast<char>(0x80 | 126);
    frame += static_cast<char>(size >> 8);
    frame += static_cast<char>(size & 0xff);
  } else {
    frame += static_cast<char>(0x80 | 127);
    for (int i = 7; i >= 0; --i)
      frame += static_cast<char>((static_cast<std::uint64_t>(size) >> (8 * i)) & 0xff);
  }
  const char mask[4] = {1, 2, 3, 4};
  frame.append(mask, 4);
  for (std::size_t i = 0; i < size; ++i) payload[i] = static_cast<char>(payload[i] ^ mask[i % 4]);
  return frame + payload;
}

TEST(WebSocketTest, AnswersTheKeyOfTheRfc) {
  EXPECT_EQ(WebSocketAccept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(WebSocketTest, EncodesThreeLengths) {
  EXPECT_EQ(EncodeFrame(FrameKind::kBinary, "abc"), std::string("\x82\x03"
                                                                "abc"));
  EXPECT_EQ(EncodeFrame(FrameKind::kBinary, std::string(200, 'x')).substr(0, 4),
            std::string("\x82\x7e\x00\xc8", 4));
  EXPECT_EQ(EncodeFrame(FrameKind::kText, std::string(70000, 'x')).substr(0, 10),
            std::string("\x81\x7f\x00\x00\x00\x00\x00\x01\x11\x70", 10));
}

TEST(WebSocketTest, DecodesByteByByte) {
  WebSocketDecoder decoder(1 << 20);
  const std::string big(70000, 'b');
  const std::string bytes = Masked(0x82, "hello") + Masked(0x89, "ping") +
                            Masked(0x81, std::string(300, 't')) + Masked(0x02, "frag") +
                            Masked(0x89, "") + Masked(0x80, "ment") + Masked(0x82, big);
  std::vector<WebSocketDecoder::Message> all;
  for (const char c : bytes) {
    auto messages = decoder.Feed(std::string_view(&c, 1));
    ASSERT_TRUE(messages.ok());
    for (auto& message : *messages) all.push_back(std::move(message));
  }
  ASSERT_EQ(all.size(), 6U);
  EXPECT_EQ(all[0].payload, "hello");
  EXPECT_EQ(all[1].kind, FrameKind::kPing);
  EXPECT_EQ(all[2].kind, FrameKind::kText);
  EXPECT_EQ(all[3].kind, FrameKind::kPing);
  EXPECT_EQ(all[4].payload, "fragment");
  EXPECT_EQ(all[4].kind, FrameKind::kBinary);
  EXPECT_EQ(all[5].payload, big);
}

TEST(WebSocketTest, RefusesWhatBreaksTheProtocol) {
  const std::string unmasked(
      "\x82\x03"
      "abc");
  const std::string reserved = Masked(0xc2, "abc");
  const std::string stray = Masked(0x80, "abc");
  const std::string interleaved = Masked(0x02, "a") + Masked(0x82, "b");
  const std::string long_ping = Masked(0x89, std::string(126, 'x'));
  const std::string split_ping = Masked(0x09, "x");
  const std::string unknown = Masked(0x83, "x");
  for (const std::string& bad :
       {unmasked, reserved, stray, interleaved, long_ping, split_ping, unknown}) {
    WebSocketDecoder decoder(1 << 20);
    EXPECT_TRUE(decoder.Feed(bad).Is(Code::kInvalidArgument));
  }
}

TEST(WebSocketTest, BoundsMessages) {
  WebSocketDecoder decoder(1000);
  EXPECT_TRUE(
      decoder.Feed(Masked(0x82, std::string(1001, 'x')).substr(0, 8)).Is(Code::kOutOfRange));
  WebSocketDecoder fragments(1000);
  ASSERT_TRUE(fragments.Feed(Masked(0x02, std::string(600, 'x'))).ok());
  EXPECT_TRUE(fragments.Feed(Masked(0x00, std::string(600, 'x'))).Is(Code::kOutOfRange));
}

TEST(WebSocketTest, SurvivesAnyBytes) {
  SeededRandom random(7);
  for (int round = 0; round < 2000; ++round) {
    WebSocketDecoder decoder(1 << 16);
    Bytes bytes(random.Below(200));
    random.Fill(bytes);
    if (const auto messages = decoder.Feed(AsText(bytes)); messages.ok()) {
      for (const auto& message : *messages) EXPECT_LE(message.payload.size(), 200U);
    }
  }
}

}  // namespace
}  // namespace thinsnap::net
