// Answers that go on: who reads slowly, who left, and who says nothing any more.
#include <future>
#include <gtest/gtest.h>

#include "tests/unit/net/http_fixture.h"

namespace thinsnap::net {
namespace {

TEST_F(HttpExchangeTest, StreamsToManyWithoutCopies) {
  std::mutex mutex;
  std::vector<std::shared_ptr<Stream>> streams;
  std::promise<void> all_open;
  Start([&](const ServerRequest&) {
    ServerResponse response;
    response.on_stream = [&](std::shared_ptr<Stream> stream) {
      const std::lock_guard lock(mutex);
      streams.push_back(std::move(stream));
      if (streams.size() == 5) all_open.set_value();
    };
    return response;
  });
  std::atomic<int> finished = 0;
  TaskGroup group(runtime_);
  for (int i = 0; i < 5; ++i) {
    group.Spawn("watch", [&] {
      std::string seen;
      HttpRequest request;
      request.url = Url("/");
      request.on_data = [&](ByteSpan bytes) -> Status {
        seen += AsText(bytes);
        return {};
      };
      const auto response = client_->Do(request);
      if (response.ok() && seen == "one\ntwo\n" + std::string(100000, 'x')) ++finished;
    });
  }
  all_open.get_future().wait();
  for (const auto& event : {Shared("one\n"), Shared("two\n"), Shared(std::string(100000, 'x'))}) {
    for (const auto& stream : streams) EXPECT_TRUE(stream->Push(event));
  }
  for (const auto& stream : streams) stream->Close();
  group.Join();
  EXPECT_EQ(finished, 5);
  EXPECT_TRUE(streams[0]->closed());
  EXPECT_FALSE(streams[0]->Push(Shared("late")));
}

TEST_F(HttpExchangeTest, NoticesThatAWatcherLeft) {
  std::promise<void> left;
  Start([&](const ServerRequest&) {
    ServerResponse response;
    response.on_stream = [&](std::shared_ptr<Stream> stream) {
      stream->Push(Shared("first"));
      stream->OnClose([&left, stream] { left.set_value(); });
    };
    return response;
  });
  HttpRequest request;
  request.url = Url("/");
  request.on_data = [](ByteSpan) -> Status { return Error(Code::kAborted, "enough"); };
  EXPECT_TRUE(client_->Do(request).Is(Code::kAborted));
  left.get_future().wait();
}

TEST_F(HttpExchangeTest, ClosesAStreamWhoseReaderIsSlow) {
  HttpServerOptions options;
  options.max_pending_bytes = kMiB;
  std::promise<std::shared_ptr<Stream>> opened;
  Start(
      [&](const ServerRequest&) {
        ServerResponse response;
        response.on_stream = [&](std::shared_ptr<Stream> stream) {
          opened.set_value(std::move(stream));
        };
        return response;
      },
      std::move(options));
  std::promise<void> overflowed;
  auto may_read = overflowed.get_future().share();
  TaskGroup group(runtime_);
  Code code = Code::kInternal;
  group.Spawn("slow", [&] {
    HttpRequest request;
    request.url = Url("/");
    request.on_data = [&](ByteSpan) -> Status {
      may_read.wait();
      return {};
    };
    const auto response = client_->Do(request);
    if (!response.ok()) code = response.error().code();
  });
  const auto stream = opened.get_future().get();
  std::promise<void> closed;
  stream->OnClose([&] { closed.set_value(); });
  const auto event = Shared(std::string(256 * kKiB, 'x'));
  int pushed = 0;
  while (stream->Push(event)) ASSERT_LT(++pushed, 1000) << "the stream has no bound";
  closed.get_future().wait();
  overflowed.set_value();
  group.Join();
  EXPECT_EQ(code, Code::kUnavailable);  // cut off, not ended properly
}

// A connection that stands although nobody is behind it any more.
TEST_F(HttpExchangeTest, EndsAStreamThatFallsSilentButNotOneWhoseReaderIsSlow) {
  std::vector<std::shared_ptr<Stream>> open;
  std::mutex mutex;
  Start([&](const ServerRequest& request) {
    ServerResponse response;
    response.on_stream = [&, silent = request.path == "/silent"](std::shared_ptr<Stream> stream) {
      stream->Push(Shared("first"));
      if (!silent) {
        stream->Push(Shared("last"));
        stream->Close();
      }
      const std::lock_guard lock(mutex);
      open.push_back(std::move(stream));
    };
    return response;
  });
  HttpRequest request;
  request.url = Url("/silent");
  request.max_silence = std::chrono::milliseconds(200);
  std::string seen;
  request.on_data = [&](ByteSpan bytes) -> Status {
    seen += AsText(bytes);
    return runtime_.SleepFor(std::chrono::milliseconds(300));
  };
  const auto ended = client_->Do(request);
  EXPECT_TRUE(ended.Is(Code::kDeadlineExceeded));
  EXPECT_NE(ended.error().message().find("nothing came for 200ms"), std::string::npos)
      << ended.error().message();
  EXPECT_EQ(seen, "first");

  seen.clear();
  request.url = Url("/");
  const auto slow = client_->Do(request);
  EXPECT_TRUE(slow.ok()) << slow.error().ToString();
  EXPECT_EQ(seen, "firstlast");
}

TEST_F(HttpExchangeTest, EndsStreamsProperlyAtStop) {
  std::promise<void> opened;
  Start([&](const ServerRequest&) {
    ServerResponse response;
    response.on_stream = [&](std::shared_ptr<Stream> stream) {
      stream->Push(Shared("data"));
      opened.set_value();
    };
    return response;
  });
  bool properly = false;
  TaskGroup group(runtime_);
  group.Spawn("watch", [&] {
    HttpRequest request;
    request.url = Url("/");
    request.on_data = [](ByteSpan) -> Status { return {}; };
    properly = client_->Do(request).ok();
  });
  opened.get_future().wait();
  server_->Stop();
  group.Join();
  EXPECT_TRUE(properly);
}

}  // namespace
}  // namespace thinsnap::net
