#include "simulator/containers/container_io.h"

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <memory>
#include <poll.h>
#include <string>
#include <unistd.h>

#include "simulator/containers/child_process.h"
#include "simulator/containers/remove_tree.h"

namespace thinsnap::containers {
namespace {

class ContainerIoTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/container-io-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { RemoveTree(folder_); }

  std::unique_ptr<ContainerIo> Make(ContainerInput input) {
    auto log = LogFile::Open(runtime_, folder_ + "/log");
    EXPECT_TRUE(log.ok());
    auto io = std::make_unique<ContainerIo>(*log, input);
    auto pipe = MakePipe();
    EXPECT_TRUE(pipe.ok());
    for (const UniqueFd* end : {&pipe->read, &pipe->write}) fcntl(end->get(), F_SETFL, O_NONBLOCK);
    programs_input_ = std::move(pipe->read);
    io->Connect(std::move(pipe->write), [this] { ++attended_; });
    return io;
  }

  // What the program would read now; "<end>" at the end.
  std::string Read() {
    std::string text;
    std::array<char, 65536> buffer;
    for (;;) {
      const ssize_t n = read(programs_input_.get(), buffer.data(), buffer.size());
      if (n == 0) return text + "<end>";
      if (n < 0) return text;
      text.append(buffer.data(), static_cast<std::size_t>(n));
    }
  }
  static std::string TextOf(const AttachedClient::Taken& taken) {
    std::string text;
    for (const auto& piece : taken.pieces)
      text += (piece.error_stream ? "err:" : "out:") + piece.bytes + ";";
    return text;
  }
  static bool IsReady(const AttachedClient& client) {
    struct pollfd ready = {client.ready_fd(), POLLIN, 0};
    return poll(&ready, 1, 0) == 1;
  }

  SystemClock clock_;
  ThreadRuntime runtime_{clock_};
  std::string folder_;
  UniqueFd programs_input_;
  int attended_ = 0;
};

TEST_F(ContainerIoTest, TheFirstClientHearsWhatWasSaidBefore) {
  const auto io = Make({.open = true, .once = false, .tty = false});
  io->Output(false, "prompt ");
  const auto first = io->Attach(true);
  EXPECT_TRUE(IsReady(*first));
  io->Output(true, "and more");
  EXPECT_EQ(TextOf(io->Take(*first)), "out:prompt ;err:and more;");
  EXPECT_FALSE(IsReady(*first));
  EXPECT_EQ(TextOf(io->Take(*io->Attach(true))), "");
}

TEST_F(ContainerIoTest, NobodyHearsWhatAProgramWithoutInputHasSaid) {
  const auto io = Make({});
  io->Output(false, "gone");
  const auto client = io->Attach(true);
  io->Output(false, "heard");
  EXPECT_EQ(TextOf(io->Take(*client)), "out:heard;");
}

TEST_F(ContainerIoTest, InputForOnceEndsWithItsClient) {
  const auto io = Make({.open = true, .once = true, .tty = false});
  const auto client = io->Attach(true);
  io->Write("text");
  EXPECT_EQ(Read(), "text");
  EXPECT_TRUE(io->EndInput(*client)) << "the client still listens";
  EXPECT_EQ(Read(), "<end>");
  io->Write("too late");
  EXPECT_EQ(Read(), "<end>");
}

TEST_F(ContainerIoTest, OtherInputStaysOpenAndEndsTheSession) {
  const auto io = Make({.open = true, .once = false, .tty = false});
  const auto client = io->Attach(true);
  EXPECT_FALSE(io->EndInput(*client));
  io->Detach(client);
  const auto listener = io->Attach(false);
  EXPECT_TRUE(io->EndInput(*listener)) << "it had no input to end";
  io->Write("from another");
  EXPECT_EQ(Read(), "from another");
}

TEST_F(ContainerIoTest, InputWaitsForItsProgram) {
  const auto io = Make({.open = true, .once = true, .tty = false});
  const auto client = io->Attach(true);
  const std::string large(300000, 'x');
  io->Write(large);
  EXPECT_EQ(attended_, 1);
  io->EndInput(*client);
  std::string all = Read();
  EXPECT_LT(all.size(), large.size());
  while (io->unread_input() > 0) {
    io->FeedInput();
    all += Read();
  }
  EXPECT_EQ(all, large + "<end>");
}

TEST_F(ContainerIoTest, ASlowClientHoldsTheContainerBack) {
  const auto io = Make({});
  const auto slow = io->Attach(false);
  const auto fast = io->Attach(false);
  const std::string piece(kMiB, 'x');
  io->Output(false, piece);
  EXPECT_FALSE(io->Congested());
  io->Take(*fast);
  io->Output(false, "y");
  EXPECT_TRUE(io->Congested());
  io->Take(*fast);
  EXPECT_EQ(attended_, 0);
  EXPECT_EQ(TextOf(io->Take(*slow)), "out:" + piece + "y;");
  EXPECT_FALSE(io->Congested());
  EXPECT_EQ(attended_, 1) << "the runtime learns that it may go on";
  io->Output(false, piece + "z");
  io->Detach(slow);
  EXPECT_TRUE(io->Congested()) << "of the other one";
  io->Detach(fast);
  EXPECT_EQ(attended_, 2);
}

TEST_F(ContainerIoTest, ClientsGetTheLastBytesAndTheEnd) {
  const auto io = Make({.open = true, .once = false, .tty = false});
  const auto client = io->Attach(true);
  io->Output(false, "last");
  io->Close();
  const auto taken = io->Take(*client);
  EXPECT_EQ(TextOf(taken), "out:last;");
  EXPECT_TRUE(taken.ended);
  EXPECT_TRUE(IsReady(*io->Attach(true))) << "who comes later is not left waiting";
  EXPECT_EQ(Read(), "<end>");
}

}  // namespace
}  // namespace thinsnap::containers
