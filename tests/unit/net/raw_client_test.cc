// The server as a bare socket sees it: pipelines, pieces, upgrades, and what is no HTTP.
#include <arpa/inet.h>
#include <future>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/core/file.h"
#include "base/net/http_server.h"
#include "base/net/websocket_codec.h"

namespace thinsnap::net {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class RawClient {
 public:
  explicit RawClient(int port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }

  void Send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }
  // Until the text has come, or the end.
  std::string ReadUntil(std::string_view text) {
    while (input_.find(text) == std::string::npos && More()) {
    }
    const std::size_t at = input_.find(text);
    if (at == std::string::npos) return std::exchange(input_, {});
    std::string taken = input_.substr(0, at + text.size());
    input_.erase(0, taken.size());
    return taken;
  }
  std::string ReadBytes(std::size_t size) {
    while (input_.size() < size && More()) {
    }
    std::string taken = input_.substr(0, size);
    input_.erase(0, taken.size());
    return taken;
  }
  std::string ReadAll() {
    while (More()) {
    }
    return std::exchange(input_, {});
  }
  void Close() { fd_.Reset(); }

 private:
  bool More() {
    char buffer[4096];
    const ssize_t got = ::recv(fd_.get(), buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    input_.append(buffer, static_cast<std::size_t>(got));
    return true;
  }

  UniqueFd fd_;
  std::string input_;
};

std::string MaskedFrame(FrameKind kind, std::string payload) {
  std::string frame;
  frame += static_cast<char>(0x80 | static_cast<int>(kind));
  frame += static_cast<char>(0x80 | payload.size());
  const std::string mask = "mask";
  for (std::size_t i = 0; i < payload.size(); ++i)
    payload[i] = static_cast<char>(payload[i] ^ mask[i % 4]);
  return frame + mask + payload;
}

class RawClientTest : public ::testing::Test {
 protected:
  void Start(Handler handler, HttpServerOptions options = {}) {
    auto started = StartHttpServer(runtime_, std::move(options), std::move(handler));
    ASSERT_TRUE(started.ok()) << started.error().ToString();
    server_ = std::move(started).value();
  }
  void StartEcho() {
    Start([](const ServerRequest& request) {
      return ServerResponse::Text(200, request.path + "|" + request.body + "|");
    });
  }
  // The whole answer to a request that ends the connection.
  std::string Ask(const std::string& bytes) {
    RawClient client(server_->port());
    client.Send(bytes);
    return client.ReadAll();
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  std::unique_ptr<HttpServer> server_;
};

TEST_F(RawClientTest, AnswersPipelinesInOrder) {
  StartEcho();
  const std::string answers =
      Ask("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: "
          "3\r\n\r\nabc"
          "GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  const std::size_t first = answers.find("/1||");
  const std::size_t second = answers.find("/2|abc|");
  const std::size_t third = answers.find("/3||");
  ASSERT_NE(third, std::string::npos) << answers;
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
}

TEST_F(RawClientTest, TakesRequestsByteByByte) {
  StartEcho();
  RawClient client(server_->port());
  for (const char c : std::string("POST /a%2Fb HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
                                  "chunked\r\nConnection: close\r\n\r\n"
                                  "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n")) {
    client.Send(std::string_view(&c, 1));
  }
  EXPECT_THAT(client.ReadAll(), HasSubstr("/a/b|abcde|"));
}

TEST_F(RawClientTest, RefusesWhatIsNoHttp) {
  StartEcho();
  for (const char* bad :
       {"hello\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET no-slash HTTP/1.1\r\nHost: h\r\n\r\n", "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}) {
    EXPECT_THAT(Ask(bad), StartsWith("HTTP/1.1 400 ")) << bad;
  }
}

TEST_F(RawClientTest, SaysContinueWhenAsked) {
  StartEcho();
  RawClient client(server_->port());
  client.Send(
      "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: "
      "close\r\n\r\n");
  EXPECT_EQ(client.ReadUntil("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.Send("body");
  EXPECT_THAT(client.ReadAll(), HasSubstr("/|body|"));
}

TEST_F(RawClientTest, SaysContinueBeforeNoBody) {
  StartEcho();
  EXPECT_THAT(Ask("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nExpect: 100-continue\r\n"
                  "Connection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"));
}

TEST_F(RawClientTest, SpeaksHttp10) {
  StartEcho();
  EXPECT_THAT(Ask("GET /old HTTP/1.0\r\n\r\n"), HasSubstr("/old||"));
}

TEST_F(RawClientTest, KeepsLineEndsOutOfHeaders) {
  Start([](const ServerRequest&) {
    ServerResponse response;
    response.headers.Add("X-Bad", "a\r\nInjected: yes");
    response.headers.Add("Connection", "close");
    return response;
  });
  EXPECT_THAT(Ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
              Not(HasSubstr("\nInjected")));
}

TEST_F(RawClientTest, SpeaksWebSocket) {
  std::promise<void> closed;
  Start([&](const ServerRequest& request) {
    ServerResponse response;
    EXPECT_TRUE(request.wants_websocket);
    response.headers.Set("Sec-WebSocket-Protocol", "v5.channel.k8s.io");
    response.on_upgrade = [&](std::shared_ptr<Connection> connection) {
      const std::weak_ptr<Connection> weak = connection;
      connection->OnMessage([weak](const std::string& message) {
        const auto self = weak.lock();
        if (message == "bye") {
          self->Close();
        } else {
          self->Send("echo " + message);
        }
      });
      connection->OnClose([&] { closed.set_value(); });
      connection->Send("welcome");
    };
    return response;
  });
  RawClient client(server_->port());
  client.Send(
      "GET /exec HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
      MaskedFrame(FrameKind::kBinary, "early"));
  const std::string head = client.ReadUntil("\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 101 Switching Protocols\r\n"));
  EXPECT_THAT(head, HasSubstr("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
  EXPECT_THAT(head, HasSubstr("Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n"));
  EXPECT_EQ(client.ReadBytes(9), EncodeFrame(FrameKind::kBinary, "welcome"));
  EXPECT_EQ(client.ReadBytes(12), EncodeFrame(FrameKind::kBinary, "echo early"));
  client.Send(MaskedFrame(FrameKind::kPing, "p"));
  EXPECT_EQ(client.ReadBytes(3), EncodeFrame(FrameKind::kPong, "p"));
  for (int i = 0; i < 100; ++i) client.Send(MaskedFrame(FrameKind::kText, std::to_string(i)));
  for (int i = 0; i < 100; ++i) {
    const std::string expected = EncodeFrame(FrameKind::kBinary, "echo " + std::to_string(i));
    EXPECT_EQ(client.ReadBytes(expected.size()), expected);
  }
  client.Send(MaskedFrame(FrameKind::kBinary, "bye"));
  EXPECT_EQ(client.ReadAll(), EncodeFrame(FrameKind::kClose, "\x03\xe8"));
  client.Close();
  closed.get_future().wait();
}

TEST_F(RawClientTest, TellsWhenAWebSocketClientVanishes) {
  std::promise<void> closed;
  Start([&](const ServerRequest&) {
    ServerResponse response;
    response.on_upgrade = [&](std::shared_ptr<Connection> connection) {
      connection->OnClose([&closed, connection] { closed.set_value(); });
    };
    return response;
  });
  RawClient client(server_->port());
  client.Send(
      "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: "
      "websocket\r\nSec-WebSocket-Key: x\r\n\r\n");
  client.ReadUntil("\r\n\r\n");
  client.Close();
  closed.get_future().wait();
}

TEST_F(RawClientTest, HandsOverRawUpgrades) {
  Start([](const ServerRequest&) {
    ServerResponse response;
    response.raw_upgrade = true;
    response.headers.Set("Upgrade", "SPDY/3.1");
    response.on_upgrade = [](std::shared_ptr<Connection> connection) {
      const std::weak_ptr<Connection> weak = connection;
      connection->OnMessage([weak](const std::string& bytes) {
        const auto self = weak.lock();
        self->Send(bytes);
        if (bytes.ends_with('!')) self->Close();
      });
    };
    return response;
  });
  RawClient client(server_->port());
  client.Send(
      "POST /exec HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: "
      "SPDY/3.1\r\nContent-Length: 0\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("\r\n\r\n"), HasSubstr("Upgrade: SPDY/3.1\r\n"));
  client.Send(std::string("raw \0 bytes", 11));
  EXPECT_EQ(client.ReadBytes(11), std::string("raw \0 bytes", 11));
  client.Send("end!");
  EXPECT_EQ(client.ReadAll(), "end!");
}

TEST_F(RawClientTest, RefusesAnUpgradeThatNobodyAskedFor) {
  Start([](const ServerRequest&) {
    ServerResponse response;
    response.on_upgrade = [](const std::shared_ptr<Connection>&) {
      ADD_FAILURE() << "was upgraded";
    };
    return response;
  });
  EXPECT_THAT(Ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 400 "));
}

TEST_F(RawClientTest, StreamsToHttp10WithoutChunks) {
  Start([](const ServerRequest&) {
    ServerResponse response;
    response.on_stream = [](std::shared_ptr<Stream> stream) {
      stream->Push(std::make_shared<const std::string>("plain"));
      stream->Close();
    };
    return response;
  });
  EXPECT_TRUE(Ask("GET / HTTP/1.0\r\n\r\n").ends_with("\r\n\r\nplain"));
  EXPECT_TRUE(Ask("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
                  .ends_with("5\r\nplain\r\n0\r\n\r\n"));
}

TEST_F(RawClientTest, StopsWithEverythingOpen) {
  StartEcho();
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 50; ++i) {
    clients.push_back(std::make_unique<RawClient>(server_->port()));
    if (i % 2 == 0) clients.back()->Send("GET / HTTP/1.1\r\nHo");
  }
  server_->Stop();
  for (const auto& client : clients) client->ReadAll();
}

}  // namespace
}  // namespace thinsnap::net
