#include "base/net/request_parser.h"

#include <gtest/gtest.h>

#include "base/core/random.h"

namespace thinsnap::net {
namespace {

// Feeds it in pieces as a session does; the body, or an error.
Result<std::string> Parse(std::string_view input, std::size_t step, std::uint64_t max_body) {
  const auto parser = RequestParser::Make(max_body);
  std::string pending;
  std::string body;
  for (std::size_t at = 0; at < input.size() && !parser->done(); at += step) {
    pending += input.substr(at, step);
    const std::size_t taken = TRY(parser->Feed(pending));
    EXPECT_LE(taken, pending.size());
    pending.erase(0, taken);
    body += parser->TakeBody();
  }
  if (!parser->done()) return Error(Code::kUnavailable, "not all of it");
  TRY(parser->Header());
  return body;
}

TEST(RequestParserTest, GivesTheSameWhateverThePieces) {
  const std::string input =
      "PUT /x?y=z HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n "
      "world\r\n0\r\n\r\n";
  for (std::size_t step = 1; step <= input.size(); ++step) {
    const auto body = Parse(input, step, 100);
    ASSERT_TRUE(body.ok()) << step << " " << body.error().ToString();
    EXPECT_EQ(*body, "hello world");
  }
}

TEST(RequestParserTest, BoundsBodies) {
  EXPECT_TRUE(
      Parse("PUT / HTTP/1.1\r\nContent-Length: 101\r\n\r\n", 10, 100).Is(Code::kOutOfRange));
  EXPECT_TRUE(Parse("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n", 10, 100)
                  .Is(Code::kOutOfRange));
  // What is announced is not what is taken from memory.
  EXPECT_TRUE(Parse("PUT / HTTP/1.1\r\nContent-Length: 1000000000000\r\n\r\nabc", 10, UINT64_MAX)
                  .Is(Code::kUnavailable));
}

TEST(RequestParserTest, ReadsTargets) {
  const auto parser = RequestParser::Make(100);
  ASSERT_TRUE(parser->Feed("GET http://host:1/a%2fb?c=%20&d HTTP/1.1\r\nX-A: b\r\n\r\n").ok());
  const auto request = parser->Header();
  ASSERT_TRUE(request.ok());
  EXPECT_EQ(request->path, "/a/b");
  EXPECT_EQ(request->raw_path, "/a%2fb");
  EXPECT_EQ(request->raw_query, "c=%20&d");
  EXPECT_EQ(request->QueryOr("c"), " ");
  EXPECT_EQ(request->headers.Get("x-a"), "b");
  EXPECT_FALSE(request->wants_websocket);
}

TEST(RequestParserTest, SurvivesDamage) {
  const std::string good =
      "POST /a/b?c=d HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: upgrade\r\nUpgrade: "
      "websocket\r\n"
      "Sec-WebSocket-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
  SeededRandom random(11);
  int parsed = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string input = good;
    for (std::uint64_t change = random.Below(4); change > 0 && !input.empty(); --change) {
      const std::size_t at = random.Below(input.size());
      switch (random.Below(3)) {
        case 0:
          input[at] = static_cast<char>(random.Below(256));
          break;
        case 1:
          input.erase(at, random.Below(30));
          break;
        default:
          input.insert(at, good, random.Below(good.size()), random.Below(30));
      }
    }
    const auto body = Parse(input, random.Below(40) + 1, 1000);
    if (body.ok()) {
      ++parsed;
      EXPECT_LE(body->size(), 1000U);
    }
  }
  EXPECT_GT(parsed, 0);
}

}  // namespace
}  // namespace thinsnap::net
